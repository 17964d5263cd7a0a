"""Rows that cannot be held exactly, and rows of tables nobody knows: written down whole."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from migration.findings import Finding, Findings
from migration.source import PresentTable, Source
from migration.values import canonical


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row and why it is here. ``row`` is canonical JSON of all its columns, known or not."""

    finding: Finding
    row: str

    @property
    def sha256(self) -> str:
        return sha256(self.row.encode()).hexdigest()

    def as_row(self) -> tuple[str, int, str, str, str, str]:
        found = self.finding
        return found.table, found.rowid, self.sha256, found.reason, found.column, self.row


def quarantined(source: Source, findings: Findings, table: PresentTable) -> Iterator[list[Quarantined]]:
    """The table's rows in quarantine, in the order they came into the file."""
    if not findings.count(table):
        return
    names = (*table.columns, *table.extra)
    with source.every_byte():
        for rows in source.read(table, findings.where_quarantined(table), "t.rowid"):
            reasons = findings.within(table, rows.rowids[0], rows.rowids[-1])
            yield [
                Quarantined(reasons[rowid], canonical(dict(zip(names, values, strict=True))))
                for rowid, *values in zip(rows.rowids, *map(rows.columns.__getitem__, names), strict=True)
            ]


def leave_out_deleted(source: Source, findings: Findings) -> None:
    """Notes of rows in quarantine that name somebody whose account was deleted that they go nowhere either.

    In whatever column: `forget` takes such a row out, so it is neither brought back nor missed.
    """
    if not findings.naming_deleted:
        return
    for table in source.in_order:
        for held in quarantined(source, findings, table):
            findings.note_deleted(table, [one.finding.rowid for one in held if _names(one.row, findings)])


def _names(row: str, findings: Findings) -> bool:
    return any(naming in row for naming in findings.naming_deleted)


@dataclass(frozen=True, slots=True)
class UnknownRow:
    """A row of a table nobody knows. Nobody knows its key either: rows that are alike are counted by ``copy``."""

    sha256: str
    copy: int
    row: str


def unknown_rows(source: Source, findings: Findings, name: str) -> Iterator[list[UnknownRow]]:
    """The table's rows, but for those that name somebody whose account was deleted."""
    copies: Counter[str] = Counter()
    with source.every_byte():
        for texts in source.read_unknown(name):
            held = []
            for text in texts:
                if _names(text, findings):
                    continue
                digest = sha256(text.encode()).hexdigest()
                held.append(UnknownRow(digest, copies[digest], text))
                copies[digest] += 1
            yield held
