"""Compares both ends, value for value: the file with the archive, and what should follow from it with the services.

Both sides are written down in one canonical form, row after row in the order of their keys, and digested. Equal digests
mean equal values. Tables that SQLite and PostgreSQL can write down by themselves are looked at row by row only where
digests differ; then the rows are named by their number in the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from common.progress import Progress, Told
from migration import postgres
from migration.archive import Archive
from migration.batches import batches, leaders
from migration.findings import Findings
from migration.homes import HOMES, Batch, Context, Home, Row, WrittenLines
from migration.lines import LineWriter, archive_query, by_key, line_writer, portions
from migration.postgres import Schemas, together
from migration.quarantine import quarantined, unknown_rows
from migration.reading_ahead import ahead
from migration.service_tables import SESSION_LINE
from migration.source import PresentTable, Rows, Source
from migration.values import Digest, canonical, copy_lines, digest_both

MOST_LISTED = 1000
"""Rows named in a list; the count beside it is always whole."""


@dataclass
class Listed:
    """How many rows something is true of, and which the first of them are."""

    count: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, rowid: int) -> None:
        self.count += 1
        if len(self.rows) < MOST_LISTED:
            self.rows.append(rowid)


@dataclass
class TableProof:
    """One table of the file against the archive."""

    table: str
    rows: int
    quarantined: int = 0
    deleted: int = 0
    """Of accounts that were deleted since: they went nowhere."""
    archived: int = 0
    in_file: Digest = field(default_factory=Digest)
    in_archive: Digest = field(default_factory=Digest)
    quarantine_in_file: Digest = field(default_factory=Digest)
    quarantine_kept: Digest = field(default_factory=Digest)
    missing: Listed = field(default_factory=Listed)
    different: Listed = field(default_factory=Listed)

    @property
    def proved(self) -> bool:
        return (
            self.rows == self.archived + self.quarantined + self.deleted
            and self.in_file.hex() == self.in_archive.hex()
            and self.quarantine_in_file.hex() == self.quarantine_kept.hex()
        )


@dataclass
class HomeProof:
    """A service's table against what follows from the file. Rows are those of the file's table ``source``."""

    table: str
    source: str
    expected: Digest = field(default_factory=Digest)
    found: Digest = field(default_factory=Digest)
    changed: Listed = field(default_factory=Listed)
    """Changed by their owner since they were moved."""
    removed: Listed = field(default_factory=Listed)
    """Removed by their owner since they were moved."""
    conflicts: Listed = field(default_factory=Listed)
    """They found no place: another row stood there before they were moved. It was left as it is."""
    accepted: Listed = field(default_factory=Listed)
    """The same, and somebody has said that the other row is to stay."""

    @property
    def proved(self) -> bool:
        return self.conflicts.count == 0

    @property
    def untouched(self) -> bool:
        return self.expected.hex() == self.found.hex()


@dataclass(frozen=True, slots=True)
class UnknownProof:
    """A table that nobody knows: its rows in the file, how many name deleted accounts, how many are kept."""

    rows: int
    deleted: int
    kept: int

    @property
    def proved(self) -> bool:
        return self.rows == self.kept + self.deleted


@dataclass(frozen=True, slots=True)
class Comparison:
    """What of a batch was expected in a service's table, with the rows' numbers in the file, and what was found."""

    home: Home
    proof: HomeProof
    expected: Sequence[tuple[int, Row]]
    wanted: Sequence[Row]
    found: Sequence[Row | None]


Homes: TypeAlias = Sequence[tuple[Home, HomeProof]]


@dataclass
class Proof:
    tables: list[TableProof] = field(default_factory=list)
    homes: list[HomeProof] = field(default_factory=list)
    unknown: dict[str, UnknownProof] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        kept = all(table.proved for table in self.unknown.values())
        return kept and all(table.proved for table in self.tables) and all(home.proved for home in self.homes)


class Prover:
    """Reads both ends and changes neither."""

    def __init__(
        self, source: Source, findings: Findings, schemas: Schemas, context: Context, progress: Progress
    ) -> None:
        self._source = source
        self._findings = findings
        self._schemas = schemas
        self._context = context
        self._progress = progress
        self._archive = Archive(schemas.legacy)
        self._proof = Proof()
        self._plain = {
            table.name: writer for table in source.in_order if (writer := line_writer(findings, table)) is not None
        }

    async def prove(self) -> Proof:
        proofs = {
            table.name: TableProof(table.name, table.rows, deleted=self._findings.deleted(table))
            for table in self._source.in_order
        }
        self._proof.tables = list(proofs.values())
        with self._progress.step("proving both ends") as told:
            # one is PostgreSQL's work, the other SQLite's
            await together(self._digest_archive(proofs), self._look_at_file(proofs, told))
            await self._settle(proofs)
            for table in self._source.in_order:
                await self._prove_quarantine(table, proofs[table.name])
            for name in self._source.unknown:
                self._proof.unknown[name] = await self._count_unknown(name)
        return self._proof

    async def _digest_archive(self, proofs: dict[str, TableProof]) -> None:
        """All of what is archived of the plain tables."""
        for name, writer in self._plain.items():
            take = postgres.writing(proofs[name].in_archive.add_lines)
            await self._schemas.reader.copy_from_query(archive_query(writer.table), output=take)

    async def _look_at_file(self, proofs: dict[str, TableProof], told: Told) -> None:
        done, total = 0, sum(table.rows for table in self._source.in_order)
        for leader in leaders(self._source):
            homes = [(home, HomeProof(home.table.shown_name, home.source)) for home in HOMES.get(leader.name, ())]
            homes = [(home, proof) for home, proof in homes if home.proved]
            self._proof.homes += [proof for _, proof in homes]
            if leader.name in self._plain and not homes:
                await self._digest_file(self._plain[leader.name], proofs[leader.name])
            else:
                await self._prove_batches(leader, proofs, homes)
            done += leader.rows
            told(done, total)

    async def _digest_file(self, writer: LineWriter, proof: TableProof) -> None:
        where, order = self._findings.where_clean(writer.table), by_key(writer.table)
        reader = self._source.connection
        async with ahead(portions(reader, writer.table, writer.compared(), where, order)) as read:
            async for lines in read:
                proof.in_file.add_lines(lines.text)

    async def _prove_batches(self, leader: PresentTable, proofs: dict[str, TableProof], homes: Homes) -> None:
        async with ahead(batches(self._source, self._findings, leader, LineWriter.compared)) as read:
            async for batch in read:
                await self._prove_batch(batch, proofs, homes)

    async def _prove_batch(self, batch: Batch, proofs: dict[str, TableProof], homes: Homes) -> None:
        context = await self._archive.with_audio(self._context, batch)
        compared: list[Comparison] = []
        if batch.written:
            proofs["SessionAffirmation"].in_file.add_lines(batch.written.archived)
        await together(
            self._prove_archived(list(batch.values()), proofs), self._prove_served(batch, homes, context, compared)
        )
        for comparison in compared:
            if comparison.wanted != comparison.found:
                await self._name_differences(comparison)

    async def _settle(self, proofs: dict[str, TableProof]) -> None:
        """What is the same at both ends is proved. What is not is looked at row by row."""
        differing = set()
        for name in self._plain:
            if proofs[name].in_file.hex() == proofs[name].in_archive.hex():
                proofs[name].archived = proofs[name].in_archive.rows
            else:
                proofs[name].in_file, proofs[name].in_archive = Digest(), Digest()
                differing.add(name)
        for leader in leaders(self._source):
            if leader.name in differing or (leader.name == "Session" and "SessionAffirmation" in differing):
                for batch in batches(self._source, self._findings, leader):
                    for name in differing & batch.keys():
                        await self._compare_archive(batch[name], proofs[name])

    async def _prove_archived(self, parts: Sequence[Rows], proofs: dict[str, TableProof]) -> None:
        for rows in parts:
            if rows.table.name in self._plain:
                proofs[rows.table.name].in_file.add(rows.exact)
            else:
                await self._compare_archive(rows, proofs[rows.table.name])

    async def _prove_served(self, batch: Batch, homes: Homes, context: Context, compared: list[Comparison]) -> None:
        for home, proof in homes:
            if home.table is SESSION_LINE and batch.written:
                if await self._same_lines(batch.written, batch["Session"].keys, proof):
                    continue
                batch.take_apart()
            if home.source in batch:
                compared.append(await self._compare_home(home, proof, batch, context))

    async def _same_lines(self, written: WrittenLines, sessions: Sequence[str], proof: HomeProof) -> bool:
        """Whether the sessions say in the service what they say in the file, not a line more or less."""
        if await postgres.lines_there(self._schemas.media, SESSION_LINE, sessions) != written.served:
            return False
        proof.expected.add_lines(written.served)
        proof.found.add_lines(written.served)
        return True

    async def _compare_archive(self, rows: Rows, proof: TableProof) -> None:
        there = await self._archive.exact(rows.table, rows.keys)
        found = [row for key in rows.keys if (row := there.get(key)) is not None]
        digest_both(proof.in_file, rows.exact, proof.in_archive, found)
        proof.archived += len(found)
        if found == rows.exact:
            return
        for rowid, key, row in zip(rows.rowids, rows.keys, rows.exact, strict=True):
            if key not in there:
                proof.missing.add(rowid)
            elif copy_lines([there[key]]) != copy_lines([row]):
                proof.different.add(rowid)

    async def _compare_home(self, home: Home, proof: HomeProof, batch: Batch, context: Context) -> Comparison:
        numbered = zip(batch[home.source].rowids, home.rows_of(batch, context), strict=True)
        expected = [(rowid, row) for rowid, row in numbered if row is not None]
        there = await postgres.present(self._schemas.of(home.table), home.table, [row for _, row in expected])
        wanted = home.table.settled_of([row for _, row in expected])
        found = [there.get(row[: home.table.key]) for _, row in expected]
        digest_both(proof.expected, wanted, proof.found, [row for row in found if row is not None])
        return Comparison(home, proof, expected, wanted, found)

    async def _name_differences(self, seen: Comparison) -> None:
        table, proof = seen.home.table, seen.proof
        keys = {canonical(row[: table.key]): rowid for rowid, row in seen.expected}
        query = "SELECT row_key, accepted FROM legacy.conflict WHERE table_name = $1 AND row_key = ANY($2::text[])"
        conflicts = await self._schemas.legacy.fetch(query, table.full_name, list(keys))
        in_conflict = {keys[row[0]]: row[1] for row in conflicts}
        for (rowid, _), want, have in zip(seen.expected, seen.wanted, seen.found, strict=True):
            if want == have:
                continue
            if rowid in in_conflict:
                (proof.accepted if in_conflict[rowid] else proof.conflicts).add(rowid)
            else:
                (proof.removed if have is None else proof.changed).add(rowid)

    async def _prove_quarantine(self, table: PresentTable, proof: TableProof) -> None:
        query = "SELECT row_sha256, row_json FROM legacy.quarantine WHERE table_name = $1 AND row_sha256 = ANY($2)"
        for held in quarantined(self._source, self._findings, table):
            kept = dict(await self._schemas.legacy.fetch(query, table.name, [one.sha256 for one in held]))
            proof.quarantined += len(held)
            proof.quarantine_in_file.add([(one.row,) for one in held])
            proof.quarantine_kept.add([(kept.get(one.sha256),) for one in held])
            for one in held:
                if one.sha256 not in kept:
                    proof.missing.add(one.finding.rowid)

    async def _count_unknown(self, name: str) -> UnknownProof:
        total, rows, kept = self._source.count(name), 0, 0
        query = (
            "SELECT count(*) FROM legacy.other_row o JOIN unnest($2::text[], $3::int[]) AS n (sha256, copy)"
            " ON o.row_sha256 = n.sha256 AND o.copy = n.copy WHERE o.table_name = $1"
        )
        for held in unknown_rows(self._source, self._findings, name):
            digests, copies = [one.sha256 for one in held], [one.copy for one in held]
            kept += await self._schemas.legacy.fetchval(query, name, digests, copies)
            rows += len(held)
        return UnknownProof(total, total - rows, kept)
