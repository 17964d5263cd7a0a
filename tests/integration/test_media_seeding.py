"""Catalogue and beds get into place once, whoever is killed or runs beside it, and follow what is written anew."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from embedded.object_store import PrivateObjectStore
from media import beds, seeding
from media.catalogue import CATALOGUE
from media.seeding import put_in_place, upload_beds
from media.storage import ListedObject, S3Storage
from tests.support.hand_clock import HandClock
from tests.support.media import Media, media, settings
from tests.support.render_works import Shelf, Works

OCEAN, BROOK = (beds.background_key(name) for name in ("Distant Ocean", "Babbling Brook"))


@pytest.fixture
async def works(database_url: str) -> AsyncIterator[Works]:
    clock = HandClock()
    async with media(settings(database_url), clock=clock) as [running]:
        await running.subscribe("user_1")
        yield Works(running, clock, Shelf())


@pytest.fixture
async def storage(object_store: PrivateObjectStore, bucket: str) -> AsyncIterator[S3Storage]:
    async with S3Storage(settings("postgresql://nobody@127.0.0.1:1/x", object_store, aws_s3_bucket_name=bucket)) as s3:
        yield s3


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Keys of the beds that were made; two beds, quick ones, are all there are, and the rest are there already."""
    keys: list[str] = []

    def make(key: str) -> bytes:
        keys.append(key)
        return key.encode()

    files = {key: lambda key=key: make(key) for key in beds.bed_files()}
    monkeypatch.setattr(seeding, "bed_files", lambda: files)
    return iter([keys])


async def stored(storage: S3Storage) -> list[ListedObject]:
    return [each for prefix in ("audio/background/", "audio/binaural/") for each in await storage.page(prefix, "")]


async def test_a_second_seeding_makes_no_bed_and_writes_none(storage: S3Storage, made: Iterator[list[str]]) -> None:
    keys, told = next(made), list[str]()
    await upload_beds(storage, tell=told.append)
    assert sorted(keys) == sorted(beds.bed_files())
    assert keys[0] == BROOK, "what every session plays comes first"
    assert told[0].startswith(f"beds: 1 of {len(keys)}, {BROOK}")
    before = await stored(storage)
    keys.clear()
    await upload_beds(storage, tell=told.append)
    assert (keys, await stored(storage)) == ([], before)


async def test_a_seeding_that_was_cut_off_goes_on_where_it_was(storage: S3Storage, made: Iterator[list[str]]) -> None:
    keys = next(made)

    def fall(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await upload_beds(storage, tell=fall)
    assert keys == [BROOK]
    await upload_beds(storage, tell=lambda _: None)
    assert sorted(keys) == sorted(beds.bed_files())


async def test_a_bed_of_an_older_edition_or_that_was_changed_in_the_store_is_made_again(
    storage: S3Storage, made: Iterator[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = next(made)
    await upload_beds(storage, tell=lambda _: None)
    keys.clear()
    await storage.put(OCEAN, b"something else", content_type="audio/mp4", cache_control="no-store")
    await upload_beds(storage, tell=lambda _: None)
    assert keys == [OCEAN]
    keys.clear()
    monkeypatch.setattr(beds, "EDITION", beds.EDITION + 1)
    await upload_beds(storage, tell=lambda _: None)
    assert sorted(keys) == sorted(beds.bed_files())


async def jobs(running: Media) -> int:
    return len(await running.rows("SELECT 1 FROM media.job"))


async def test_a_changed_line_renews_one_session_and_a_changed_voice_its_sound(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, few, entry = works.media.service.database, CATALOGUE[:3], CATALOGUE[1]
    monkeypatch.setattr(seeding, "CATALOGUE", few)
    assert await put_in_place(database) == len(few)
    for _ in few:
        await works.work_once(works.worker())
    assert (await put_in_place(database), await jobs(works.media)) == (0, len(few))
    lines = (*entry.lines[:-1], "I choose my own pace and I like it.")
    for version in (replace(entry, lines=lines), replace(entry, lines=lines, voice_id="onyx")):
        changed = tuple(version if each.id == entry.id else each for each in few)
        monkeypatch.setattr(seeding, "CATALOGUE", changed)
        before = await jobs(works.media)
        assert await put_in_place(database) == 1
        assert await jobs(works.media) == before + 1
        await works.work_once(works.worker())
        shown = (await works.media.api.get(f"/sessions/{entry.id}")).json
        assert (shown["affirmations"], shown["voiceId"]) == (list(lines), version.voice_id)
        assert "audio" in shown
        assert await put_in_place(database) == 0
