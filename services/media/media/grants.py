"""Play grants: sealed texts with which a player, which sends no session token, starts a session in a user's name.

Nothing is stored for a grant: it carries its user, session and time, encrypted and authenticated under a key that every
replica reads from the database. Asking for a session again costs no row, and there is nothing to clean up.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

LIFETIME = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Grant:
    user_id: str
    session_id: str


def seal(grant: Grant, keys: Sequence[str], now: datetime) -> str:
    """A text fit for a URL's path, sealed with the first key."""
    sealed = _box(keys).encrypt_at_time(json.dumps(astuple(grant)).encode(), int(now.timestamp()))
    return sealed.decode().rstrip("=")


def unseal(token: str, keys: Sequence[str], now: datetime) -> Grant | None:
    """None unless one of the keys sealed it within the last LIFETIME."""
    padded = token.encode() + b"=" * (-len(token) % 4)
    try:
        content = _box(keys).decrypt_at_time(padded, int(LIFETIME.total_seconds()), int(now.timestamp()))
    except InvalidToken:
        return None
    return Grant(*json.loads(content))


def _box(keys: Sequence[str]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
