"""A migration killed at every stage, one kill after the other: the run that is let finish brings every row, once."""

from pathlib import Path

import pytest

from tests.support.kill_points import kill_at, points, points_back
from tests.support.legacy_files import Amounts, fill, insert
from tests.support.migration import Target, certificate

AMOUNTS = Amounts(users=300, sessions=5, lines=6)
SESSIONS = AMOUNTS.users * AMOUNTS.sessions + AMOUNTS.catalogue
VALUES = AMOUNTS.users * 3
ODD = 20
_SERVED = ('identity."user"', "identity.user_value", "identity.preferences", "media.session", "media.session_line",
           "media.job", "media.curation_profile", "media.listening_event")  # fmt: skip
_KEYS = """
    SELECT count(*) FROM pg_constraint
    WHERE conrelid = 'media.session_line'::regclass AND contype = 'f' AND convalidated
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = fill(tmp_path / "dev.db", AMOUNTS)
    for number in range(ODD):
        insert(file, "EntitlementEvent", userId="nobody", id=f"odd {number}")
    return file


async def accounted_for(target: Target, file: Path, report: Path, reached: object) -> None:
    """What a run brings that is let finish, nothing of it twice."""
    for command in ("run", "verify"):
        ended = await target.run(command, file, "--report", report)
        assert ended.returncode == 0, f"{ended.stderr}\nkilled at {reached}"
    shown = certificate(report)
    assert shown["quarantine"]["rows"] == ODD
    assert {home["expectedDigest"] == home["foundDigest"] for home in shown["services"]} == {True}
    for table, count in (
        ("media.session", SESSIONS), ("media.job", SESSIONS), ("media.outbox", SESSIONS),
        ("media.session_line", SESSIONS * AMOUNTS.lines), ("identity.user_value", VALUES),
        ("legacy.quarantine", ODD), ("legacy.conflict", 0),
    ):  # fmt: skip
        assert await target.value(f"SELECT count(*) FROM {table}") == count, table


@pytest.mark.timeout(300)
async def test_killed_at_every_stage_a_migration_goes_on_where_it_was(
    target: Target, file: Path, tmp_path: Path
) -> None:
    reached = []
    for point in points(SESSIONS, VALUES, ODD):
        if "audio_file" in point.holds or "files" in point.name:
            continue  # the file names none that could be brought
        reached.append((point.name, await kill_at(target, point, "run", file)))
        assert await target.value(_KEYS) == 1, "no table is ever left without its foreign key"

    await accounted_for(target, file, tmp_path / "certificate.json", reached)


@pytest.mark.timeout(300)
async def test_a_rollback_that_is_killed_goes_on_and_everything_can_be_moved_again(
    target: Target, file: Path, tmp_path: Path
) -> None:
    assert (await target.run("run", file)).returncode == 0

    reached = [(point.name, await kill_at(target, point, "rollback", 1)) for point in points_back(SESSIONS)]

    if await target.value("SELECT state FROM legacy.run") != "rolled back":
        assert (await target.run("rollback", 1)).returncode == 0, reached
    for table in _SERVED:
        assert await target.value(f"SELECT count(*) FROM {table}") == 0, f"{table} {reached}"
    await accounted_for(target, file, tmp_path / "certificate.json", reached)
