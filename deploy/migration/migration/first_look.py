"""Whether a whole table is clean, asked of SQLite: it sees at a glance what Python looks at value by value.

A table that is not clean, or only might not be, is looked at properly afterwards.
"""

from migration.legacy_tables import LegacyColumn
from migration.source import PresentTable, Source, quoted
from migration.values import EARLIEST, LATEST

_ROWS_AT_ONCE = 20_000
_CHARACTERS_AT_ONCE = 8 << 20
_FIRST_ROW, _LAST_ROW = -(2**63), 2**63 - 1
_TYPES = {"text": "text", "integer": "integer", "real": "real", "boolean": "integer", "instant": "integer"}


def looks_clean(source: Source, table: PresentTable) -> bool:
    """Raises sqlite3.OperationalError where a text is no UTF-8."""
    columns = [table.legacy.column(name) for name in table.columns]
    odd = " OR ".join(map(_odd, columns))
    (found,) = source.connection.execute(f"SELECT EXISTS (SELECT 1 FROM {quoted(table.name)} WHERE {odd})").fetchone()
    return not found and _texts_are_clean(source, table, [column for column in columns if column.kind == "text"])


def _odd(column: LegacyColumn) -> str:
    """SQL that is true of a value that must be looked at."""
    name, kind = quoted(column.name), _TYPES[column.kind]
    allowed = f"('{kind}')" if column.required else f"('{kind}', 'null')"
    odd = f"typeof({name}) NOT IN {allowed}"
    if column.kind == "real":
        odd += f" OR {name} IN (9e999, -9e999)"
    if column.kind == "boolean":
        odd += f" OR {name} NOT IN (0, 1)"
    if column.kind == "instant":
        odd += f" OR {name} NOT BETWEEN {EARLIEST} AND {LATEST}"
    return odd


def _texts_are_clean(source: Source, table: PresentTable, columns: list[LegacyColumn]) -> bool:
    """Many values are joined before they are read: one that is no UTF-8, or has a NUL, spoils the whole."""
    joined = ", ".join(f"group_concat({quoted(column.name)}, '|')" for column in columns)
    listed = ", ".join(quoted(column.name) for column in columns)
    at_once = max(1, min(_ROWS_AT_ONCE, _CHARACTERS_AT_ONCE // max(1, table.largest)))
    portion = (
        f"SELECT rowid AS place, {listed} FROM {quoted(table.name)} WHERE rowid >= ? ORDER BY rowid LIMIT {at_once}"
    )
    query = f"SELECT max(place), {joined} FROM ({portion})"
    place: int | None = _FIRST_ROW - 1
    while place is not None and place < _LAST_ROW:
        place, *texts = source.connection.execute(query, (place + 1,)).fetchone()
        if any("\0" in text for text in texts if text is not None):
            return False
    return True
