"""The snapshot's tables, and their rows as batches of columns."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from migration.legacy_tables import BY_NAME, TABLES, LegacyTable
from migration.values import canonical, instant, read_text

T = TypeVar("T")
U = TypeVar("U")
BATCH_ROWS = 5000
BATCH_BYTES = 8 << 20
MOST_UNMEASURED = 16 << 20
_FETCH = 20
BOOKKEEPING = "_prisma_migrations"
_HIDDEN = 1
_ENCODINGS = {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}


class BrokenFile(Exception):
    """The file cannot be read as it is; the message says where."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class PresentTable:
    """A known table as this file has it."""

    legacy: LegacyTable
    columns: tuple[str, ...]
    """Those that are known, in the order of the description."""
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    rows: int
    largest: int
    """The most that a row's texts and blobs hold, in characters and bytes."""

    @property
    def name(self) -> str:
        return self.legacy.name

    @property
    def small(self) -> bool:
        """Whether a batch of its rows fits in memory without being measured."""
        return self.largest * BATCH_ROWS < MOST_UNMEASURED


@dataclass(frozen=True)
class Rows:
    """Some rows of one table, column by column; ``rowids`` are SQLite's own numbers for them."""

    table: PresentTable
    rowids: tuple[int, ...]
    columns: dict[str, Sequence[Any]]
    _instants: dict[str, Sequence[datetime | None]] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.rowids)

    @property
    def keys(self) -> Sequence[Any]:
        return self.columns[self.table.legacy.key]

    def column(self, name: str) -> Sequence[Any]:
        """A known column; all NULL when this file does not have it yet."""
        return self.columns.get(name) or (None,) * len(self)

    @cached_property
    def exact(self) -> list[tuple[Any, ...]]:
        """Each row as it is digested: the known columns this file has, then those nobody knows, which hold anything."""
        known = [self.columns[name] for name in self.table.columns]
        return list(zip(*known, *(map(canonical, self.columns[name]) for name in self.table.extra), strict=True))

    def instants(self, name: str) -> Sequence[datetime | None]:
        """The column's dates, read once however many ask."""
        if name not in self._instants:
            self._instants[name] = [None if value is None else instant(value) for value in self.column(name)]
        return self._instants[name]

    def only(self, places: Sequence[int]) -> "Rows":
        """The rows at these places."""
        if len(places) == len(self):
            return self
        columns: dict[str, Sequence[Any]] = {
            name: [values[place] for place in places] for name, values in self.columns.items()
        }
        return Rows(self.table, tuple(self.rowids[place] for place in places), columns)


class Source:
    """A snapshot, opened for reading. Temporary tables hold what is found out about it."""

    def __init__(self, connection: sqlite3.Connection, second: sqlite3.Connection) -> None:
        self.connection = connection
        self.second = second
        """For what is read at the same time: two threads would wait for each other on one. It knows no findings."""
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        known = [BY_NAME[name] for name in names if self._is_known(name)]
        self.tables = {
            legacy.name: measured.result()
            for legacy, measured in zip(known, self.at_once(self._present, known), strict=True)
        }
        self._require_whole_texts(names)
        self.unknown = sorted(name for name in names if name not in self.tables and not name.startswith("sqlite_"))

    @property
    def in_order(self) -> list[PresentTable]:
        """Parents before those that refer to them."""
        return [self.tables[table.name] for table in TABLES if table.name in self.tables]

    @property
    def utf8(self) -> bool:
        """Whether the file keeps its texts in the same bytes as PostgreSQL takes them."""
        return bool(self.connection.execute("PRAGMA encoding").fetchone()[0] == "UTF-8")

    @property
    def missing(self) -> list[str]:
        return [table.name for table in TABLES if table.name not in self.tables]

    def migrations_applied(self) -> int:
        """How many of the prototype's own migrations made this file; 0 when it does not say."""
        return self.count(BOOKKEEPING) if BOOKKEEPING in self.unknown else 0

    def count(self, name: str) -> int:
        (count,) = self.connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()
        return int(count)

    def read(self, table: PresentTable, where: str = "", order: str = "", values: Sequence[Any] = ()) -> Iterator[Rows]:
        """The table's rows in batches that fit in memory. ``where`` and ``order`` are SQL on the table named `t`."""
        names = (*table.columns, *table.extra)
        listed = "".join(f", t.{quoted(name)}" for name in names)
        query = f"SELECT t.rowid{listed} FROM {quoted(table.name)} t"
        cursor = self.connection.execute(
            f"{query} {where and f'WHERE {where}'} {order and f'ORDER BY {order}'}", values
        )
        for batch in _batches(cursor, table.small):
            rowids, *columns = zip(*batch, strict=True)
            yield Rows(table, rowids, dict(zip(names, columns, strict=True)))

    def read_unknown(self, name: str) -> Iterator[list[str]]:
        """The rows of a table nobody knows, each as one canonical text, in the order of these texts per batch."""
        cursor = self.connection.execute(f"SELECT * FROM {quoted(name)}")
        names = [column[0] for column in cursor.description]
        for batch in _batches(cursor, small=False):
            yield [canonical(dict(zip(names, row, strict=True))) for row in batch]

    def at_once(self, work: Callable[[sqlite3.Connection, T], U], items: Sequence[T]) -> Iterator[Future[U]]:
        """What the work makes of each item, done for two of them at a time. Until the last, nothing else may read."""
        readers: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        readers.put(self.connection)
        readers.put(self.second)

        def take(item: T) -> U:
            reader = readers.get()
            try:
                return work(reader, item)
            finally:
                readers.put(reader)

        with ThreadPoolExecutor(2) as pool:
            yield from [pool.submit(take, item) for item in items]

    def _require_whole_texts(self, names: Sequence[str]) -> None:
        """Of a file whose texts are UTF-16: where one is broken, SQLite reads other characters, and says nothing."""
        (encoding,) = self.connection.execute("PRAGMA encoding").fetchone()
        for table in names if encoding in _ENCODINGS else ():
            for column in self._columns(table):
                value = quoted(column)
                texts = f"SELECT CAST({value} AS BLOB) FROM {quoted(table)} WHERE typeof({value}) = 'text'"
                for (raw,) in self.connection.execute(texts):
                    try:
                        raw.decode(_ENCODINGS[encoding])
                    except UnicodeDecodeError as error:
                        raise BrokenFile(
                            f"{table}.{column} holds a text that is no {encoding}, which SQLite would alter while it is"
                            " read: correct the text or make it a blob first"
                        ) from error

    @contextmanager
    def every_byte(self) -> Iterator[None]:
        """Within the block text that is no UTF-8 arrives as BrokenText, more slowly, instead of as an error."""
        self.connection.text_factory = read_text
        try:
            yield
        finally:
            self.connection.text_factory = str

    def _is_known(self, name: str) -> bool:
        """One that lacks what it needs, or whose rows have no number of their own, is a table nobody knows."""
        columns = self._columns(name) if name in BY_NAME else []
        numbered = "rowid" not in map(str.lower, columns) and self._has_rowid(name)
        return name in BY_NAME and BY_NAME[name].needed <= set(columns) and numbered

    def _has_rowid(self, name: str) -> bool:
        try:
            self.connection.execute(f"SELECT rowid FROM {quoted(name)} LIMIT 1")
        except sqlite3.OperationalError:
            return False
        return True

    def _columns(self, name: str) -> list[str]:
        """The computed ones as well; not what some virtual tables hide."""
        found = self.connection.execute(f"PRAGMA table_xinfo({quoted(name)})")
        return [row[1] for row in found if row[6] != _HIDDEN]

    def _present(self, reader: sqlite3.Connection, legacy: LegacyTable) -> PresentTable:
        there = self._columns(legacy.name)
        known = [column.name for column in legacy.columns]
        numbers = {column.name for column in legacy.columns if column.kind != "text"}
        sizes = " + ".join(_size_where_text(name) if name in numbers else _size(name) for name in there)
        measured = f"SELECT count(*), coalesce(max({sizes}), 0) FROM {quoted(legacy.name)}"
        rows, largest = reader.execute(measured).fetchone()
        return PresentTable(
            legacy=legacy,
            columns=tuple(name for name in known if name in there),
            missing=tuple(name for name in known if name not in there),
            extra=tuple(name for name in there if name not in known),
            rows=int(rows),
            largest=int(largest),
        )


def _size(name: str) -> str:
    return f"ifnull(length({quoted(name)}), 0)"


def _size_where_text(name: str) -> str:
    """The same where numbers should be: they come before all texts and blobs, and to count their digits takes long."""
    return f"iif({quoted(name)} >= '', length({quoted(name)}), 0)"


def _batches(cursor: sqlite3.Cursor, small: bool) -> Iterator[list[tuple[Any, ...]]]:
    """At most BATCH_ROWS rows, and not much more than BATCH_BYTES. Small rows need not be measured."""
    if small:
        while fetched := cursor.fetchmany(BATCH_ROWS):
            yield fetched
        return
    batch: list[tuple[Any, ...]] = []
    size = 0
    while fetched := cursor.fetchmany(_FETCH):
        batch += fetched
        size += sum(len(value) for row in fetched for value in row if type(value) is str or type(value) is bytes)
        if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextmanager
def opened(snapshot: Path) -> Iterator[Source]:
    """The snapshot's tables, for reading; what is found out about them goes to SQLite's own temporary file."""
    with closing(reading(snapshot)) as connection, closing(reading(snapshot)) as second:
        yield Source(connection, second)


def reading(snapshot: Path) -> sqlite3.Connection:
    """A connection to it that changes nothing."""
    # read in threads, one at a time or under SQLite's own lock
    connection = sqlite3.connect(
        f"{snapshot.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA temp_store = FILE")
    connection.execute("PRAGMA cache_size = -16000")
    return connection
