"""An HTTP server that takes webhooks, keeps them, and answers as a test tells it to."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from embedded.local_server import LocalServer


@dataclass(frozen=True)
class Received:
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)["event"]
        return event


class WebhookReceiver(LocalServer):
    """``statuses`` are answered in turn, then 200 for ever; ``received`` holds every request in order."""

    def __init__(self, *statuses: int) -> None:
        super().__init__()
        self.statuses = list(statuses)
        self.received: list[Received] = []
        self._arrived = asyncio.Condition()

    @property
    def address(self) -> str:
        return f"{self.url}/webhook"

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/webhook", self._take)
        return app

    async def holds(self, count: int, seconds: float = 10.0) -> None:
        """Returns once ``count`` requests are there. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.received) >= count)

    async def _take(self, request: web.Request) -> web.Response:
        self.received.append(Received(dict(request.headers), await request.read()))
        async with self._arrived:
            self._arrived.notify_all()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)
