"""Whether a webhook is Clerk's: Svix's signature over id, time and raw body, under any of the configured secrets.

Done here rather than by Svix's library, which answers some malformed headers with errors of its own making and gives up
on a header whose first signature cannot be read.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from starlette.datastructures import Headers

from common.errors import InvalidInput

TOLERANCE = timedelta(minutes=5)
"""How far the sender's clock may be from ours; attempts are signed anew, so an older signature is a replay."""
SECRET_PREFIX = "whsec_"
SHORTEST_SECRET = 24
"""Bytes, the length of those that Svix makes now: a shorter one could be guessed."""
_MARKS = ("svix", "webhook")
"""What the three headers begin with: under Svix's own name, and under the standard's."""
_ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,256}")
"""No dot: it parts the signed text, and must not let one signature fit two readings of it."""
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}")
_VERSION = "v1,"
_MOST_SIGNATURES = 16


class NotFromClerk(InvalidInput):
    """The webhook does not prove with `svix-id`, `svix-timestamp` and `svix-signature` that it is Clerk's."""

    sample_details: ClassVar[Any] = None

    def __init__(self) -> None:
        super().__init__("The webhook's signature is not valid.")


class SvixProof:
    """``check`` for each webhook. Raises ValueError for what is no signing secret."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [key_of(secret) for secret in secrets]

    @property
    def configured(self) -> bool:
        return bool(self._keys)

    def check(self, headers: Headers, body: bytes, now: datetime) -> str:
        """The message's id. Raises NotFromClerk, whatever the headers hold. ``body`` is the raw one."""
        message_id, timestamp, signatures = _proof_in(headers)
        if not _ID.fullmatch(message_id) or not _TIMESTAMP.fullmatch(timestamp):
            raise NotFromClerk
        if abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
            raise NotFromClerk
        content = f"{message_id}.{timestamp}.".encode() + body
        # compared as they are written: base64 has several spellings of the same bytes, and Svix sends one of them
        expected = [base64.b64encode(hmac.digest(key, content, hashlib.sha256)) for key in self._keys]
        given = [part[len(_VERSION) :].encode() for part in signatures.split(" ") if part.startswith(_VERSION)]
        # every pair is compared, so that the time taken does not tell which one came close
        if not sum(hmac.compare_digest(one, other) for one in given[:_MOST_SIGNATURES] for other in expected):
            raise NotFromClerk
        return message_id


def key_of(secret: str) -> bytes:
    """The key in a signing secret. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not key:
        raise ValueError(f"a signing secret is {SECRET_PREFIX} and base64, as Clerk's dashboard shows it")
    return key


def _proof_in(headers: Headers) -> tuple[str, str, str]:
    """Id, timestamp and signatures under the first name that has all three, each given once."""
    for mark in _MARKS:
        given = [headers.getlist(f"{mark}-{part}") for part in ("id", "timestamp", "signature")]
        if any(len(values) > 1 for values in given):
            raise NotFromClerk
        if all(given):
            return given[0][0], given[1][0], given[2][0]
    raise NotFromClerk
