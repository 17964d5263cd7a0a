"""In what portions clean rows are read, for moving them and for comparing them alike.

A session travels with its lines: nobody must see one without the other while services run.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeAlias

from migration.findings import Findings
from migration.homes import Batch, WrittenLines, hashes_of_lines, session_id
from migration.legacy_tables import TABLES
from migration.lines import LineWriter, joined, line_writer
from migration.source import BATCH_ROWS, MOST_UNMEASURED, PresentTable, Rows, Source, quoted

Form: TypeAlias = Callable[[LineWriter], str]
"""Which line is wanted of an archived row."""
LINES_AT_ONCE = 30_000
"""About as many as are read together: many, as their table is looked at once for all of them."""
_FIRST = ("EntitlementState",)
"""Who paid is read at the provider before all others."""
LEADERS = (*_FIRST, *(table.name for table in TABLES if table.name not in (*_FIRST, "SessionAffirmation")))


def leaders(source: Source) -> list[PresentTable]:
    """The tables this file has whose rows lead a batch, parents first."""
    return [source.tables[name] for name in LEADERS if name in source.tables]


def batches(source: Source, findings: Findings, leader: PresentTable, form: Form | None = None) -> Iterator[Batch]:
    """The leader's clean rows, and what belongs to them, by key. With ``form`` sessions' lines come written down."""
    for rows in source.read(leader, findings.where_clean(leader), _by_key(leader.legacy.key)):
        if leader.name == "Session":
            yield from _sessions(source, findings, rows, form)
        else:
            yield Batch({leader.name: rows})


def _sessions(source: Source, findings: Findings, sessions: Rows, form: Form | None) -> Iterator[Batch]:
    lines = source.tables.get("SessionAffirmation")
    at_once = BATCH_ROWS if lines is None else _sessions_at_once(sessions.table, lines)
    for start in range(0, len(sessions), at_once):
        portion = sessions.only(range(start, min(start + at_once, len(sessions))))
        batch = Batch({"Session": portion})
        if lines is not None:
            _add_lines(batch, _LinesOf(source, findings, lines, portion.keys), form)
        yield batch


def _sessions_at_once(sessions: PresentTable, lines: PresentTable) -> int:
    """As many as have that many lines, or fewer where lines may be long."""
    most = min(LINES_AT_ONCE, max(BATCH_ROWS, MOST_UNMEASURED // max(1, lines.largest)))
    return max(1, min(BATCH_ROWS, most * sessions.rows // max(1, lines.rows)))


def prepared(found: Iterator[Batch]) -> Iterator[Batch]:
    """The batches, with what follows from them found out before they are handed on."""
    for batch in found:
        batch.prepare()
        yield batch


class _LinesOf:
    """The clean lines of a portion of sessions, in their order."""

    def __init__(self, source: Source, findings: Findings, table: PresentTable, sessions: Sequence[str]) -> None:
        self.sessions = sessions
        self.writer = line_writer(findings, table)
        self._source = source
        self.table = table
        # clean lines have a clean session, so those between two sessions' keys belong to sessions of this portion
        self._where = f"t.sessionId COLLATE BINARY BETWEEN ? AND ? AND {findings.where_clean(table)}"
        self._order = _by_key("sessionId", "idx")
        self._ends = (sessions[0], sessions[-1])

    def read(self) -> Rows:
        return _joined(self.table, list(self._source.read(self.table, self._where, self._order, self._ends)))

    def written(self, archived: str, served: str) -> WrittenLines:
        """SQLite joins what is written and what is said; clean texts hold no NUL, so one stands between them."""
        each = (
            f"SELECT t.sessionId || char(0) || t.text AS said, {archived} AS archived, {served} AS served"
            f" FROM SessionAffirmation t WHERE {self._where} ORDER BY {self._order} LIMIT -1"
        )
        query = f"SELECT group_concat(said, char(0)), {joined('archived')}, {joined('served')} FROM ({each})"
        said, in_archive, in_service = self._source.connection.execute(query, self._ends).fetchone()
        parts = said.split("\0") if said is not None else []
        hashes = hashes_of_lines(parts[::2], parts[1::2])
        return WrittenLines(in_archive or b"", in_service or b"", hashes, self.read)


def _add_lines(batch: Batch, lines: _LinesOf, form: Form | None) -> None:
    as_they_are = all(session_id(key) == key for key in lines.sessions)
    if form is not None and lines.writer is not None and lines.table.small and as_they_are:
        batch.written = lines.written(form(lines.writer), lines.writer.some("sessionId", "idx", "text"))
    elif rows := lines.read():
        batch["SessionAffirmation"] = rows


def _joined(table: PresentTable, parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Sequence[Any]] = {
        name: list(chain.from_iterable(part.columns[name] for part in parts)) for name in (*table.columns, *table.extra)
    }
    return Rows(table, tuple(chain.from_iterable(part.rowids for part in parts)), columns)


def _by_key(*columns: str) -> str:
    return ", ".join(f"t.{quoted(column)} COLLATE BINARY" for column in columns)
