"""Moves what is clean to where it belongs, batch by batch, and what is not into the quarantine.

A batch goes to its services first and into the archive last, each in one transaction. So what is archived was moved:
a run that was killed goes on after the last archived batch, and finds what the unfinished one had already added. What
is archived is never moved again, whatever became of it since.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from common.clock import utc_now
from common.progress import Progress
from migration import postgres
from migration.archive import Archive
from migration.archive import exists as archive_exists
from migration.batches import Form, batches, leaders, prepared
from migration.findings import Findings
from migration.foreign_keys import checked_together
from migration.homes import HOMES, Batch, Context, Home, Row, WrittenLines
from migration.lines import LineWriter, line_writer, portions
from migration.postgres import Connection, Schemas, together
from migration.quarantine import quarantined, unknown_rows
from migration.reading_ahead import ahead
from migration.service_tables import SESSION, SESSION_LINE
from migration.source import PresentTable, Rows, Source
from migration.values import canonical

_CONFLICT = "INSERT INTO legacy.conflict (table_name, row_key, run) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_QUARANTINE = "INSERT INTO legacy.quarantine VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING"
_OTHER = "INSERT INTO legacy.other_row VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
_USE = """
    INSERT INTO media.daily_use AS known (user_id, day, starts, creations)
    SELECT owner_user_id, $1, count(*), count(*) FROM media.session
    WHERE owner_user_id IS NOT NULL AND created_at >= $2 AND created_at < $3
    GROUP BY owner_user_id
    ON CONFLICT (user_id, day) DO UPDATE
    SET starts = greatest(known.starts, excluded.starts), creations = greatest(known.creations, excluded.creations)
"""
"""The prototype counted a user's sessions of the UTC day, whatever they were used for: as much is used up here."""


Chosen = tuple[Home, Sequence[Row] | WrittenLines]
"""Rows for one of the services' tables."""
Conflict = tuple[str, str]
"""A service's table, and the key of a row of it that stood there before."""
Renewal: TypeAlias = Callable[[Sequence[str]], Awaitable[None]]
"""Sees to it that the audio files of these sessions are in the bucket, and stay until rows name them."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is being done, and since when."""

    id: int
    started_at: datetime


@dataclass
class Moved:
    """How many rows were added to each table, or would be, and how many found another in their place."""

    by_table: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0


class Mover:
    """Moves one snapshot. ``move_all`` can be repeated; it adds what is missing and changes nothing that is there.

    With ``dry`` it only finds out what it would do.
    """

    def __init__(
        self, source: Source, findings: Findings, schemas: Schemas, context: Context, run: Run, progress: Progress,
        *, dry: bool = False, renew: Renewal | None = None,
    ) -> None:  # fmt: skip
        self._source = source
        self._findings = findings
        self._schemas = schemas
        self._context = context
        self._run = run
        self._progress = progress
        self._archive = Archive(schemas.legacy)
        self._second = Archive(schemas.reader)
        self._empty: set[str] = set()
        self._dry = dry
        self._renew = renew
        self._moved = Moved()

    async def move_all(self) -> Moved:
        await self._remember_what_is_empty()
        copied = {leader.name: writer for leader in leaders(self._source) if (writer := self._writer(leader))}
        # what the services take is most work for PostgreSQL, what only the archive takes for SQLite
        await together(
            self._move_each([leader for leader in leaders(self._source) if leader.name not in copied]),
            self._copy_each(list(copied.values())),
        )
        if not self._dry:
            await self._index_archive()
            await self._set_aside()
            await self._seed_todays_use()
        return self._moved

    async def _remember_what_is_empty(self) -> None:
        """Where nothing was, nothing needs to be asked for: the first run is the one that must be quick."""
        archived = not self._dry or await archive_exists(self._schemas.legacy)
        for table in self._source.in_order:
            if not archived or await self._archive.empty(table):
                self._empty.add(table.name)
            elif not self._dry:
                await self._archive.index(table)
        for home in (home for homes in HOMES.values() for home in homes):
            if await postgres.is_empty(self._schemas.of(home.table), home.table):
                self._empty.add(home.table.full_name)

    async def _move_each(self, moved: Sequence[PresentTable]) -> None:
        for leader in moved:
            await self._move(leader)

    async def _copy_each(self, copied: Sequence[LineWriter]) -> None:
        for writer in copied:
            await self._copy(writer.table, writer)

    async def _move(self, leader: PresentTable) -> None:
        clean, done = leader.rows - self._findings.count(leader), 0
        with self._progress.step(f"moving {leader.name}") as told:
            async with ahead(prepared(batches(self._source, self._findings, leader, self._form()))) as read:
                async for batch in read:
                    fresh = {name: await self._fresh(rows) for name, rows in batch.items()}
                    if any(fresh.values()) or batch.written:
                        await self._move_batch(leader, batch, fresh)
                    done += len(batch[leader.name])
                    told(done, clean)

    def _writer(self, leader: PresentTable) -> LineWriter | None:
        """For a table that only the archive takes, and takes for the first time."""
        if self._dry or leader.name in HOMES or leader.name not in self._empty:
            return None
        return line_writer(self._findings, leader)

    async def _copy(self, table: PresentTable, writer: LineWriter) -> None:
        clean, done = table.rows - self._findings.count(table), 0
        where, line = self._findings.where_clean(table), writer.archived(self._run.id)
        reader = self._source.connection if self._findings.count(table) else self._source.second
        with self._progress.step(f"copying {table.name}") as told:
            async with ahead(portions(reader, table, line, where, "t.rowid")) as read:
                async for lines in read:
                    await self._second.add_lines(table, lines.text)
                    done += lines.count
                    told(done, clean)
            await self._second.index(table)

    def _form(self) -> Form | None:
        """How sessions' lines are written down, when archive and service both take them for the first time."""
        if self._dry or not {"SessionAffirmation", SESSION_LINE.full_name} <= self._empty:
            return None
        return lambda writer: writer.archived(self._run.id)

    async def _index_archive(self) -> None:
        with self._progress.step("indexing the archive"):
            left = iter(self._source.in_order)
            await together(_index_each(self._archive, left), _index_each(self._second, left))

    async def _fresh(self, rows: Rows) -> Sequence[int]:
        """Where those stand that are not archived yet."""
        if rows.table.name in self._empty:
            return range(len(rows))
        known = await self._archive.known(rows.table, rows.keys)
        return [place for place, key in enumerate(rows.keys) if key not in known]

    async def _move_batch(self, leader: PresentTable, batch: Batch, fresh: Mapping[str, Sequence[int]]) -> None:
        if self._renew is not None and "Session" in batch:
            await self._renew(batch["Session"].keys)
        context = self._context if self._dry else await self._archive.with_audio(self._context, batch)
        chosen: list[Chosen] = []
        conflicts: list[Conflict] = []
        for home in HOMES.get(leader.name, ()):
            rows, places = home.rows_of(batch, context), fresh.get(home.source, ())
            wanted = [row for place in places if (row := rows[place]) is not None]
            left = await self._without_taken(home, wanted, conflicts)
            chosen.append((home, left))
            if batch.written and _sessions_among(conflicts):  # their lines have to be told from the others'
                batch.take_apart()
                fresh = {**fresh, "SessionAffirmation": range(len(batch["SessionAffirmation"]))}
            self._moved.by_table[home.table.shown_name] += len(left)
        if batch.written:
            chosen = [(home, batch.written if home.table is SESSION_LINE else rows) for home, rows in chosen]
        for name, places in fresh.items():
            self._moved.by_table[f"legacy.{name}"] += len(places)
        if not self._dry:
            async with self._schemas.legacy.transaction():
                # at the same time, but the archive's commit comes last
                await together(self._to_services(chosen, conflicts), self._to_archive(batch, fresh))
                if conflicts:
                    await self._schemas.legacy.executemany(_CONFLICT, [(*one, self._run.id) for one in conflicts])
        self._moved.conflicts += len(conflicts)

    async def _to_services(self, chosen: Sequence[Chosen], conflicts: list[Conflict]) -> None:
        for schema in dict.fromkeys(home.table.schema for home, _ in chosen):
            await self._add(schema, [(home, rows) for home, rows in chosen if home.table.schema == schema], conflicts)

    async def _to_archive(self, batch: Batch, fresh: Mapping[str, Sequence[int]]) -> None:
        for name, places in fresh.items():
            if places:
                await self._archive.add(batch[name].only(places), self._run.id)
        if batch.written:
            await self._archive.add_lines(self._source.tables["SessionAffirmation"], batch.written.archived)

    async def _without_taken(self, home: Home, rows: Sequence[Row], conflicts: list[Conflict]) -> list[Row]:
        """The rows that are not there yet. Those in whose place another one stands are added to ``conflicts``.

        So is what goes with a session in whose place another one stands: that one is not given these lines.
        """
        table = home.table
        taken = _sessions_among(conflicts) if table.session else frozenset()
        looking = home.proved and table.full_name not in self._empty
        if not looking and not taken:
            return list(rows)
        there = await postgres.present(self._schemas.of(table), table, rows) if looking else {}
        place = table.columns.index(table.session) if table.session else 0
        left = []
        for row, settled in zip(rows, table.settled_of(rows), strict=True):
            key = row[: table.key]
            if key not in there and canonical((row[place],)) not in taken:
                left.append(row)
            elif home.proved and there.get(key) != settled:
                conflicts.append((table.full_name, canonical(key)))
        return left

    async def _left_out(self, home: Home, rows: Sequence[Row]) -> list[Conflict]:
        """Those of the rows that did not fit: something else stands in their place, or their parent is not there."""
        table = home.table
        if not home.proved:
            return []
        there = await postgres.present(self._schemas.of(table), table, rows)
        pairs = zip(rows, table.settled_of(rows), strict=True)
        return [
            (table.full_name, canonical(row[: table.key]))
            for row, settled in pairs
            if there.get(row[: table.key]) != settled
        ]

    async def _add(self, schema: str, chosen: Sequence[Chosen], conflicts: list[Conflict]) -> None:
        """In one transaction: nobody sees a session without its lines, or lines without their session."""
        session = getattr(self._schemas, schema)
        try:
            async with session.transaction():
                gone = await self._deleted_meanwhile(session, schema, chosen)
                # lines come last, as nobody else gets at their table from then on
                for home, rows in sorted(chosen, key=lambda one: isinstance(one[1], WrittenLines)):
                    if isinstance(rows, WrittenLines):
                        async with checked_together(session, home.table, len(rows.served)):
                            await postgres.add_lines(session, home.table, rows.served)
                    else:
                        await postgres.add(session, home.table, _of_others(home, rows, gone))
        except postgres.COLLIDED:  # a service was quicker: from now on we look before we add
            async with session.transaction():
                gone = await self._deleted_meanwhile(session, schema, chosen)
                for home, rows in chosen:
                    self._empty.discard(home.table.full_name)
                    apart = rows.rows() if isinstance(rows, WrittenLines) else _of_others(home, rows, gone)
                    left = await self._without_taken(home, apart, conflicts)
                    await postgres.add_what_fits(session, home.table, left)
                    conflicts += await self._left_out(home, left)

    async def _deleted_meanwhile(self, session: Connection, schema: str, chosen: Sequence[Chosen]) -> set[str]:
        """Accounts of these rows that were deleted since the run began. They are asked for before any row is held."""
        accounts = {
            account
            for home, rows in chosen
            if not isinstance(rows, WrittenLines)
            for account in _accounts_of(home, rows)
        }
        return await postgres.erased(session, schema, sorted(accounts))

    async def _set_aside(self) -> None:
        """Rows in quarantine, and rows of tables that nobody knows."""
        with self._progress.step("setting aside what cannot be moved as it is") as told:
            done = 0
            for table in self._source.in_order:
                for held in quarantined(self._source, self._findings, table):
                    rows = [(*one.as_row(), self._run.id) for one in held]
                    await self._schemas.legacy.executemany(_QUARANTINE, rows)
                    done += len(rows)
                    told(done, 0)
            for name in self._source.unknown:
                done += await self._keep_unknown(name)
                told(done, 0)

    async def _keep_unknown(self, name: str) -> int:
        kept = 0
        for held in unknown_rows(self._source, self._findings, name):
            rows = [(name, one.sha256, one.copy, one.row, self._run.id) for one in held]
            await self._schemas.legacy.executemany(_OTHER, rows)
            kept += len(rows)
        return kept

    async def _seed_todays_use(self) -> None:
        midnight = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
        await self._schemas.media.execute(_USE, midnight.date(), midnight, midnight + timedelta(days=1))


def _sessions_among(conflicts: Sequence[Conflict]) -> frozenset[str]:
    return frozenset(key for table, key in conflicts if table == SESSION.full_name)


async def _index_each(archive: Archive, left: Iterator[PresentTable]) -> None:
    """Takes one table after the other from those that nobody has taken yet."""
    for table in left:
        await archive.index(table)


def _accounts_of(home: Home, rows: Sequence[Row]) -> Iterator[str]:
    if home.table.user:
        place = home.table.columns.index(home.table.user)
        yield from (row[place] for row in rows if row[place] is not None)


def _of_others(home: Home, rows: Sequence[Row], gone: set[str]) -> Sequence[Row]:
    """The rows that belong to none of these accounts."""
    if not gone or home.table.user is None:
        return rows
    place = home.table.columns.index(home.table.user)
    return [row for row in rows if row[place] not in gone]
