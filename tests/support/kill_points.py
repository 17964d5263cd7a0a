"""Where a migration is killed: as soon as a look at its work shows that it has come so far."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg

from tests.support.migration import Target


@dataclass(frozen=True)
class Point:
    """``holds``: SQL that is true from there on; ``said``: how the line begins after which it is there.

    With neither, the point is the copy of the file that the run works on.
    """

    name: str
    holds: str = ""
    said: str = ""


def points(sessions: int, values: int, quarantined: int) -> Sequence[Point]:
    """In the order in which a run comes to them, of a file with as many rows."""
    return (
        Point("while the snapshot is taken"),
        Point("while every value is looked at", said="taking a snapshot"),
        Point("files half brought", f"(SELECT count(*) >= {sessions // 2} FROM legacy.audio_file)"),
        Point("files brought, no row yet", said="moving audio files"),
        Point("users there, nothing of theirs", 'EXISTS (SELECT FROM identity."user")'),
        Point("values half there", f"(SELECT count(*) >= {values // 2} FROM identity.user_value)"),
        Point("first sessions there", "EXISTS (SELECT FROM media.session)"),
        Point(
            "a batch with its service, not yet archived",
            'EXISTS (SELECT FROM media.session s WHERE NOT EXISTS (SELECT FROM legacy."Session" l WHERE l.id = s.id))',
        ),
        Point("between batches of sessions", f"(SELECT count(*) > {sessions // 2} FROM media.session)"),
        Point("all sessions there", f"(SELECT count(*) >= {sessions} FROM media.session)"),
        Point("while the archive is indexed", said="moving SessionEvent"),
        Point("quarantine begun", f"(SELECT count(*) >= {max(1, quarantined // 2)} FROM legacy.quarantine)"),
        Point("while both ends are compared", said="proving which audio stays behind"),
        Point("while files are read back", said="proving both ends"),
        Point("certified, report not yet written", "EXISTS (SELECT FROM legacy.run WHERE state = 'finished')"),
    )


def points_back(sessions: int) -> Sequence[Point]:
    """The same for a rollback."""
    return (
        Point("assets taken back", 'NOT EXISTS (SELECT FROM legacy."AudioAsset")'),
        Point("sessions half taken back", f"(SELECT count(*) <= {sessions // 2} FROM media.session)"),
        Point("values taken back, users not", "NOT EXISTS (SELECT FROM identity.user_value)"),
    )


async def kill_at(target: Target, point: Point, *arguments: object) -> bool:
    """Kills the command as soon as it is there; whether it was, and had not ended by then."""
    session = await asyncpg.connect(target.admin_url)
    try:
        with TemporaryDirectory() as folder:
            said = Path(folder) / "said"
            with said.open("wb") as output:
                process = target.start(*arguments, told=output, TMPDIR=folder)
                while process.poll() is None and not await _reached(point, session, said):
                    await asyncio.sleep(0)
                there = process.poll() is None
                process.kill()
                await asyncio.to_thread(process.wait, 30)
            return there
    finally:
        await session.close()


async def _reached(point: Point, session: "asyncpg.Connection[asyncpg.Record]", said: Path) -> bool:
    if point.said:
        return any(line.startswith(point.said) for line in said.read_text().splitlines())
    if not point.holds:
        return any(said.parent.glob("migration-*/copy.db"))
    try:
        return bool(await session.fetchval(f"SELECT {point.holds}"))
    except asyncpg.UndefinedTableError:
        return False
