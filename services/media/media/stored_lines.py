"""The cache of spoken lines in the object store, for the rendering thread.

Lines that no render has used for long may be taken away by the bucket's own rule, which goes by age: so a line that is
used gets young again. One that is gone is spoken again.
"""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from common.clock import Clock
from media.object_keys import line_object
from media.storage import IMMUTABLE, ObjectStorage

RENEWED_AFTER = timedelta(days=30)
"""A used line of this age is stored anew: at most once a month each, and long before any rule takes it away."""

T = TypeVar("T")


class StoredLines:
    """A LineCache whose methods wait for ``loop``, on which the store is used."""

    def __init__(self, storage: ObjectStorage, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._storage = storage
        self._clock = clock
        self._loop = loop

    def get(self, key: str) -> bytes | None:
        return self._await(self._get(line_object(key)))

    def put(self, key: str, data: bytes) -> None:
        self._await(self._put(line_object(key), data))

    async def _get(self, name: str) -> bytes | None:
        found = await self._storage.get_dated(name)
        if found is None:
            return None
        data, stored_at = found
        if self._clock() - stored_at >= RENEWED_AFTER:
            await self._put(name, data)
        return data

    async def _put(self, name: str, data: bytes) -> None:
        await self._storage.put(name, data, content_type="application/octet-stream", cache_control=IMMUTABLE)

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
