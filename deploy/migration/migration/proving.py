"""Compares both ends, value for value: the file with the archive, and what should follow from it with the services.

Both sides are written down in one canonical form, row after row in the order of their keys, and digested. Equal digests
mean equal values; where they differ, the rows are named by their number in the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from common.progress import Progress
from migration import postgres
from migration.archive import Archive
from migration.batches import batches, leaders
from migration.findings import Findings
from migration.homes import HOMES, Batch, Context, Home, Row
from migration.postgres import Schemas, together
from migration.quarantine import quarantined, unknown_rows
from migration.source import PresentTable, Rows, Source
from migration.values import Digest, canonical, digest_both

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
    """Another row stood in their place before they were moved; it was left as it is."""

    @property
    def proved(self) -> bool:
        return self.conflicts.count == 0

    @property
    def untouched(self) -> bool:
        return self.expected.hex() == self.found.hex()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What of a batch was expected in a service's table, with the rows' numbers in the file, and what was found."""

    home: Home
    proof: HomeProof
    expected: Sequence[tuple[int, Row]]
    wanted: Sequence[Row]
    found: Sequence[Row | None]


@dataclass
class Proof:
    tables: list[TableProof] = field(default_factory=list)
    homes: list[HomeProof] = field(default_factory=list)
    unknown: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Rows in the file and rows kept of each table that nobody knows."""

    @property
    def complete(self) -> bool:
        kept = all(rows == there for rows, there in self.unknown.values())
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

    async def prove(self) -> Proof:
        proofs = {
            table.name: TableProof(table.name, table.rows, deleted=self._findings.deleted(table))
            for table in self._source.in_order
        }
        self._proof.tables = list(proofs.values())
        for leader in leaders(self._source):
            await self._prove_batches(leader, proofs)
        for table in self._source.in_order:
            await self._prove_quarantine(table, proofs[table.name])
        for name in self._source.unknown:
            self._proof.unknown[name] = await self._count_unknown(name)
        return self._proof

    async def _prove_batches(self, leader: PresentTable, proofs: dict[str, TableProof]) -> None:
        homes = [(home, HomeProof(home.table.full_name, home.source)) for home in HOMES.get(leader.name, ())]
        homes = [(home, proof) for home, proof in homes if home.proved]
        self._proof.homes += [proof for _, proof in homes]
        with self._progress.step(f"proving {leader.name}") as told:
            for batch in batches(self._source, self._findings, leader):
                context = await self._archive.with_audio(self._context, batch)
                await self._prove_batch(batch, proofs, homes, context)
                told(proofs[leader.name].in_file.rows, leader.rows)

    async def _prove_batch(
        self,
        batch: Batch,
        proofs: dict[str, TableProof],
        homes: Sequence[tuple[Home, HomeProof]],
        context: Context,
    ) -> None:
        compared: list[Comparison] = []

        async def archive() -> None:
            for name, rows in batch.items():
                await self._compare_archive(rows, proofs[name])

        async def services() -> None:
            for home, proof in homes:
                if home.source in batch:
                    compared.append(await self._compare_home(home, proof, batch, context))

        await together(archive(), services())
        for comparison in compared:
            if comparison.wanted != comparison.found:
                await self._name_differences(comparison)

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
            elif canonical(there[key]) != canonical(row):
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
        query = "SELECT row_key FROM legacy.conflict WHERE table_name = $1 AND row_key = ANY($2::text[])"
        conflicts = await self._schemas.legacy.fetch(query, table.full_name, list(keys))
        in_conflict = {keys[row[0]] for row in conflicts}
        for (rowid, _), want, have in zip(seen.expected, seen.wanted, seen.found, strict=True):
            if have is None:
                proof.removed.add(rowid)
            elif want != have:
                (proof.conflicts if rowid in in_conflict else proof.changed).add(rowid)

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

    async def _count_unknown(self, name: str) -> tuple[int, int]:
        rows = kept = 0
        query = (
            "SELECT count(*) FROM legacy.other_row o JOIN unnest($2::text[], $3::int[]) AS n (sha256, copy)"
            " ON o.row_sha256 = n.sha256 AND o.copy = n.copy WHERE o.table_name = $1"
        )
        for held in unknown_rows(self._source, name):
            digests, copies = [one.sha256 for one in held], [one.copy for one in held]
            kept += await self._schemas.legacy.fetchval(query, name, digests, copies)
            rows += len(held)
        return rows, kept
