"""Session tokens of Supabase Auth, as a second issuer."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from common.compact_tokens import CompactToken, InvalidToken, check_lifetime
from common.jwks import Keys
from gateway.tokens import VerifiedToken, matching

AUDIENCE = ROLE = "authenticated"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOBODY = "00000000-0000-0000-0000-000000000000"


class SupabaseVerifier:
    """An ``IssuerVerifier`` for the project at ``url``. ``leeway`` and ``longest`` are seconds.

    The project's anon and service keys are tokens too, and a person who never signed up may hold one: neither speaks
    for a user. What a user can write into their own token (``user_metadata``) is not read.
    """

    algorithms = frozenset({"ES256", "RS256"})

    def __init__(
        self, keys: Keys, url: str, *, leeway: int = 5, longest: int = 3600, now: Callable[[], float] = time.time
    ) -> None:
        self.issuers = frozenset({issuer_of_project(url)})
        self._keys = keys
        self._leeway = leeway
        self._longest = longest
        self._now = now

    @property
    def generation(self) -> int:
        return self._keys.generation

    async def verify(self, token: CompactToken, claims: Mapping[str, Any]) -> VerifiedToken:
        await self._keys.check(token)
        expires = check_lifetime(claims, now=self._now(), leeway=self._leeway, longest=self._longest)
        audience = claims.get("aud")
        if audience != AUDIENCE and not (isinstance(audience, list) and AUDIENCE in audience):
            raise InvalidToken("audience")
        if claims.get("role") != ROLE:
            raise InvalidToken("role")
        if claims.get("is_anonymous", False) is not False:
            raise InvalidToken("anonymous_sign_in")
        if "client_id" in claims:  # the user lent it to another application
            raise InvalidToken("oauth_client")
        subject = matching(claims, "sub", _UUID.fullmatch)
        if subject == _NOBODY:
            raise InvalidToken("sub")
        session_id = matching(claims, "session_id", _UUID.fullmatch)
        return VerifiedToken(subject, session_id, None, claims["iss"], expires)


def issuer_of_project(url: str) -> str:
    return f"{url}/auth/v1"


def key_address_of_project(url: str) -> str:
    return f"{issuer_of_project(url)}/.well-known/jwks.json"
