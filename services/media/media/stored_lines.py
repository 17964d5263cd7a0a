"""Spoken lines that are kept: in the object store for every worker, the last used of them in a worker's memory too.

Lines that no render has used for long may be taken away by the bucket's own rule, which goes by age: so a line that is
used gets young again. One that is gone is spoken again.
"""

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from common.clock import Clock
from media.line_audio import DamagedLine, LineAudio
from media.object_keys import line_object
from media.storage import IMMUTABLE, ObjectStorage

RENEWED_AFTER = timedelta(days=30)
"""A used line of this age is stored anew: at most once a month each, and long before any rule takes it away."""
RECENT_BYTES = 8 * 2**20
"""Some 100 lines, or 12 sessions: a person edits what they have just heard."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class RecentLines:
    """At most ``limit`` bytes of lines by key; those go first that were longest not asked for. Safe in threads."""

    def __init__(self, limit: int = RECENT_BYTES) -> None:
        self._limit = limit
        self._lines: OrderedDict[str, LineAudio] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> LineAudio | None:
        with self._lock:
            if key in self._lines:
                self._lines.move_to_end(key)
            return self._lines.get(key)

    def put(self, key: str, line: LineAudio) -> None:
        with self._lock:
            if key in self._lines:
                self._size -= self._lines.pop(key).size
            self._lines[key] = line
            self._size += line.size
            while self._size > self._limit:
                self._size -= self._lines.popitem(last=False)[1].size


class StoredLines:
    """The cache of spoken lines for a rendering thread; ``loop`` is where ``storage`` lives.

    Raises StorageUnavailable. Only what the store has, or gave, is kept in memory too.
    """

    def __init__(
        self, storage: ObjectStorage, clock: Clock, loop: asyncio.AbstractEventLoop, recent: RecentLines
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._loop = loop
        self._recent = recent

    def get_many(self, keys: Sequence[str]) -> dict[str, LineAudio]:
        found = {key: line for key in keys if (line := self._recent.get(key)) is not None}
        missing = [key for key in keys if key not in found]
        stored = self._await(self._stored(missing)) if missing else []
        for key, data in zip(missing, stored, strict=True):
            if data is not None and (line := _whole(key, data)):
                found[key] = line
                self._recent.put(key, line)
        return found

    def put(self, key: str, line: LineAudio) -> None:
        self._await(self._put(line_object(key), line.to_bytes()))
        self._recent.put(key, line)

    async def _stored(self, keys: Sequence[str]) -> list[bytes | None]:
        return await asyncio.gather(*(self._get(line_object(key)) for key in keys))

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


def _whole(key: str, data: bytes) -> LineAudio | None:
    try:
        return LineAudio.from_bytes(data)
    except DamagedLine as damage:
        _log.warning("stored line %s is spoken again: %s", key, damage)
        return None
