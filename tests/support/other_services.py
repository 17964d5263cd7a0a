"""Another service as identity meets it over HTTP: what a test tells it to answer, and the tokens it was shown."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from embedded.local_server import LocalServer


class OtherService(LocalServer):
    """``answers`` maps paths to JSON documents, or to text that is sent in halves: the second once ``released``.

    ``status`` is answered throughout; with ``breaks`` the answer to a text ends after its first half.
    """

    def __init__(self, answers: Mapping[str, Any], *, status: int = 200, breaks: bool = False) -> None:
        super().__init__()
        self.answers = dict(answers)
        self.status = status
        self.breaks = breaks
        self.shown: list[str] = []
        self.released = asyncio.Event()
        self.released.set()

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.shown.append(request.headers.get("Authorization", ""))
        answer = self.answers.get(request.path)
        if answer is None or self.status != 200:
            return web.json_response({"code": "NOT_FOUND"}, status=404 if self.status == 200 else self.status)
        if not isinstance(answer, str):
            return web.json_response(answer)
        return await self._in_halves(request, answer.encode())

    async def _in_halves(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        await self.released.wait()
        if self.breaks and request.transport is not None:
            request.transport.close()
            return response
        await response.write(body[len(body) // 2 :])
        await response.write_eof()
        return response
