"""Calling a service as any user, without a gateway: the Bearer text of a request is the user's id."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from fastapi import FastAPI

from common.auth import Caller
from common.service import HttpServer

ISSUER = "https://clerk.test"
NOBODY = "nobody"
"""The Bearer text of a caller without an account, as on webhook and play routes."""


class FixedCallers:
    """A CallerVerifier that believes what it is told."""

    def __init__(self, issuer: str | None = ISSUER) -> None:
        self._issuer = issuer

    async def verify(self, token: str) -> Caller:
        user_id = None if token == NOBODY else token
        return Caller(user_id, f"sess_{token}", None, self._issuer, "request-1")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


async def answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Asks again while the service is busy, as the app does: a crowd may wait longer than it may for a connection."""
    while (answer := await ask()).status == 503:
        await asyncio.sleep(0.1)
    return answer


async def all_at_once(*asks: Callable[[], Awaitable[Answer]]) -> list[Answer]:
    """What a crowd is answered in the end."""
    return await asyncio.gather(*map(answered, asks))


class Api:
    """Calls one app over HTTP. ``caller`` None sends no Authorization header."""

    def __init__(self, session: aiohttp.ClientSession, caller: str | None) -> None:
        self._session = session
        self._caller = caller

    def signed_in_as(self, caller: str | None) -> "Api":
        return Api(self._session, caller)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.request("POST", path, body=body, **options)

    async def put(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.request("PUT", path, body=body, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.request("DELETE", path, **options)

    async def request(
        self, method: str, path: str, *, body: Any = None, raw: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """``body`` is sent as JSON; ``raw`` is sent as it is, an async iterator in chunks."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        if self._caller is not None:
            sent.setdefault("Authorization", f"Bearer {self._caller}")
        data = raw if raw is not None else json.dumps({} if body is None else body)
        async with self._session.request(method, path, data=None if method == "GET" else data, headers=sent) as answer:
            return Answer(answer.status, answer.headers, await answer.text())


@asynccontextmanager
async def served(app: FastAPI, caller: str | None = "user_1") -> AsyncIterator[Api]:
    """Serves the app on a free port of 127.0.0.1 and calls it as ``caller``."""
    async with (
        HttpServer(app, "127.0.0.1", 0) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session,
    ):
        yield Api(session, caller)
