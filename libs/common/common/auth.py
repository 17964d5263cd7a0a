"""Who calls. Services trust one thing only: the gateway's internal token, verified here for every request."""

from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Request

from common.errors import Unauthorized
from common.observability import note_user


@dataclass(frozen=True, slots=True)
class Caller:
    """The verified sender of a request. ``user_id`` is None on routes that need no account (webhooks, play grants)."""

    user_id: str | None
    session_id: str | None
    actor: str | None
    """Who acts in the user's name when the session is an impersonation."""
    issuer: str | None
    request_id: str


class CallerVerifier(Protocol):
    async def verify(self, token: str) -> Caller:
        """Raises Unauthorized unless the token is ours, current and for this service; Unavailable without keys."""
        ...


async def caller(request: Request) -> Caller:
    """FastAPI dependency: the verified caller, whoever it is."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized()
    verifier: CallerVerifier = request.app.state.verifier
    who = await verifier.verify(token)
    if who.user_id is not None:
        note_user(who.user_id)
    return who


async def user_id(who: Annotated[Caller, Depends(caller)]) -> str:
    """FastAPI dependency: the signed-in user's id."""
    if who.user_id is None:
        raise Unauthorized()
    return who.user_id


AnyCaller = Annotated[Caller, Depends(caller)]
UserId = Annotated[str, Depends(user_id)]
