"""Spoken lines between a rendering thread, the worker's memory and the store."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import numpy as np
import pytest

from common.clock import utc_now
from media.line_audio import Clip, LineAudio
from media.object_keys import line_object
from media.rendering import render
from media.storage import ObjectStorage, StorageUnavailable
from media.stored_lines import RecentLines, StoredLines
from tests.support.render_works import Shelf
from tests.support.tone_speech import ToneSpeech

KEYS = ["a" * 64, "b" * 64, "c" * 64]


def line(sound: bytes) -> LineAudio:
    """Two reads of which each is this sound and nothing measured: ``2 * len(sound)`` bytes."""
    clip = Clip((sound,), 0, -3.0, np.zeros(0, np.float32))
    return LineAudio(clip, clip)


def sounds(found: Mapping[str, LineAudio]) -> dict[str, bytes]:
    return {key: line.first.packets[0] for key, line in found.items()}


@dataclass
class CountingShelf(Shelf):
    asked: Counter[str] = field(default_factory=Counter)

    async def get(self, key: str) -> bytes | None:
        self.asked[key] += 1
        return await super().get(key)


def worker(shelf: Shelf, recent: RecentLines | None = None) -> StoredLines:
    loop = asyncio.get_running_loop()
    return StoredLines(cast(ObjectStorage, shelf), utc_now, loop, recent or RecentLines())


async def put(lines: StoredLines, key: str, sound: bytes) -> None:
    await asyncio.to_thread(lines.put, key, line(sound))


async def got(lines: StoredLines, *keys: str) -> dict[str, bytes]:
    return sounds(await asyncio.to_thread(lines.get_many, keys))


async def test_a_worker_asks_the_store_only_for_lines_it_has_not_had_in_its_hands() -> None:
    shelf = CountingShelf()
    ours = worker(shelf)
    await put(ours, KEYS[0], b"one")
    await put(worker(shelf), KEYS[1], b"two")
    for _ in range(2):
        assert await got(ours, *KEYS) == {KEYS[0]: b"one", KEYS[1]: b"two"}
    assert shelf.asked == {line_object(KEYS[1]): 1, line_object(KEYS[2]): 2}


async def test_what_the_store_did_not_take_is_not_remembered() -> None:
    shelf = Shelf(down=True)
    ours = worker(shelf)
    with pytest.raises(StorageUnavailable):
        await put(ours, KEYS[0], b"one")
    shelf.down = False
    assert await got(ours, KEYS[0]) == {}


async def test_a_store_that_is_down_ends_the_search_and_hides_nothing_remembered() -> None:
    shelf = Shelf()
    ours = worker(shelf)
    await put(ours, KEYS[0], b"one")
    shelf.down = True
    assert await got(ours, KEYS[0]) == {KEYS[0]: b"one"}
    with pytest.raises(StorageUnavailable):
        await got(ours, *KEYS)


async def test_a_stored_line_that_was_damaged_is_not_there_until_it_is_stored_again() -> None:
    shelf = Shelf()
    ours, other = worker(shelf), worker(shelf)
    await put(ours, KEYS[0], b"one")
    shelf.objects[line_object(KEYS[0])] = shelf.objects[line_object(KEYS[0])][:-1]
    assert await got(other, KEYS[0]) == {}
    await put(other, KEYS[0], b"one")
    assert await got(other, KEYS[0]) == await got(worker(shelf), KEYS[0]) == {KEYS[0]: b"one"}


async def test_a_damaged_line_is_spoken_again_into_the_same_file() -> None:
    shelf = Shelf()
    calm = partial(render, ["I am calm."], "low", ToneSpeech())
    good = await asyncio.to_thread(calm, line_cache=worker(shelf))
    [name] = shelf.objects
    kept = shelf.objects[name]
    shelf.objects[name] = kept[:-1]
    again = await asyncio.to_thread(calm, line_cache=worker(shelf))
    assert (again.lines_spoken, again.m4a, shelf.objects[name]) == (1, good.m4a, kept)


@pytest.mark.parametrize("asked, left", [([], "bc"), (["a"], "ac")])
def test_memory_is_bounded_in_bytes_and_gives_up_what_was_longest_not_asked_for(asked: list[str], left: str) -> None:
    recent = RecentLines(limit=20)
    recent.put("a", line(b"." * 5))
    recent.put("b", line(b"." * 2))
    recent.put("b", line(b"." * 5))
    for key in asked:
        recent.get(key)
    recent.put("c", line(b"." * 5))
    assert "".join(key for key in "abc" if recent.get(key)) == left
    recent.put("longer than all", line(b"." * 11))
    assert not any(recent.get(key) for key in (*"abc", "longer than all"))
