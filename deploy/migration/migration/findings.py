"""Which rows cannot be held exactly, and why. They go whole into the quarantine; all the others are clean.

Single values are looked at first, then what only shows among rows: keys that are there twice, parents that are not
there. Parents are judged before those that refer to them, so that what belongs to a row in quarantine goes with it.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias, get_args

from common.progress import Progress
from media import curation
from migration.first_look import Specials, look
from migration.homes import event_number
from migration.jsonb import object_as_jsonb
from migration.legacy_tables import ASSET_USES, Mention, Reference
from migration.orphans import is_orphan, parent_of, references_to_nothing
from migration.source import PresentTable, Source, quoted
from migration.values import faults, namings

Look: TypeAlias = "Future[Specials | None]"
DELETED = "account that was deleted"
"""Rows of somebody who asked to be forgotten are counted and go nowhere, the quarantine not excepted."""
LONGEST_KEY = 2000
"""In bytes. PostgreSQL's indexes take a little more."""
_SMALLEST, _LARGEST = -(2**31), 2**31 - 1
JUDGED = "EXISTS (SELECT 1 FROM temp.finding f WHERE f.tbl = '{table}' AND f.rid = {row}.rowid)"
_MAKE = "CREATE TEMP TABLE finding (tbl TEXT, rid INTEGER, reason TEXT, col TEXT, PRIMARY KEY (tbl, rid)) WITHOUT ROWID"
_MAKE_GONE = "CREATE TEMP TABLE gone (id TEXT PRIMARY KEY) WITHOUT ROWID"
_ANY = "SELECT 1 FROM temp.finding WHERE tbl = ? LIMIT 1"
_NOTE = "INSERT OR IGNORE INTO temp.finding VALUES (?, ?, ?, ?)"


def _among(values: Any) -> str:
    return ", ".join(f"'{value}'" for value in get_args(values))


_EVENT_KINDS = _among(curation.ListeningKind)
_RULES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Session": (
        ("key too long", "ownerUserId", f"length(CAST(t.ownerUserId AS BLOB)) > {LONGEST_KEY}"),
        ("unknown source", "source", "t.source NOT IN ('catalog', 'user', 'generated')"),
        (
            "keys that differ in case only",
            "id",
            "lower(t.id) IN (SELECT lower(id) FROM Session GROUP BY lower(id) HAVING count(*) > 1)",
        ),
    ),
    "CurationPreferences": (
        ("unknown goal", "primaryGoal", f"t.primaryGoal NOT IN ({_among(curation.Goal)})"),
        ("unknown voice", "voicePreference", f"t.voicePreference NOT IN ({_among(curation.VoicePreference)})"),
        ("unknown sound", "soundPreference", f"t.soundPreference NOT IN ({_among(curation.SoundPreference)})"),
    ),
    "SessionEvent": (("unknown kind of event", "eventType", f"t.eventType NOT IN ({_EVENT_KINDS})"),),
    "SessionAffirmation": (
        ("number too large for its column", "idx", f"t.idx NOT BETWEEN {_SMALLEST} AND {_LARGEST}"),
    ),
}
"""What the services' own tables cannot hold, by table: reason, column, and SQL on the row `t`."""
_OBJECTS = {"SessionEvent": "metadata"}
"""Columns of JSON text that a service keeps as jsonb objects, by table."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A row that goes into the quarantine. The row number says which without saying anything of it."""

    table: str
    rowid: int
    reason: str
    column: str


class Findings:
    """What ``judge`` found, kept beside the snapshot."""

    def __init__(self, source: Source) -> None:
        self._sql = source.connection
        self._has_sessions = "Session" in source.tables
        self.plain: dict[str, Specials] = {}
        """Tables whose every value is of its column's type, none of them a float, with nothing that nobody knows."""
        self.naming_deleted: tuple[str, ...] = ()
        """What the canonical text of a row contains that names somebody whose account was deleted."""

    def where_clean(self, table: PresentTable) -> str:
        """The condition, on a row `t`, that nothing is wrong with it."""
        return "NOT " + JUDGED.format(table=table.name, row="t") if self.count(table) else "1"

    def where_quarantined(self, table: PresentTable) -> str:
        return JUDGED.format(table=table.name, row="t").replace(")", f" AND f.reason <> '{DELETED}')")

    def deleted(self, table: PresentTable) -> int:
        """How many rows are of accounts that were deleted."""
        query = "SELECT count(*) FROM temp.finding WHERE tbl = ? AND reason = ?"
        (count,) = self._sql.execute(query, (table.name, DELETED)).fetchone()
        return int(count)

    def note_deleted(self, table: PresentTable, rowids: Sequence[int]) -> None:
        """Rows with something wrong, of which it shows later that they are of accounts that were deleted."""
        update = "UPDATE temp.finding SET reason = ? WHERE tbl = ? AND rid = ?"
        self._sql.executemany(update, [(DELETED, table.name, rowid) for rowid in rowids])

    def deleted_sessions(self) -> list[str]:
        query = "SELECT s.id FROM temp.finding f JOIN Session s ON s.rowid = f.rid WHERE f.tbl = ? AND f.reason = ?"
        return [row[0] for row in self._sql.execute(query, ("Session", DELETED))] if self._has_sessions else []

    def count(self, table: PresentTable) -> int:
        (count,) = self._sql.execute("SELECT count(*) FROM temp.finding WHERE tbl = ?", (table.name,)).fetchone()
        return int(count)

    def by_reason(self) -> dict[str, int]:
        query = "SELECT reason, count(*) FROM temp.finding GROUP BY reason ORDER BY reason"
        return dict(self._sql.execute(query).fetchall())

    def within(self, table: PresentTable, first: int, last: int) -> dict[int, Finding]:
        """What was found in the rows from ``first`` to ``last``, by row."""
        query = "SELECT tbl, rid, reason, col FROM temp.finding WHERE tbl = ? AND rid BETWEEN ? AND ?"
        return {row[1]: Finding(*row) for row in self._sql.execute(query, (table.name, first, last))}

    def listed(self, most: int) -> list[Finding]:
        query = "SELECT tbl, rid, reason, col FROM temp.finding ORDER BY tbl, rid LIMIT ?"
        return [Finding(*row) for row in self._sql.execute(query, (most,))]


def judge(source: Source, progress: Progress, deleted: Collection[str] = (), gone: Collection[str] = ()) -> Findings:
    """Looks at every value of every known table.

    ``deleted``: ids of users whose accounts were deleted since. ``gone``: all accounts that were deleted.
    """
    source.connection.execute(_MAKE)
    source.connection.execute(_MAKE_GONE)
    findings = Findings(source)
    if "User" in source.tables:
        note = "INSERT OR IGNORE INTO temp.finding SELECT 'User', rowid, ?, 'id' FROM User WHERE id = ?"
        source.connection.executemany(note, [(DELETED, one) for one in deleted])
    with progress.step("looking at every value") as told:
        total, done = sum(table.rows for table in source.in_order), 0
        looks = _look_at_tables(source, lambda seen: told(seen, total))
        orphaned = references_to_nothing(source)
        for table in source.in_order:
            for rows_seen in _look_at_values(source, table, findings, looks[table.name]):
                done += rows_seen
                told(done, total)
            if deleted:
                _look_for_deleted(source, table)
            _look_among_rows(source, table, orphaned)
        if deleted:
            _follow_deleted_uses(source)
    ids = {*deleted, *gone, *findings.deleted_sessions()} - {""}
    findings.naming_deleted = tuple(chain.from_iterable(map(namings, ids)))
    return findings


def _look_at_tables(source: Source, told: Callable[[int], None]) -> dict[str, Look]:
    """A first look at each table, ended, whatever came of it."""
    looks: dict[str, Look] = {}
    seen = 0
    for table, looked in zip(source.in_order, source.at_once(look, source.in_order), strict=True):
        wait([looked])
        looks[table.name] = looked
        seen += table.rows
        told(seen)
    return looks


def _look_at_values(source: Source, table: PresentTable, findings: Findings, looked: Look) -> Iterator[int]:
    try:
        specials = looked.result()
        if specials is not None:
            if source.utf8 and not table.extra and "real" not in {column.kind for column in table.legacy.columns}:
                findings.plain[table.name] = specials
            yield table.rows
            return
        yield from _values(source, table)
    except sqlite3.OperationalError:  # text that is no UTF-8: from the start again, byte by byte
        with source.every_byte():
            yield from _values(source, table)


def _values(source: Source, table: PresentTable) -> Iterator[int]:
    for rows in source.read(table, order="t.rowid"):
        found = [
            (table.name, rows.rowids[place], reason, name)
            for name in table.columns
            for place, reason in faults(table.legacy.column(name), rows.columns[name])
        ]
        source.connection.executemany(_NOTE, found)
        yield len(rows)


def _look_among_rows(source: Source, table: PresentTable, orphaned: set[tuple[str, str]]) -> None:
    legacy, name = table.legacy, quoted(table.name)
    key = quoted(legacy.key)
    _note(source, table, "key too long", legacy.key, f"length(CAST(t.{key} AS BLOB)) > {LONGEST_KEY}")
    for columns in filter(None, ((legacy.key,), legacy.unique)):
        if set(columns) <= set(table.columns) and not _declared_unique(source, table.name, columns):
            listed = ", ".join(map(quoted, columns))
            twice = f"SELECT {listed} FROM {name} GROUP BY {listed} HAVING count(*) > 1"
            _note(source, table, "key that is there twice", columns[-1], f"({listed}) IN ({twice})")
    for reason, column, condition in _RULES.get(table.name, ()):
        if column in table.columns:
            _note(source, table, reason, column, condition)
    if (column := _OBJECTS.get(table.name, "")) in table.columns:
        _look_at_objects(source, table, column)
    if table.name == "SessionEvent":
        _look_at_numbers(source, table)
    for reference in legacy.references:
        if reference.column in table.columns:
            _look_for_parents(source, table, reference, (table.name, reference.column) in orphaned)


def _look_for_deleted(source: Source, table: PresentTable) -> None:
    for reference in table.legacy.references:
        if reference.column in table.columns and reference.table in source.tables:
            _follow_deleted(source, table, reference)
    for mention in table.legacy.mentions:
        if mention.column in table.columns and mention.table in source.tables:
            _follow_mention(source, table, mention)


def _look_at_objects(source: Source, table: PresentTable, column: str) -> None:
    unjudged = f"t.{quoted(column)} IS NOT NULL AND NOT {JUDGED.format(table=table.name, row='t')}"
    for rows in source.read(table, unjudged, "t.rowid"):
        pairs = zip(rows.rowids, rows.columns[column], strict=True)
        found = [
            (table.name, rowid, "text that is no JSON object", column) for rowid, text in pairs if not _holds(text)
        ]
        source.connection.executemany(_NOTE, found)


def _look_at_numbers(source: Source, table: PresentTable) -> None:
    """Events of one millisecond are numbered by their ids' hashes: of thousands some have the same number."""
    source.connection.execute("CREATE TEMP TABLE number (number INTEGER, rid INTEGER)")
    unjudged = f"NOT {JUDGED.format(table=table.name, row='t')}"
    for rows in source.read(table, unjudged):
        numbers = map(event_number, rows.keys, rows.instants("occurredAt"))
        source.connection.executemany("INSERT INTO temp.number VALUES (?, ?)", zip(numbers, rows.rowids, strict=True))
    twice = "SELECT number FROM temp.number GROUP BY number HAVING count(*) > 1"
    rows_of_them = f"t.rowid IN (SELECT rid FROM temp.number WHERE number IN ({twice}))"
    _note(source, table, "number that another event has", "id", rows_of_them)
    source.connection.execute("DROP TABLE temp.number")


def _holds(text: str) -> bool:
    try:
        object_as_jsonb(text)
    except ValueError:
        return False
    return True


def _follow_deleted(source: Source, table: PresentTable, reference: Reference) -> None:
    """Whatever refers to a deleted account's row is that account's too, and whatever else is wrong with it, it goes."""
    parent = f"SELECT 1 FROM {quoted(reference.table)} p WHERE p.{quoted(reference.parent_key)}"
    gone = JUDGED.format(table=reference.table, row="p").replace(")", f" AND f.reason = '{DELETED}')")
    _is_theirs(source, table, reference.column, f"EXISTS ({parent} = t.{quoted(reference.column)} AND {gone})")


def _follow_mention(source: Source, table: PresentTable, mention: Mention) -> None:
    """The same where nothing but its text says whose a row is."""
    key = quoted(source.tables[mention.table].legacy.key)
    rows = f"SELECT p.{key} FROM temp.finding f JOIN {quoted(mention.table)} p ON p.rowid = f.rid"
    query = f"{rows} WHERE f.tbl = ? AND f.reason = ?"
    gone = source.connection.execute(query, (mention.table, DELETED)).fetchall()
    column = f"t.{quoted(mention.column)}"
    source.connection.executemany("INSERT OR IGNORE INTO temp.gone VALUES (?)", gone)
    named = f"{column} = g.id OR instr({column}, json_quote(g.id)) > 0"
    if gone:
        _is_theirs(source, table, mention.column, f"EXISTS (SELECT 1 FROM temp.gone g WHERE {named})")


def _follow_deleted_uses(source: Source) -> None:
    """An asset that nobody's but deleted accounts' rows use is theirs as well."""
    assets = source.tables.get("AudioAsset")
    uses = [
        f"SELECT u.{quoted(column)} AS id, f.reason IS NOT NULL AS gone FROM {quoted(name)} u"
        f" LEFT JOIN temp.finding f ON f.tbl = '{name}' AND f.rid = u.rowid AND f.reason = '{DELETED}'"
        for name, column in ASSET_USES
        if name in source.tables and column in source.tables[name].columns
    ]
    if assets is not None and uses:
        only = f"SELECT id FROM ({' UNION ALL '.join(uses)}) GROUP BY id HAVING min(gone)"
        _is_theirs(source, assets, assets.legacy.key, f"t.{quoted(assets.legacy.key)} IN ({only})")


def _is_theirs(source: Source, table: PresentTable, column: str, condition: str) -> None:
    rows = f"SELECT t.rowid FROM {quoted(table.name)} t WHERE {condition}"
    source.connection.execute(f"DELETE FROM temp.finding WHERE tbl = ? AND rid IN ({rows})", (table.name,))
    _note(source, table, DELETED, column, condition)


def _look_for_parents(source: Source, table: PresentTable, reference: Reference, orphaned: bool) -> None:
    if reference.table not in source.tables:
        missing = f"t.{quoted(reference.column)} IS NOT NULL"
        _note(source, table, "parent that is not there", reference.column, missing)
        return
    if orphaned:
        _note(source, table, "parent that is not there", reference.column, is_orphan(reference))
    if reference.needs and source.connection.execute(_ANY, (reference.table,)).fetchone():
        lost = f"EXISTS ({parent_of(reference)} AND {JUDGED.format(table=reference.table, row='p')})"
        _note(source, table, "parent that is in quarantine", reference.column, lost)


def _note(source: Source, table: PresentTable, reason: str, column: str, condition: str) -> None:
    query = f"SELECT ?, t.rowid, ?, ? FROM {quoted(table.name)} t WHERE {condition}"
    source.connection.execute(f"INSERT OR IGNORE INTO temp.finding {query}", (table.name, reason, column))


def _declared_unique(source: Source, table: str, columns: Sequence[str]) -> bool:
    """Whether the file itself sees to it, so that nobody has to count."""
    for _, index, unique, _, partial in source.connection.execute(f"PRAGMA index_list({quoted(table)})"):
        if unique and not partial:
            indexed = [row[2] for row in source.connection.execute(f"PRAGMA index_info({quoted(index)})")]
            if set(indexed) <= set(columns):
                return True
    return False
