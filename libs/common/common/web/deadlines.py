"""Work for a caller who has gone on without the answer is stopped: the caller says how long it will wait."""

import asyncio

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import Unavailable
from common.observability import logger

BUDGET_HEADER = "X-Request-Timeout-Ms"
"""Milliseconds that the caller waits for an answer to begin, after it has sent the last of its body."""

_NAME = BUDGET_HEADER.lower().encode()
_LONGEST = 3600.0

log = logger("deadlines")


class Deadline:
    """Cancels a request that has not begun to answer within its time; its transaction rolls back. The answer is 503."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seconds = _budget(scope) if scope["type"] == "http" else None
        if seconds is None:
            await self.app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()

        async def received() -> Message:
            message = await receive()
            if message["type"] == "http.request" and message.get("body") and not limit.expired():
                limit.reschedule(loop.time() + seconds)
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and not limit.expired():
                limit.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(seconds) as limit:
                await self.app(scope, received, sent)
        except TimeoutError:
            if not limit.expired():
                raise
            log.warning("deadline_passed", seconds=seconds)
            late = Unavailable("This takes too long at the moment; try again shortly.")
            await JSONResponse(late.envelope(), late.status, headers=late.headers)(scope, receive, send)


def _budget(scope: Scope) -> float | None:
    """Seconds; None where the caller gives no limit, or none that can be understood."""
    given = next((value for name, value in scope["headers"] if name == _NAME), b"")
    return min(int(given) / 1000, _LONGEST) if given.isdigit() and len(given) < 12 else None
