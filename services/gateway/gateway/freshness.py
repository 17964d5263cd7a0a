"""A running gateway keeps its issuer's keys fresh, also through quiet hours."""

import asyncio
from contextlib import suppress

from common.jwks import JwksClient


class KeptFresh:
    """``async with KeptFresh(keys)``: refreshes in the background while inside."""

    def __init__(self, keys: JwksClient) -> None:
        self._keys = keys
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "KeptFresh":
        self._task = asyncio.create_task(self._keys.keep_fresh(), name="keep_fresh")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
