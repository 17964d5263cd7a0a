"""Whether a whole table is clean, asked of SQLite: it sees at a glance what Python looks at value by value.

A table that is not clean, or only might not be, is looked at properly afterwards.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from migration.legacy_tables import LegacyColumn
from migration.source import PresentTable, quoted
from migration.values import EARLIEST, ESCAPES, LATEST

_ROWS_AT_ONCE = 20_000
_CHARACTERS_AT_ONCE = 8 << 20
_TYPES = {"text": "text", "integer": "integer", "real": "real", "boolean": "integer", "instant": "integer"}
_FIRST_ROW, _LAST_ROW = -(2**63), 2**63 - 1


Specials: TypeAlias = Mapping[str, frozenset[str]]
"""Characters that COPY writes in another way, by the column in whose texts they stand."""


def look(reader: sqlite3.Connection, table: PresentTable) -> Specials | None:
    """None when the table might not be clean.

    Raises sqlite3.OperationalError where a text is no UTF-8.
    """
    columns = [table.legacy.column(name) for name in table.columns]
    odd = " OR ".join(map(_odd, columns))
    (found,) = reader.execute(f"SELECT EXISTS (SELECT 1 FROM {quoted(table.name)} WHERE {odd})").fetchone()
    return (
        None if found else _look_at_texts(reader, table, [column.name for column in columns if column.kind == "text"])
    )


def _odd(column: LegacyColumn) -> str:
    """SQL that is true of a value that must be looked at."""
    name, kind = quoted(column.name), _TYPES[column.kind]
    odd = f"typeof({name}) <> '{kind}'"
    if not column.required:
        odd = f"({odd} AND {name} IS NOT NULL)"
    if column.kind == "real":
        odd += f" OR {name} IN (9e999, -9e999)"
    if column.kind == "boolean":
        odd += f" OR {name} NOT IN (0, 1)"
    if column.kind == "instant":
        odd += f" OR {name} NOT BETWEEN {EARLIEST} AND {LATEST}"
    return odd


def _look_at_texts(reader: sqlite3.Connection, table: PresentTable, names: Sequence[str]) -> Specials | None:
    """Many values are joined before they are read: one that is no UTF-8, or has a NUL, spoils the whole."""
    joined = ", ".join(f"group_concat({quoted(name)}, '|')" for name in names)
    listed = ", ".join(map(quoted, names))
    at_once = max(1, min(_ROWS_AT_ONCE, _CHARACTERS_AT_ONCE // max(1, table.largest)))
    portion = (
        f"SELECT rowid AS place, {listed} FROM {quoted(table.name)} WHERE rowid >= ? ORDER BY rowid LIMIT {at_once}"
    )
    query = f"SELECT max(place), {joined} FROM ({portion})"
    specials: dict[str, frozenset[str]] = dict.fromkeys(names, frozenset())
    place: int | None = _FIRST_ROW - 1
    while place is not None and place < _LAST_ROW:
        place, *texts = reader.execute(query, (place + 1,)).fetchone()
        for name, text in zip(names, texts, strict=True):
            if text is not None and "\0" in text:
                return None
            if text is not None:
                specials[name] |= {special for special in ESCAPES if special in text}
    return specials
