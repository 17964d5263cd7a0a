"""A migration killed at random points, again and again: the run that is let finish accounts for every row, once."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.support.legacy_files import Amounts, fill
from tests.support.migration import Target, certificate, prepare

KILLS = 10
AMOUNTS = Amounts(users=300, sessions=5, lines=6)
ROWS = 13_000
"""About as many as the services get of it."""
_THERE = """
    SELECT (SELECT count(*) FROM identity."user") + (SELECT count(*) FROM identity.user_value)
        + (SELECT count(*) FROM media.session) + (SELECT count(*) FROM media.session_line)
        + (SELECT count(*) FROM media.job) AS rows
"""
_KEYS = """
    SELECT count(*) FROM pg_constraint
    WHERE conrelid = 'media.session_line'::regclass AND contype = 'f' AND convalidated
"""


async def start_and_kill(target: Target, file: Path, beyond: int) -> int:
    """Kills a run as soon as it has brought more rows than ``beyond``, or ended; how many were there then."""
    process = target.start("run", file)
    while process.poll() is None and await target.value(_THERE) <= beyond:
        await asyncio.sleep(0)
    process.kill()
    await asyncio.to_thread(process.wait, 30)
    assert await target.value(_KEYS) == 1, "no table is ever left without its foreign key"
    return int(await target.value(_THERE))


@pytest.mark.timeout(300)
async def test_killed_at_ten_random_points_a_migration_goes_on_where_it_was(database_url: str, tmp_path: Path) -> None:
    target = await prepare(database_url)
    file, report = tmp_path / "dev.db", tmp_path / "certificate.json"
    fill(file, AMOUNTS)
    reached = [await start_and_kill(target, file, beyond) for beyond in sorted(random.sample(range(ROWS), KILLS))]

    ended = await target.run("run", file, "--report", report)

    assert ended.returncode == 0, f"{ended.stderr}\nkilled after {reached} rows"
    shown = certificate(report)
    assert shown["complete"]
    assert shown["run"] == 1, "a run that was cut off goes on under its own number"
    assert {home["expectedDigest"] == home["foundDigest"] for home in shown["services"]} == {True}
    sessions = AMOUNTS.users * AMOUNTS.sessions + AMOUNTS.catalogue
    for table, count in (
        ("media.session", sessions), ("media.job", sessions), ("media.outbox", sessions),
        ("media.session_line", sessions * AMOUNTS.lines), ("identity.user_value", AMOUNTS.users * 3),
        ("legacy.run", 1), ("legacy.conflict", 0),
    ):  # fmt: skip
        assert await target.value(f"SELECT count(*) FROM {table}") == count, table
