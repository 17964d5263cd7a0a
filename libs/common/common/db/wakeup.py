"""Being woken by NOTIFY, with polling as the floor: a lost notification costs a poll, never the work."""

import asyncio
import contextlib
from typing import Any

import asyncpg

from common.db.driver import plain_url

RELISTEN_SECONDS = 5.0


class WakeUp:
    """``async with WakeUp(direct_url, channel) as wake: await wake.wait(1.0)``.

    Without a direct session (a pooler, a restart of the database) it degrades to its polling interval.
    """

    def __init__(self, direct_url: str, channel: str) -> None:
        self._url = plain_url(direct_url)
        self._channel = channel
        self._rung = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "WakeUp":
        self._keeper = asyncio.create_task(self._keep_listening())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Returns when notified since the last wait, or after ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self._rung.clear()

    async def _keep_listening(self) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._listen()
            await asyncio.sleep(RELISTEN_SECONDS)

    async def _listen(self) -> None:
        session = await asyncpg.connect(self._url, timeout=5, command_timeout=10)
        lost = asyncio.Event()
        try:
            session.add_termination_listener(lambda _: lost.set())
            await session.add_listener(self._channel, self._notified)
            self.ring()
            await lost.wait()
        finally:
            await session.close(timeout=2)

    def _notified(self, *_: Any) -> None:
        self.ring()
