"""The foreign key of sessions' lines, which is looked at once for many: it holds as before, whoever else is there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from migration.foreign_keys import checked_together
from migration.service_tables import SESSION_LINE
from tests.support.legacy_files import fill
from tests.support.locks import waiting_for_a_lock
from tests.support.migration import Target

KEYS = """
    SELECT oid, conname, pg_get_constraintdef(oid) AS definition, convalidated FROM pg_constraint
    WHERE conrelid = 'media.session_line'::regclass AND contype = 'f'
"""
ORPHAN = "INSERT INTO media.session_line (session_id, position, text) VALUES ('nobody', 0, 'calm')"


@pytest.fixture
async def media(target: Target) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    session = await asyncpg.connect(target.admin_url)
    await session.execute("SET ROLE media")
    yield session
    await session.close()


async def the_key(target: Target) -> dict[str, Any]:
    (key,) = await target.rows(KEYS)
    return key


async def add_an_orphan(media: "asyncpg.Connection[asyncpg.Record]") -> None:
    async with media.transaction(), checked_together(media, SESSION_LINE, 1) as together:
        assert together
        await media.execute(ORPHAN)


async def test_after_a_run_the_key_says_what_it_said_and_is_validated(target: Target, tmp_path: Path) -> None:
    fill(tmp_path / "dev.db")
    before = await the_key(target)

    assert (await target.run("run", tmp_path / "dev.db")).returncode == 0

    after = await the_key(target)
    assert after["oid"] != before["oid"], "it was put back"
    assert after["convalidated"]
    assert {**after, "oid": 0} == {**before, "oid": 0}
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await target.execute(ORPHAN)


async def test_a_table_that_somebody_reads_is_not_taken_from_them(
    target: Target, tmp_path: Path, media: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    fill(tmp_path / "dev.db")
    before = await the_key(target)

    async with media.transaction():
        assert await media.fetchval("SELECT count(*) FROM media.session_line") == 0
        ended = await target.run("run", tmp_path / "dev.db")

    assert ended.returncode == 0, ended.stderr
    assert await the_key(target) == before
    assert await target.value("SELECT count(*) FROM media.session_line") > 0


async def test_a_table_with_much_more_in_it_than_comes_is_not_read_through_for_that(
    target: Target, tmp_path: Path, media: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    fill(tmp_path / "dev.db")
    assert (await target.run("run", tmp_path / "dev.db")).returncode == 0
    size = await target.value("SELECT pg_relation_size('media.session_line')")
    before = await the_key(target)
    async with media.transaction(), checked_together(media, SESSION_LINE, size // 25) as together:
        assert not together
    assert await the_key(target) == before
    async with media.transaction(), checked_together(media, SESSION_LINE, size // 10) as together:
        assert together


async def test_a_row_that_the_key_forbids_does_not_get_in(
    target: Target, media: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    before = await the_key(target)

    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await add_an_orphan(media)

    assert await the_key(target) == before
    assert await target.value("SELECT count(*) FROM media.session_line") == 0


async def test_nobody_gets_at_the_table_while_it_is_without_its_key(
    target: Target, media: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with media.transaction(), checked_together(media, SESSION_LINE, 1):
        other = asyncio.create_task(target.execute(ORPHAN))
        await waiting_for_a_lock(target.admin_url)
        assert not other.done()

    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await other
