"""Rows as lines of COPY's text: the canonical form of a row, in which both ends are compared, and the quickest way in.

A field is what PostgreSQL's COPY writes of it: \\N for NULL, whole numbers in digits, texts with backslashes, tabs and
line ends escaped, dates as milliseconds, true as 1. The lines of a plain table, whose values are all what they should
be, are made by SQLite; Python never takes such a row apart. `values.copy_lines` makes the same lines of single values.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from migration.findings import Findings
from migration.first_look import Specials
from migration.legacy_tables import LegacyColumn, LegacyTable
from migration.source import BATCH_BYTES, BATCH_ROWS, PresentTable, quoted
from migration.values import ESCAPES

_ORDERS = {"SessionAffirmation": ("sessionId", "idx")}
"""By what the rows of a table are ordered where it is not the key."""
_INSTANT = "strftime('%Y-%m-%d %H:%M:%f+00', {} / 1000.0, 'unixepoch')"
_ESCAPED = {special: f"'{written}'" for special, written in ESCAPES.items()}


@dataclass(frozen=True, slots=True)
class Lines:
    """Rows written down, and how many."""

    text: bytes
    count: int


class LineWriter:
    """SQL, for SQLite, that writes rows `t` of one plain table down."""

    def __init__(self, table: PresentTable, specials: Specials) -> None:
        self.table = table
        self._specials = specials

    def compared(self) -> str:
        """The canonical form."""
        return _line([self.field(name) for name in self.table.columns])

    def archived(self, run: int) -> str:
        """What the archive's table takes, the row's number and the run at its end."""
        fields = [self._typed(self.table.legacy.column(name)) for name in self.table.columns]
        return _line([*fields, "t.rowid", str(run)])

    def some(self, *names: str) -> str:
        """Some of its columns."""
        return _line(list(map(self.field, names)))

    def field(self, name: str) -> str:
        value = f"t.{quoted(name)}"
        for special, written in _ESCAPED.items():  # in this order
            if special in self._specials.get(name, ()):
                value = f"replace({value}, char({ord(special)}), {written})"
        return _or_null(self.table.legacy.column(name), value)

    def _typed(self, column: LegacyColumn) -> str:
        if column.kind != "instant":
            return self.field(column.name)
        return _or_null(column, _INSTANT.format(f"t.{quoted(column.name)}"))


def line_writer(findings: Findings, table: PresentTable) -> LineWriter | None:
    """None for a table that has to be taken apart."""
    specials = findings.plain.get(table.name)
    return None if specials is None else LineWriter(table, specials)


def portions(reader: sqlite3.Connection, table: PresentTable, line: str, where: str, order: str) -> Iterator[Lines]:
    """The lines of the table's rows in the order of one of its unique columns, some at a time.

    SQLite joins them by itself: to hand over each of a million rows takes longer than to write them down.
    """
    most = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, table.largest)))
    query = (
        f"SELECT {joined('line')}, count(*), max(place) FROM"
        f" (SELECT {line} AS line, {order} AS place FROM {quoted(table.name)} t"
        f" WHERE {where} {{after}} ORDER BY {order} LIMIT {most})"
    )
    text, count, place = reader.execute(query.format(after="")).fetchone()
    while count:
        yield Lines(text, count)
        text, count, place = reader.execute(query.format(after=f"AND {order} > ?"), (place,)).fetchone()


def joined(line: str) -> str:
    """SQL of lines put together, in the order in which they are read."""
    return f"CAST(group_concat({line}, '') AS BLOB)"


def by_key(table: PresentTable) -> str:
    return f"t.{quoted(table.legacy.key)} COLLATE BINARY"


def archive_query(table: PresentTable) -> str:
    """SQL, for PostgreSQL, of all archived rows that need no `_raw`, in the order in which the file is read."""
    listed = ", ".join(_compared(table.legacy, name) for name in table.columns)
    order = ", ".join(
        f'{quoted(name)} COLLATE "C"' if table.legacy.column(name).kind == "text" else quoted(name)
        for name in _ORDERS.get(table.name, (table.legacy.key,))
    )
    return f"SELECT {listed} FROM legacy.{quoted(table.name)} WHERE _raw IS NULL ORDER BY {order}"


def _compared(table: LegacyTable, name: str) -> str:
    kind, value = table.column(name).kind, quoted(name)
    if kind == "instant":
        return f"(extract(epoch FROM {value}) * 1000)::bigint"
    return f"{value}::integer" if kind == "boolean" else value


def _or_null(column: LegacyColumn, value: str) -> str:
    return value if column.required else f"ifnull({value}, '\\N')"


def _line(fields: Sequence[Any]) -> str:
    form = "\t".join(["%s"] * len(fields))
    return f"printf('{form}\n', {', '.join(fields)})"
