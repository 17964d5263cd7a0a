"""Who may come in, and how often."""

from starlette.types import Scope

from common.errors import Unauthorized
from common.internal_tokens import MintedToken
from common.observability import logger, note_user
from common.tracing import current_trace
from gateway.callers import Callers
from gateway.clients import ClientAddresses, shared_by_one
from gateway.headers import RawHeaders, values
from gateway.rate_limits import Guesses, RateLimits
from gateway.routes import Route

log = logger("admission")


class Admission:
    """Answers every request with the internal token it goes on with, or refuses it."""

    def __init__(self, callers: Callers, limits: RateLimits, addresses: ClientAddresses) -> None:
        self._callers = callers
        self._limits = limits
        self._guesses = Guesses(limits)
        self._addresses = addresses
        self._warned = False

    async def admit(self, route: Route, scope: Scope, added: RawHeaders) -> MintedToken:
        """``added`` takes headers for the answer, whatever the answer will be.

        Raises Unauthorized, Forbidden, InvalidInput, RateLimited, and Unavailable while no verification key was ever
        loaded.
        """
        request_id = current_trace().correlation_id
        if route.public:
            token = self._callers.anonymous(route.audiences, request_id)
        else:
            token = await self._signed_in(route, scope, request_id)
        if token.user_id is not None:
            note_user(token.user_id)
        allowance = route.allowance(scope["method"])
        if allowance is not None:
            user = token.user_id if allowance.per == "user" else None
            await self._limits.admit(allowance, user or self._owner(scope), added)
        return token

    async def _signed_in(self, route: Route, scope: Scope, request_id: str) -> MintedToken:
        given = values(scope["headers"], b"authorization")
        if given and self._guesses.any_barred:
            owner = self._owner(scope)
            if self._guesses.bars(owner) and not self._callers.remembers(given):
                raise self._guesses.refusal(owner)
        try:
            personal = route.is_personal(scope["method"])
            return await self._callers.signed_in(given, route.audiences, request_id, in_person=personal)
        except Unauthorized:
            if given:
                await self._guesses.refused(self._owner(scope))
            raise

    def _owner(self, scope: Scope) -> str:
        """Whom requests of this address are counted against."""
        address = self._addresses.address(scope)
        if not self._warned and values(scope["headers"], b"x-forwarded-for") and not self._addresses.trusts_anyone:
            self._warned = True
            log.warning("forwarded_address_not_believed", peer=address, hint="TRUSTED_PROXIES names proxies in front")
        return shared_by_one(address)
