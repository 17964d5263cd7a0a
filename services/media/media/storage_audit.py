"""Whether rows and objects agree, both ways, and how each side is put right.

An object that no row names was left by a worker that died between storing and completing, or belongs to lines that a
session no longer says. It goes when it is a day old and nothing is being made for its session. A row whose object is
not what the row says gives way to a new render.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from common.db.engine import Database
from common.db.uow import UnitOfWork
from media.commands import render_again
from media.models import SessionAudio
from media.object_keys import LINES, SESSIONS, file_beside, line_of, session_of
from media.queries import audio_after, files_with_rows, lines_in_use, locked_session, sessions_in_motion
from media.storage import ListedObject, ObjectStorage

SETTLED_AFTER = timedelta(days=1)
SWEPT = (SESSIONS, LINES)
"""The prefixes whose objects belong to rows."""


@dataclass(frozen=True, slots=True)
class BrokenRow:
    session_id: str
    key: str
    problem: str
    """``no object``, ``wrong size`` or ``wrong sha256``."""


@dataclass(slots=True)
class Report:
    """What was looked at and what does not agree. ``removed`` and ``repaired`` count what was put right."""

    objects: int = 0
    young: int = 0
    """Of them, those not yet a day old: what no row names may be named any moment."""
    rows: int = 0
    strays: list[str] = field(default_factory=list)
    broken: list[BrokenRow] = field(default_factory=list)
    removed: int = 0
    repaired: int = 0

    @property
    def agrees(self) -> bool:
        """Nothing was found, or all of it was put right."""
        return (self.removed, self.repaired) == (len(self.strays), len(self.broken))

    def lines(self) -> list[str]:
        """For a person."""
        return [
            *(f"no row names {key}" for key in self.strays),
            *(f"{row.problem}: {row.key} of session {row.session_id}" for row in self.broken),
            f"{self.objects} objects, {self.young} of them too young to be judged: {len(self.strays)} without a row,"
            f" {self.removed} of them removed",
            f"{self.rows} rows: {len(self.broken)} broken, {self.repaired} of them to be rendered again",
        ]


class StorageAudit:
    """Every method may be repeated and run beside itself. Raises StorageUnavailable when the store does not answer."""

    def __init__(self, database: Database, storage: ObjectStorage) -> None:
        self._database = database
        self._storage = storage

    async def strays(self, objects: Sequence[ListedObject]) -> list[str]:
        """Keys of those that no row names, that are old enough, and whose session is at rest."""
        async with self._database.transaction() as uow:
            return await _strays(uow, objects)

    async def remove(self, objects: Sequence[ListedObject]) -> int:
        """Takes the strays among them out for good; how many. Of a session nothing is made meanwhile."""
        by_session: dict[str | None, list[ListedObject]] = {}
        for each in objects:
            by_session.setdefault(session_of(each.key), []).append(each)
        return sum([await self._remove(session_id, found) for session_id, found in by_session.items()])

    async def _remove(self, session_id: str | None, objects: Sequence[ListedObject]) -> int:
        async with self._database.transaction() as uow:
            if session_id is not None:  # held: a render may neither begin nor complete until this is over
                await locked_session(uow, session_id)
            # in this transaction: while others wait for the session, there may be no second one to be had
            strays = await _strays(uow, objects)
            for key in strays:
                found = await self._storage.find(key)
                await self._storage.remove([version for version in found if version.key == key])
        return len(strays)

    async def broken(self, rows: Sequence[SessionAudio]) -> list[BrokenRow]:
        """Those whose object is missing or not what they say."""
        found = await asyncio.gather(*(self._problem(row) for row in rows))
        pairs = zip(rows, found, strict=True)
        return [BrokenRow(row.session_id, row.audio_key, problem) for row, problem in pairs if problem]

    async def _problem(self, row: SessionAudio) -> str | None:
        stored = await self._storage.head(row.audio_key)
        if stored is None:
            return "no object"
        if stored.size != row.size_bytes:
            return "wrong size"
        return "wrong sha256" if stored.sha256 not in (None, row.sha256) else None

    async def repair(self, broken: Sequence[BrokenRow]) -> int:
        """Has their sessions rendered again; how many rows that were, now gone."""
        repaired = 0
        for each in broken:
            async with self._database.transaction() as uow:
                repaired += await render_again(uow, each.session_id, each.key)
        return repaired

    async def run(self, *, remove: bool, repair: bool, tell: Callable[[str], object]) -> Report:
        """Looks at everything, a page at a time; ``tell`` hears how far it is."""
        report = Report()
        for prefix in SWEPT:
            await self._each_page(prefix, report, remove, tell)
        last = ""
        while rows := await self._rows_after(last):
            broken = await self.broken(rows)
            report.broken += broken
            report.rows += len(rows)
            report.repaired += await self.repair(broken) if repair else 0
            last = rows[-1].session_id
            tell(f"{report.rows} rows, {len(report.broken)} whose object is not what they say")
        return report

    async def _each_page(self, prefix: str, report: Report, remove: bool, tell: Callable[[str], object]) -> None:
        after = ""
        while objects := await self._storage.page(prefix, after):
            strays = set(await self.strays(objects))
            report.strays += sorted(strays)
            report.objects += len(objects)
            settled_at = self._database.clock() - SETTLED_AFTER
            report.young += sum(each.modified_at >= settled_at for each in objects)
            if remove:
                report.removed += await self.remove([each for each in objects if each.key in strays])
            after = objects[-1].key
            tell(f"{prefix}: {report.objects} objects, {len(report.strays)} that no row names")

    async def _rows_after(self, session_id: str) -> Sequence[SessionAudio]:
        async with self._database.transaction() as uow:
            return await audio_after(uow, session_id)


async def _strays(uow: UnitOfWork, objects: Sequence[ListedObject]) -> list[str]:
    old = [each.key for each in objects if each.modified_at < uow.now - SETTLED_AFTER]
    named = await files_with_rows(uow, {file_beside(key) for key in old})
    used = await lines_in_use(uow, {line for key in old if (line := line_of(key))})
    moving = await sessions_in_motion(uow, {one for key in old if (one := session_of(key))})
    return [
        key
        for key in old
        if file_beside(key) not in named and line_of(key) not in used and session_of(key) not in moving
    ]
