"""From a request's Authorization header to the internal token that goes to the service."""

import re
import time
from collections.abc import Callable, Mapping

import structlog
from prometheus_client import Counter

from common.compact_tokens import MAXIMUM_TOKEN, InvalidToken
from common.errors import Forbidden, InvalidInput, Unauthorized, Unavailable
from common.internal_tokens import InternalTokenIssuer, MintedToken
from common.jwks import KeysUnavailable
from common.observability import logger
from gateway.links import LinkedUsers
from gateway.sign_outs import SignOuts
from gateway.tokens import RememberedToken, RememberedTokens, TokenVerifier

_BEARER = re.compile(rb"(?i:bearer) ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)")
_CAPACITY = 10_000
_REMINT_BEFORE = 10
"""Seconds an internal token must still live to be used again, so that it survives the way to a slow service."""

TOKENS_REFUSED = Counter("session_tokens_refused_total", "Requests refused for their session token", ["reason"])

log = logger("callers")


class ImpersonationRefused(Forbidden):
    """Someone who acts in a user's name asked for what only the user may do."""

    code = "IMPERSONATION_REFUSED"


class Callers:
    """Answers with the internal token for the services of a route. One for all routes."""

    def __init__(
        self,
        verifier: TokenVerifier,
        issuer: InternalTokenIssuer,
        *,
        sign_outs: SignOuts,
        links: Mapping[str, LinkedUsers] | None = None,
        leeway: int,
        development_user: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``links`` by issuer; the subjects of all other issuers are user ids."""
        self._verifier = verifier
        self._sign_outs = sign_outs
        self._links = dict(links or {})
        self._issuer = issuer
        self._leeway = leeway
        self._development_user = development_user
        self._now = now
        self._remembered = RememberedTokens(capacity=_CAPACITY, leeway=leeway, now=now)
        self._anonymous: dict[tuple[str, ...], MintedToken] = {}

    async def signed_in(
        self, authorization: list[bytes], audiences: tuple[str, ...], request_id: str, *, in_person: bool = False
    ) -> MintedToken:
        """For routes that need a user. ``authorization`` holds the raw values of all such headers of the request;
        ``in_person`` says that nobody may ask in the user's name.

        Raises Unauthorized (the reason goes to log and metrics only), InvalidInput for several headers,
        ImpersonationRefused, and Unavailable while no verification key was ever loaded, or no user can be found.
        """
        if len(authorization) > 1:
            raise InvalidInput("Send one Authorization header.")
        if not authorization:
            if self._development_user is None:
                raise _refused("missing")
            return self._issuer.mint(audiences, request_id=request_id, user_id=self._development_user)
        known = await self._verify(authorization[0])
        token = known.token
        links = self._links.get(token.issuer)
        user_id = token.subject if links is None else await links.user_of(token.subject)
        if signed_out := self._sign_outs.refusal(user_id, token.session_id):
            raise _refused(signed_out)
        if in_person and token.actor is not None:
            log.warning("impersonation_refused", user_id=user_id, actor=token.actor, session_id=token.session_id)
            raise ImpersonationRefused("Only the user in person may do this.")
        known.speaks_for(user_id)
        return self._minted_for(known, user_id, audiences, request_id)

    def remembers(self, authorization: list[bytes]) -> bool:
        """Whether the token was found good before, so that letting it in gives no guess away."""
        carried = _BEARER.fullmatch(authorization[0]) if len(authorization) == 1 else None
        return carried is not None and self._remembered.find(carried[1].decode(), self._verifier.generation) is not None

    def anonymous(self, audiences: tuple[str, ...], request_id: str) -> MintedToken:
        """For public routes: says that nobody is signed in."""
        minted = self._anonymous.get(audiences)
        if minted is None or self._now() > minted.expires_at - _REMINT_BEFORE:
            minted = self._anonymous[audiences] = self._issuer.mint(audiences, request_id=request_id)
        return minted

    async def _verify(self, authorization: bytes) -> RememberedToken:
        carried = _BEARER.fullmatch(authorization) if len(authorization) <= MAXIMUM_TOKEN + len("bearer ") else None
        if carried is None:
            raise _refused("carrier")
        text = carried[1].decode()
        generation = self._verifier.generation
        known = self._remembered.find(text, generation)
        if known is not None:
            return known
        try:
            verified = await self._verifier.verify(text)
        except InvalidToken as error:
            raise _refused(error.reason) from None
        except KeysUnavailable:
            raise Unavailable("Sign-in cannot be checked at the moment; try again shortly.") from None
        except Exception as error:  # a token must never be able to provoke anything but a refusal
            log.error("token_check_failed", exc_info=error)
            raise _refused("unexpected") from None
        if verified.actor is not None:
            session = {"session_id": verified.session_id, "issuer": verified.issuer}
            log.warning("impersonated_token", user_id=verified.subject, actor=verified.actor, **session)
        return self._remembered.remember(text, verified, generation)

    def _minted_for(
        self, known: RememberedToken, user_id: str, audiences: tuple[str, ...], request_id: str
    ) -> MintedToken:
        """The minted token may be older than this request; its ``rid`` names the request it was made for."""
        now, token = self._now(), known.token
        not_after = token.expires_at if now < token.expires_at else token.expires_at + self._leeway
        minted = known.minted.get(audiences)
        if minted is not None and (now < minted.expires_at - _REMINT_BEFORE or minted.expires_at == not_after):
            return minted
        minted = known.minted[audiences] = self._issuer.mint(
            audiences,
            request_id=request_id,
            user_id=user_id,
            session_id=token.session_id,
            actor=token.actor,
            issuer=token.issuer,
            not_after=not_after,
        )
        return minted


def _refused(reason: str) -> Unauthorized:
    TOKENS_REFUSED.labels(reason).inc()
    structlog.contextvars.bind_contextvars(refused=reason)
    return Unauthorized()
