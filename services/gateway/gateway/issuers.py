"""Which issuers are believed, and by which keys: one verifier each, none of which shares keys with another."""

import time
from collections.abc import Callable, Sequence

from common.compact_tokens import InvalidToken, parse
from common.jwks import JwksClient, Keys, StaticKeys
from gateway.clerk import ClerkVerifier
from gateway.settings import GatewaySettings
from gateway.supabase import SupabaseVerifier, key_address_of_project
from gateway.tokens import IssuerVerifier, VerifiedToken


class UnusableIssuer(Exception):
    """A configured issuer can never be believed, whatever it is waited for: an operator must act."""


class Issuers:
    """A ``TokenVerifier``: what a token says of its issuer decides which verifier judges it, and nothing else."""

    def __init__(self, verifiers: Sequence[IssuerVerifier]) -> None:
        """Raises ValueError when two verifiers answer for one issuer."""
        self._verifiers = tuple(verifiers)
        self._by_issuer = {issuer: verifier for verifier in verifiers for issuer in verifier.issuers}
        if len(self._by_issuer) != sum(len(verifier.issuers) for verifier in verifiers):
            raise ValueError("two verifiers answer for one issuer")
        self._algorithms = frozenset[str]().union(*(verifier.algorithms for verifier in verifiers))

    @property
    def generation(self) -> int:
        return sum(verifier.generation for verifier in self._verifiers)

    async def verify(self, text: str) -> VerifiedToken:
        token = parse(text, token_type="JWT", algorithms=self._algorithms)
        claims = token.claims()
        issuer = claims.get("iss")
        verifier = self._by_issuer.get(issuer) if isinstance(issuer, str) else None
        if verifier is None:
            raise InvalidToken("issuer")
        if token.algorithm not in verifier.algorithms:
            raise InvalidToken("algorithm")
        return await verifier.verify(token, claims)


class KeySources:
    """The keys of every configured issuer, each set for its issuer alone. ``monotonic`` ages them."""

    def __init__(self, settings: GatewaySettings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.clerk = _clerk_keys(settings, monotonic)
        self.supabase = _supabase_keys(settings, monotonic)

    def fetched(self) -> list[JwksClient]:
        return [keys for keys in (self.clerk, self.supabase) if isinstance(keys, JwksClient)]

    async def refuse_unusable(self) -> None:
        """Asks the second issuer once. Raises UnusableIssuer when it publishes no key that could verify a token.

        One that does not answer is waited for while serving.
        """
        if self.supabase is None:
            return
        await self.supabase.refresh()
        if self.supabase.publishes_none:
            raise UnusableIssuer(
                f"SUPABASE_URL: {self.supabase.url} lists no ES256 or RS256 key. A project that still signs with its "
                "shared secret (HS256) is refused: whoever can verify such tokens can also make them. "
                "Create an asymmetric signing key in the Supabase dashboard (JWT Keys) and rotate to it"
            )

    async def check(self) -> str | None:
        """Readiness: None when some issuer's tokens can be judged."""
        loaded = any(not isinstance(keys, JwksClient) or keys.usable for keys in (self.clerk, self.supabase) if keys)
        return None if loaded else "no issuer's keys were ever loaded"

    async def impaired(self) -> str | None:
        """The issuers whose users have to wait."""
        waited_for = [keys.url for keys in self.fetched() if not keys.usable]
        return f"no keys were ever loaded from {', '.join(waited_for)}" if waited_for else None


def issuers_of(settings: GatewaySettings, keys: KeySources) -> Issuers:
    leeway, longest = settings.gateway_token_leeway_seconds, settings.gateway_token_lifetime_seconds
    parties = settings.clerk_authorized_parties
    clerk = ClerkVerifier(keys.clerk, settings.issuers, authorized_parties=parties, leeway=leeway, longest=longest)
    if settings.supabase_url is None or keys.supabase is None:
        return Issuers([clerk])
    return Issuers([clerk, SupabaseVerifier(keys.supabase, settings.supabase_url, leeway=leeway, longest=longest)])


def _clerk_keys(settings: GatewaySettings, monotonic: Callable[[], float]) -> Keys:
    bootstrap = settings.bootstrap_key
    if settings.jwks_url is None:
        return StaticKeys([bootstrap] if bootstrap else [], any_kid=True)
    return JwksClient(
        settings.jwks_url,
        source="clerk",
        algorithms=ClerkVerifier.algorithms,
        bootstrap=bootstrap,
        monotonic=monotonic,
    )


def _supabase_keys(settings: GatewaySettings, monotonic: Callable[[], float]) -> JwksClient | None:
    if settings.supabase_url is None:
        return None
    url = key_address_of_project(settings.supabase_url)
    return JwksClient(url, source="supabase", algorithms=SupabaseVerifier.algorithms, monotonic=monotonic)
