"""Everything held about a user, as one JSON document: identity's part, then billing's and media's as they arrive.

Nothing is collected first: what the other services send is passed on. They are asked before the first byte goes out, so
that a service which is down makes a 503 and not half a document.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
from prometheus_client import Counter
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from common.clock import wire_time
from common.db.uow import UnitOfWork
from common.errors import DomainError, Unauthorized, Unavailable
from common.observability import logger
from common.tracing import current_trace, span
from common.web.client import tell_answer
from identity import queries
from identity.models import User
from identity.schemas import HeldHere, LinkView, MeView, SignedOutSession, ValueView

EXPORT_PATH = "/internal/export"
PATIENCE = aiohttp.ClientTimeout(total=600, sock_connect=2, sock_read=30)
EXPORTS = Counter("identity_exports_total", "Exports of everything held about a user", ["outcome"])
log = logger("exporting")
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)


class ExportBroke(Exception):
    """A service stopped amid its part."""


async def held_here(uow: UnitOfWork, user: User) -> HeldHere:
    return HeldHere(
        user=MeView.of(user),
        updated_at=user.updated_at,
        struggle=user.struggle,
        values=[ValueView.of(value) for value in await queries.values(uow, user.id)],
        preferences=await queries.stored_preferences(uow, user.id),
        links=[LinkView.of(link) for link in await queries.links(uow, user.id)],
        ended_sessions=[SignedOutSession.of(one) for one in await queries.ended_sessions(uow, user.id)],
    )


class Exporters:
    """The other services that hold something of a user. Opened by ``async with``."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        """``urls`` maps the names in the document to the services' origins."""
        self._urls = dict(urls)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=PATIENCE, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def open(self, authorization: str) -> dict[str, aiohttp.ClientResponse]:
        """The begun answers of all. Raises Unavailable when one does not begin, Unauthorized when one knows no user."""
        asked = [self._begin(name, authorization) for name in self._urls]
        begun = await asyncio.gather(*asked, return_exceptions=True)
        failed = [one for one in begun if isinstance(one, BaseException)]
        answers = [one for one in begun if isinstance(one, aiohttp.ClientResponse)]
        if failed:
            for answer in answers:
                answer.close()
            EXPORTS.labels("refused").inc()
            raise failed[0]
        return dict(zip(self._urls, answers, strict=True))

    async def _begin(self, name: str, authorization: str) -> aiohttp.ClientResponse:
        assert self._http is not None, "the exporters are not open"
        headers = {"Authorization": authorization, "X-Request-Id": current_trace().correlation_id}
        try:
            with span(f"GET {name}", "client", {"http.request.method": "GET", "peer.service": name}) as step:
                headers["traceparent"] = step.traceparent
                answer = await self._http.get(self._urls[name] + EXPORT_PATH, headers=headers, allow_redirects=False)
                tell_answer(step, answer.status)
        except _BROKEN as error:
            raise _unavailable(name, f"{type(error).__name__}: {error}") from None
        if answer.status == 200 and answer.content_type == "application/json":
            return answer
        answer.close()
        if answer.status == 401:
            raise Unauthorized
        raise _unavailable(name, f"status {answer.status}, {answer.content_type}")


def _unavailable(name: str, problem: str) -> DomainError:
    log.warning("export_not_begun", service=name, problem=problem[:200])
    return Unavailable("Not everything held about you can be read at the moment; try again shortly.")


class ExportResponse(StreamingResponse):
    """Streams the document and lets go of the services' answers, however it ends."""

    def __init__(self, user_id: str, held: HeldHere, parts: Mapping[str, aiohttp.ClientResponse], at: datetime) -> None:
        self._parts = parts
        head = {"exportedAt": wire_time(at), "userId": user_id, "identity": held.model_dump(mode="json", by_alias=True)}
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": 'attachment; filename="entrain-export.json"',
        }
        super().__init__(_document(head, parts), media_type="application/json", headers=headers)

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except ExportBroke:
            return  # unfinished: the server closes the socket instead of ending the body, and whoever reads it notices

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            for answer in self._parts.values():
                answer.close()


async def _document(head: Mapping[str, Any], parts: Mapping[str, aiohttp.ClientResponse]) -> AsyncIterator[bytes]:
    yield json.dumps(head, ensure_ascii=False).removesuffix("}").encode()
    for name, answer in parts.items():
        yield f', "{name}": '.encode()
        try:
            async for chunk in answer.content.iter_any():
                yield chunk
        except _BROKEN as error:
            EXPORTS.labels("broke").inc()
            log.warning("export_broke", service=name, problem=f"{type(error).__name__}: {error}"[:200])
            raise ExportBroke(name) from error
    yield b"}"
    EXPORTS.labels("completed").inc()
