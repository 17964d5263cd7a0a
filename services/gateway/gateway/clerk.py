"""Clerk's session tokens, and nothing else Clerk signs with the same key."""

import base64
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from common.compact_tokens import CompactToken, InvalidToken, check_lifetime
from common.jwks import Keys
from gateway.tokens import VerifiedToken, matching

_SESSION_CATEGORIES = frozenset({None, "cl_B7d4PD111AAA", "cl_I7d4PD111III"})
"""``cat`` of session tokens, of tokens older than the parameter, and of those that carry no class."""
_USER = re.compile(r"user_[A-Za-z0-9_-]{1,64}")
_SESSION = re.compile(r"sess_[A-Za-z0-9_-]{1,64}")
_ACTOR = re.compile(r"[A-Za-z0-9_.:|@-]{1,128}")
_PUBLISHABLE_KEY = re.compile(r"pk_(test|live)_([A-Za-z0-9+/]+)={0,2}")
_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


class ClerkVerifier:
    """An ``IssuerVerifier``. ``leeway`` and ``longest`` are seconds."""

    algorithms = frozenset({"RS256"})

    def __init__(
        self,
        keys: Keys,
        issuers: Collection[str],
        *,
        authorized_parties: Collection[str] = (),
        leeway: int = 5,
        longest: int = 3600,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self.issuers = frozenset(issuers)
        self._authorized_parties = frozenset(authorized_parties)
        self._leeway = leeway
        self._longest = longest
        self._now = now

    @property
    def generation(self) -> int:
        return self._keys.generation

    async def verify(self, token: CompactToken, claims: Mapping[str, Any]) -> VerifiedToken:
        category = token.header.get("cat")
        if not isinstance(category, str | None) or category not in _SESSION_CATEGORIES:
            raise InvalidToken("token_category")
        await self._keys.check(token)
        return self._judged(claims)

    def _judged(self, claims: Mapping[str, Any]) -> VerifiedToken:
        expires = check_lifetime(claims, now=self._now(), leeway=self._leeway, longest=self._longest, nbf=True)
        user_id = matching(claims, "sub", _USER.fullmatch)
        session_id = matching(claims, "sid", _SESSION.fullmatch)
        self._check_party(claims)
        if claims.get("sts", "active") != "active":
            raise InvalidToken("session_pending")
        return VerifiedToken(user_id, session_id, _actor(claims), claims["iss"], expires)

    def _check_party(self, claims: Mapping[str, Any]) -> None:
        """The only carrier is the Authorization header, which no other site can make a browser send. Native apps and
        server-made tokens have no origin, hence no ``azp``: in a header its absence is no fault."""
        if "azp" not in claims:
            return
        party = claims["azp"]
        if not isinstance(party, str):
            raise InvalidToken("azp_type")
        if self._authorized_parties and party not in self._authorized_parties:
            raise InvalidToken("authorized_party")


def issuer_of_publishable_key(key: str) -> str:
    """``https://`` and the Frontend API host a publishable key carries. Raises ValueError for a malformed key."""
    match = _PUBLISHABLE_KEY.fullmatch(key)
    try:
        encoded = match[2] if match else ""
        host = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode("ascii")
    except ValueError:
        host = ""
    if not host.endswith("$") or not _HOST.fullmatch(host[:-1]):
        raise ValueError("malformed publishable key: copy it from the Clerk dashboard")
    return f"https://{host[:-1]}"


def _actor(claims: Mapping[str, Any]) -> str | None:
    actor = claims.get("act")
    if actor is None:
        return None
    if not isinstance(actor, dict):
        raise InvalidToken("act")
    return matching(actor, "sub", _ACTOR.fullmatch)
