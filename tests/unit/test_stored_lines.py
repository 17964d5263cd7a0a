"""Spoken lines between a rendering thread, the worker's memory and the store."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest

from common.clock import utc_now
from media.object_keys import line_object
from media.storage import ObjectStorage, StorageUnavailable
from media.stored_lines import RecentLines, StoredLines
from tests.support.render_works import Shelf

KEYS = ["a" * 64, "b" * 64, "c" * 64]


@dataclass
class CountingShelf(Shelf):
    asked: Counter[str] = field(default_factory=Counter)

    async def get(self, key: str) -> bytes | None:
        self.asked[key] += 1
        return await super().get(key)


def worker(shelf: Shelf, recent: RecentLines | None = None) -> StoredLines:
    loop = asyncio.get_running_loop()
    return StoredLines(cast(ObjectStorage, shelf), utc_now, loop, recent or RecentLines())


async def put(lines: StoredLines, key: str, data: bytes) -> None:
    await asyncio.to_thread(lines.put, key, data)


async def got(lines: StoredLines, *keys: str) -> Mapping[str, bytes]:
    return await asyncio.to_thread(lines.get_many, keys)


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


async def test_a_line_spoken_again_takes_the_place_of_the_one_remembered() -> None:
    ours = worker(Shelf())
    await put(ours, KEYS[0], b"damaged")
    await put(ours, KEYS[0], b"whole")
    assert await got(ours, KEYS[0]) == {KEYS[0]: b"whole"}


@pytest.mark.parametrize("asked, left", [([], "bc"), (["a"], "ac")])
def test_memory_is_bounded_in_bytes_and_gives_up_what_was_longest_not_asked_for(asked: list[str], left: str) -> None:
    recent = RecentLines(limit=20)
    recent.put("a", b"." * 10)
    recent.put("b", b"." * 4)
    recent.put("b", b"." * 10)
    for key in asked:
        recent.get(key)
    recent.put("c", b"." * 10)
    assert "".join(key for key in "abc" if recent.get(key)) == left
    recent.put("longer than all", b"." * 21)
    assert not any(recent.get(key) for key in (*"abc", "longer than all"))
