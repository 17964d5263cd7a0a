"""The gateway's word for who calls: a short-lived token for one service, verified where it arrives."""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from common.auth import Caller
from common.compact_tokens import InvalidToken, check_lifetime, parse, sign
from common.errors import Unauthorized, Unavailable
from common.jwks import JwksClient, Keys, KeysUnavailable, StaticKeys
from common.key_documents import read_key_set
from common.observability import logger
from common.settings import DatabaseSettings
from common.signatures import PrivateKey, PublicKey, public_key_from_pem, public_key_set

ISSUER = "entrain-gateway"
TOKEN_TYPE = "entrain-internal+jwt"
LIFETIME = 60
"""Seconds an internal token lives at most."""
LEEWAY = 5
"""Seconds the clocks of the gateway and a service may differ."""
_ALGORITHMS = frozenset({"ES256", "EdDSA"})
_MAXIMUM_VERIFIED = 4096
_SUBJECT = re.compile(r"[A-Za-z0-9_.:|@-]{1,128}")

log = logger("internal_tokens")


@dataclass(frozen=True, slots=True)
class MintedToken:
    text: str
    expires_at: int
    """Unix seconds."""
    user_id: str | None = None
    """Whom it speaks for; None: nobody is signed in."""

    @property
    def authorization(self) -> str:
        """The value of the header that carries it."""
        return f"Bearer {self.text}"


class InternalTokenIssuer:
    """Mints tokens with one key and publishes it, beside the keys before and after it in a rotation."""

    def __init__(
        self, key: PrivateKey, *, also_published: Sequence[PublicKey] = (), now: Callable[[], float] = time.time
    ) -> None:
        self._key = key
        self._published = [key.public, *(other for other in also_published if other.kid != key.kid)]
        self._now = now

    def mint(
        self,
        audiences: tuple[str, ...],
        *,
        request_id: str,
        user_id: str | None = None,
        session_id: str | None = None,
        actor: str | None = None,
        issuer: str | None = None,
        not_after: int | None = None,
    ) -> MintedToken:
        """A token for the services ``audiences``: 60 seconds at most and never valid past ``not_after`` (Unix seconds).

        With several audiences the first service may carry the token on to the others. Without ``user_id`` it says
        that nobody is signed in. ``issuer`` is the outside issuer that named the user.
        """
        now = int(self._now())
        expires = now + LIFETIME if not_after is None else min(now + LIFETIME, not_after)
        optional = {"sub": user_id, "sid": session_id, "act": actor, "ext": issuer}
        claims: dict[str, Any] = {name: value for name, value in optional.items() if value is not None}
        claims |= {
            "iss": ISSUER,
            "aud": audiences[0] if len(audiences) == 1 else list(audiences),
            "iat": min(now, expires - 1),
            "exp": expires,
            "rid": request_id,
        }
        return MintedToken(sign(claims, self._key, token_type=TOKEN_TYPE), expires, user_id)

    def key_set(self) -> dict[str, Any]:
        """The JWKS document for ``/.well-known/jwks.json``."""
        return public_key_set(self._published)


class InternalTokenVerifier:
    """Verifies the tokens meant for ``audience``, each once; a ``common.auth.CallerVerifier``."""

    def __init__(self, audience: str, keys: Keys, *, now: Callable[[], float] = time.time) -> None:
        self._audience = audience
        self._keys = keys
        self._now = now
        self._verified: dict[str, tuple[Caller, int]] = {}
        self._generation = keys.generation

    async def verify(self, token: str) -> Caller:
        """The caller. Raises Unauthorized, and Unavailable while the gateway's keys were never loaded."""
        if self._generation != self._keys.generation:
            self._verified.clear()
            self._generation = self._keys.generation
        known = self._verified.get(token)
        if known and self._now() < known[1] + LEEWAY:
            return known[0]
        try:
            caller, expires = await self._read(token)
        except InvalidToken as error:
            log.warning("internal_token_refused", audience=self._audience, reason=error.reason)
            raise Unauthorized() from None
        except KeysUnavailable:
            raise Unavailable("Sign-in cannot be checked at the moment; try again shortly.") from None
        if len(self._verified) >= _MAXIMUM_VERIFIED:
            self._verified.pop(next(iter(self._verified)))
        self._verified[token] = caller, expires
        return caller

    async def _read(self, token: str) -> tuple[Caller, int]:
        parsed = parse(token, token_type=TOKEN_TYPE, algorithms=_ALGORITHMS)
        await self._keys.check(parsed)
        claims = parsed.claims()
        if claims.get("iss") != ISSUER:
            raise InvalidToken("issuer")
        audience = claims.get("aud")
        if audience != self._audience and not (isinstance(audience, list) and self._audience in audience):
            raise InvalidToken("audience")
        expires = check_lifetime(claims, now=self._now(), leeway=LEEWAY, longest=LIFETIME)
        user_id = _text(claims, "sub")
        if user_id is not None and not _SUBJECT.fullmatch(user_id):
            raise InvalidToken("subject")
        request_id = _text(claims, "rid")
        if request_id is None:
            raise InvalidToken("request_id")
        caller = Caller(user_id, _text(claims, "sid"), _text(claims, "act"), _text(claims, "ext"), request_id)
        return caller, expires


def internal_token_verifier(settings: DatabaseSettings, audience: str) -> InternalTokenVerifier:
    """The verifier of a service; without a source of keys, as in a worker, it accepts nobody. Raises ValueError."""
    if settings.gateway_public_keys:
        return InternalTokenVerifier(audience, StaticKeys(_static_keys(settings.gateway_public_keys)))
    if settings.gateway_jwks_url:
        keys = JwksClient(settings.gateway_jwks_url, source=f"gateway for {audience}", algorithms=_ALGORITHMS)
        return InternalTokenVerifier(audience, keys)
    return InternalTokenVerifier(audience, StaticKeys([]))


def _static_keys(document: str) -> list[PublicKey]:
    """A key set as JSON, or one key as PEM, known by its thumbprint as the gateway knows it."""
    if document.lstrip().startswith("-----BEGIN"):
        return [public_key_from_pem(document)]
    try:
        by_kid = read_key_set(document.encode(), _ALGORITHMS)
    except ValueError as error:
        raise ValueError(f"GATEWAY_PUBLIC_KEYS is not a key set: {error}") from None
    return [key for same_kid in by_kid.values() for key in same_kid]


def _text(claims: dict[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is not None and not (isinstance(value, str) and value):
        raise InvalidToken(f"{name}_type")
    return value


def public_keys_document(issuer: InternalTokenIssuer) -> str:
    """The value of GATEWAY_PUBLIC_KEYS for services that should not fetch it."""
    return json.dumps(issuer.key_set(), separators=(",", ":"))
