"""In what portions clean rows are read, for moving them and for comparing them alike.

A session travels with its lines: nobody must see one without the other while services run.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from migration.findings import Findings
from migration.homes import Batch
from migration.legacy_tables import TABLES
from migration.source import PresentTable, Rows, Source, quoted

SESSIONS_AT_ONCE = 1000
_FIRST = ("EntitlementState",)
"""Who paid is read at the provider before all others."""
LEADERS = (*_FIRST, *(table.name for table in TABLES if table.name not in (*_FIRST, "SessionAffirmation")))


def leaders(source: Source) -> list[PresentTable]:
    """The tables this file has whose rows lead a batch, parents first."""
    return [source.tables[name] for name in LEADERS if name in source.tables]


def batches(source: Source, findings: Findings, leader: PresentTable) -> Iterator[Batch]:
    """The leader's clean rows, and what belongs to them, by key."""
    for rows in source.read(leader, findings.where_clean(leader), _by_key(leader.legacy.key)):
        if leader.name == "Session":
            yield from _sessions(source, findings, rows)
        else:
            yield Batch({leader.name: rows})


def _sessions(source: Source, findings: Findings, sessions: Rows) -> Iterator[Batch]:
    for start in range(0, len(sessions), SESSIONS_AT_ONCE):
        portion = sessions.only(range(start, min(start + SESSIONS_AT_ONCE, len(sessions))))
        lines = source.tables.get("SessionAffirmation")
        if lines is None:
            yield Batch({"Session": portion})
            continue
        # clean lines have a clean session, so those between two sessions' keys belong to sessions of this portion
        where = f"t.sessionId BETWEEN ? AND ? AND {findings.where_clean(lines)}"
        order = _by_key("sessionId", "idx")
        found = list(source.read(lines, where, order, (portion.keys[0], portion.keys[-1])))
        yield Batch({"Session": portion} | ({"SessionAffirmation": _joined(found)} if found else {}))


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Sequence[Any]] = {
        name: list(chain.from_iterable(part.columns[name] for part in parts)) for name in parts[0].columns
    }
    return Rows(parts[0].table, tuple(chain.from_iterable(part.rowids for part in parts)), columns)


def _by_key(*columns: str) -> str:
    return ", ".join(f"t.{quoted(column)} COLLATE BINARY" for column in columns)
