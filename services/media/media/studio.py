"""Where lines become sound: taken from the cache when they are there, spoken when they are not, a read to a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Protocol

from common.tracing import in_this_trace
from media.line_audio import PAUSE, REST, Clip, LineAudio, record
from media.speech import FIRST_TAKE, SECOND_TAKE, Speech

_TAKES = ((FIRST_TAKE, PAUSE), (SECOND_TAKE, REST))


class RenderCancelled(Exception):
    """The caller asked to stop."""


class LineCache(Protocol):
    """Keeps lines by key. What it raises ends the render."""

    def get_many(self, keys: Sequence[str]) -> Mapping[str, LineAudio]:
        """Those that are there, and whole."""

    def put(self, key: str, line: LineAudio) -> None: ...


@dataclass(frozen=True)
class Studio:
    """One render's way to its lines. `read_done(done, total)` and `cancelled` are called from the caller's thread."""

    voice: str
    speech: Speech
    cache: LineCache | None
    read_done: Callable[[int, int], None]
    cancelled: Callable[[], bool]
    threads: int

    def lines(self, texts: Mapping[str, str]) -> tuple[dict[str, LineAudio], int]:
        """The sound of each key's normalised text, and how many lines had to be spoken.

        Raises RenderCancelled between reads, and what speaking raises.
        """
        ready = dict(self.cache.get_many(list(texts))) if self.cache is not None else {}
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="studio")
        try:
            missing = {key: text for key, text in texts.items() if key not in ready}
            ready.update(self._spoken(pool, missing, len(texts)))
        finally:
            pool.shutdown(cancel_futures=True)
        return ready, len(missing)

    def _spoken(self, pool: ThreadPoolExecutor, texts: Mapping[str, str], total: int) -> dict[str, LineAudio]:
        if self.cancelled():
            raise RenderCancelled
        speak = in_this_trace(record)
        reads: dict[Future[Clip], tuple[str, int]] = {
            pool.submit(speak, text, self.voice, self.speech, take, pause): (key, position)
            for key, text in texts.items()
            for position, (take, pause) in enumerate(_TAKES)
        }
        done = len(_TAKES) * (total - len(texts))
        clips: dict[str, dict[int, Clip]] = {key: {} for key in texts}
        spoken: dict[str, LineAudio] = {}
        for future in as_completed(reads):
            key, position = reads[future]
            clips[key][position] = future.result()
            if len(clips[key]) == len(_TAKES):
                spoken[key] = LineAudio(clips[key][0], clips[key][1])
                if self.cache is not None:
                    self.cache.put(key, spoken[key])
            done += 1
            self.read_done(done, len(_TAKES) * total)
            if self.cancelled():
                raise RenderCancelled
        return spoken
