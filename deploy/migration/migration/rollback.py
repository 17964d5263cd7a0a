"""Takes back what a run added, as far as it still is what the run added. What its owner changed since stays, archived.

The archive says what was moved, so the file is not needed.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from common.progress import Progress
from migration import postgres
from migration.accounts import Accounts, leading_ids
from migration.archive import Archive
from migration.batches import LEADERS
from migration.discarded import discard
from migration.homes import HOMES, Batch, Context, Home, Row
from migration.legacy_tables import BY_NAME
from migration.moving import Run
from migration.postgres import Connection, Schemas
from migration.runs import NoSuchRun
from migration.service_tables import OUTBOX, REFRESH, SESSION, USER
from migration.source import Rows, quoted
from migration.values import canonical

_BOOKS = ("quarantine", "other_row", "conflict", "audio_file")
_WITHOUT_CHILDREN = """
    SELECT id FROM identity."user" u WHERE id = ANY($1::text[])
    AND NOT EXISTS (SELECT 1 FROM identity.user_value v WHERE v.user_id = u.id)
    AND NOT EXISTS (SELECT 1 FROM identity.preferences p WHERE p.user_id = u.id)
"""
_WITHDRAW = {
    REFRESH: "DELETE FROM billing.refresh WHERE user_id = ANY($1::text[]) AND lease_until IS NULL AND cause = $2",
    OUTBOX: "DELETE FROM media.outbox WHERE message_id = ANY($1::uuid[]) AND published_at IS NULL",
}


class Rollback:
    """Undoes one run, children before parents."""

    def __init__(self, schemas: Schemas, run: Run, accounts: Accounts, progress: Progress) -> None:
        self._schemas = schemas
        self._archive = Archive(schemas.legacy)
        self._run = run
        self._context = Context(accounts, run.started_at)
        self._progress = progress
        self.removed: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()

    async def undo(self) -> None:
        for leader in (*reversed(LEADERS), "SessionAffirmation"):
            with self._progress.step(f"taking back {leader}") as told:
                done = 0
                async for batch in self._batches(leader):
                    await self._undo_batch(leader, batch)
                    done += len(batch[leader])
                    told(done, 0)
        for book in _BOOKS:
            await self._schemas.legacy.execute(f"DELETE FROM legacy.{book} WHERE run = $1", self._run.id)

    async def _batches(self, leader: str) -> AsyncIterator[Batch]:
        after: str | None = None
        while (rows := await self._archive.of_run(BY_NAME[leader], self._run.id, after)) is not None:
            after = rows.keys[-1]
            if leader == "SessionAffirmation":
                rows = await self._leftover(rows)
            batch = Batch({leader: rows})
            if leader == "Session":
                lines = await self._archive.lines_of(rows.keys)
                batch |= {"SessionAffirmation": lines} if lines is not None else {}
            yield batch

    async def _leftover(self, lines: Rows) -> Rows:
        """Without the lines of sessions that were kept."""
        query = 'SELECT id FROM legacy."Session" WHERE _run = $1 AND id = ANY($2::text[])'
        sessions = lines.column("sessionId")
        kept = {row[0] for row in await self._schemas.legacy.fetch(query, self._run.id, list(sessions))}
        return lines.only([place for place, session in enumerate(sessions) if session not in kept])

    async def _undo_batch(self, leader: str, batch: Batch) -> None:
        context = await self._archive.with_audio(self._context, batch)
        changed: set[str] = set()
        for home in sorted(_homes(leader), key=lambda home: not home.proved):
            rows = zip(batch[home.source].keys, home.rows_of(batch, context), strict=True)
            pairs = [(key, row) for key, row in rows if row is not None and key not in changed]
            if home.proved:
                changed |= await self._take_back(home, pairs)
            else:
                await self._withdraw(home, [row for _, row in pairs])
        await self._forget(leader, batch, changed)

    async def _take_back(self, home: Home, pairs: Sequence[tuple[str, Row]]) -> set[str]:
        """Removes the rows that are as they were moved; the file's keys of those that are not.

        What had stood there before is neither: nothing was moved there.
        """
        table, session = home.table, self._schemas.of(home.table)
        there = await postgres.present(session, table, [row for _, row in pairs])
        before = await self._never_moved(home)
        changed, doomed = set(), []
        for (key, row), settled in zip(pairs, table.settled_of([row for _, row in pairs]), strict=True):
            if canonical(row[: table.key]) in before:
                continue
            if there.get(row[: table.key], settled) != settled:
                changed.add(key)
            elif row[: table.key] in there:
                doomed.append((key, row))
        if table is USER:
            alone = {row[0] for row in await session.fetch(_WITHOUT_CHILDREN, [row[0] for _, row in doomed])}
            changed |= {key for key, row in doomed if row[0] not in alone}
            doomed = [(key, row) for key, row in doomed if row[0] in alone]
        async with session.transaction():
            if table is SESSION:
                await discard(session, [row[0] for _, row in doomed])
            self.removed[table.shown_name] += await postgres.remove(session, table, [row for _, row in doomed])
        self.kept[table.shown_name] += len(changed)
        return changed

    async def _never_moved(self, home: Home) -> set[str]:
        query = "SELECT row_key FROM legacy.conflict WHERE table_name = $1 AND run = $2"
        found = await self._schemas.legacy.fetch(query, home.table.full_name, self._run.id)
        return {row[0] for row in found}

    async def _withdraw(self, home: Home, rows: Sequence[Row]) -> None:
        """Work nobody has begun. A render job goes with its session."""
        statement = _WITHDRAW.get(home.table)
        if statement and rows:
            more = (rows[0][-1],) if home.table is REFRESH else ()
            await self._schemas.of(home.table).execute(statement, [row[0] for row in rows], *more)

    async def _forget(self, leader: str, batch: Batch, changed: set[str]) -> None:
        legacy = self._schemas.legacy
        gone = [key for key in batch[leader].keys if key not in changed]
        async with legacy.transaction():
            if leader == "Session":
                lines = 'DELETE FROM legacy."SessionAffirmation" WHERE _run = $1 AND "sessionId" = ANY($2::text[])'
                await legacy.execute(lines, self._run.id, gone)
            key = quoted(BY_NAME[leader].key)
            await legacy.execute(
                f"DELETE FROM legacy.{quoted(leader)} WHERE _run = $1 AND {key} = ANY($2::text[])", self._run.id, gone
            )


def _homes(leader: str) -> Sequence[Home]:
    """Those whose rows are taken back one by one. Lines, audio and the job go with their session."""
    if leader == "SessionAffirmation":
        return [home for home in HOMES["Session"] if home.source == leader]
    if leader == "Session":
        return [home for home in HOMES["Session"] if home.table.parent is None]
    return HOMES.get(leader, ())


async def undo(schemas: Schemas, run_id: int, progress: Progress) -> dict[str, Any]:
    """What was removed and what was kept, by table. Raises NoSuchRun."""
    found = await schemas.legacy.fetchrow("SELECT * FROM legacy.run WHERE id = $1", run_id)
    if found is None or found["state"] == "rolled back":
        raise NoSuchRun(f"there is no run {run_id} to take back")
    mapping = json.loads(found["mapping"])
    accounts = Accounts(mapping, found["issuer"], leading_ids(mapping, await _users(schemas.legacy, mapping)))
    rollback = Rollback(schemas, Run(run_id, found["started_at"]), accounts, progress)
    await rollback.undo()
    await schemas.legacy.execute("UPDATE legacy.run SET state = 'rolled back' WHERE id = $1", run_id)
    return {
        "command": "rollback",
        "run": run_id,
        "complete": not rollback.kept.total(),
        "removed": dict(rollback.removed),
        "keptBecauseChanged": dict(rollback.kept),
    }


async def _users(legacy: Connection, mapping: dict[str, str]) -> frozenset[str]:
    named = [*mapping, *mapping.values()]
    return frozenset(
        row[0] for row in await legacy.fetch('SELECT id FROM legacy."User" WHERE id = ANY($1::text[])', named)
    )
