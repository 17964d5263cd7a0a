"""What the gateway asks identity: which user a second issuer's subject is, and who signed out lately."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from urllib.parse import urlencode

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from common.clock import wire_time
from common.internal_tokens import InternalTokenIssuer
from common.tracing import current_trace
from common.web.client import BadAnswer, HttpClient, Patience

_PATIENCE = Patience(connect=1.0, read=2.0, total=3.0)
_AUDIENCE = ("identity",)


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


class LinkedUser(_Wire):
    user_id: str = Field(pattern=r"^[A-Za-z0-9_.:|@-]{1,128}$")


class EndedSession(_Wire):
    session_id: str
    ended_at: AwareDatetime


class DeletedUser(_Wire):
    user_id: str
    deleted_at: AwareDatetime


class SignedOut(_Wire):
    """Those who signed out since some instant; identity bounds how many it names."""

    sessions: Sequence[EndedSession]
    users: Sequence[DeletedUser]


class Directory(Protocol):
    async def user_of(self, issuer: str, subject: str) -> str:
        """The user's id. Raises CallFailed."""
        ...

    async def signed_out(self, since: datetime) -> SignedOut:
        """Raises CallFailed."""
        ...


class IdentityDirectory:
    """Asks the identity service in nobody's name. ``async with`` opens the pool."""

    def __init__(self, url: str, tokens: InternalTokenIssuer) -> None:
        self._url = url
        self._tokens = tokens
        self._http = HttpClient("identity", patience=_PATIENCE, retries=1, ours=True)

    async def __aenter__(self) -> "IdentityDirectory":
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__(None, None, None)

    async def user_of(self, issuer: str, subject: str) -> str:
        answer = await self._asked("/internal/users", issuer=issuer, subject=subject)
        try:
            return LinkedUser.model_validate_json(answer).user_id
        except ValidationError as error:
            raise _unreadable(error) from None

    async def signed_out(self, since: datetime) -> SignedOut:
        answer = await self._asked("/internal/sign-outs", since=wire_time(since))
        try:
            return SignedOut.model_validate_json(answer)
        except ValidationError as error:
            raise _unreadable(error) from None

    async def _asked(self, path: str, **query: str) -> bytes:
        minted = self._tokens.mint(_AUDIENCE, request_id=current_trace().correlation_id)
        headers = {"Authorization": minted.authorization}
        answer = await self._http.get(f"{self._url}{path}?{urlencode(query)}", headers=headers)
        if answer.status != 200:
            raise BadAnswer("identity", f"status {answer.status} for {path}")
        return answer.body


def _unreadable(error: ValidationError) -> BadAnswer:
    return BadAnswer("identity", f"{error.error_count()} faults in its answer")
