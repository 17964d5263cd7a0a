"""Whether the file is whole: SQLite reads a damaged one without a word wherever the damage does not show."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from migration.source import BrokenFile, quoted, reading


@contextmanager
def looked_through(snapshot: Path, *, thorough: bool = False) -> Iterator[Callable[[], None]]:
    """Looks at every page in a thread of its own, while the block reads as if all were well.

    What it yields waits until that is done, and raises BrokenFile. If it is to be ``thorough``, indexes are held to
    the rows one by one, not by their number alone.
    """
    with closing(reading(snapshot)) as connection, ThreadPoolExecutor(1) as pool:
        looking = pool.submit(_look_through, connection, thorough)
        try:
            yield looking.result
        except sqlite3.DatabaseError:  # the damage has shown: what is known of it says more
            looking.result()
            raise
        finally:
            connection.interrupt()


def _look_through(connection: sqlite3.Connection, thorough: bool) -> None:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in tables:
        _count_by_indexes(connection, name)
    (found,) = connection.execute(f"PRAGMA {'integrity' if thorough else 'quick'}_check(1)").fetchone()
    if found != "ok":
        raise BrokenFile("SQLite's integrity_check finds this file damaged: `sqlite3 FILE .recover` saves what it can")


def _count_by_indexes(connection: sqlite3.Connection, name: str) -> None:
    """Rows are read in the order of an index: those that a damaged one does not lead to would not be seen."""
    table = quoted(name)
    for _, index, _, _, partial in connection.execute(f"PRAGMA index_list({table})").fetchall():
        counts = f"SELECT (SELECT count(*) FROM {table} NOT INDEXED), count(*) FROM {table} INDEXED BY {quoted(index)}"
        there, found = connection.execute(counts).fetchone() if not partial else (0, 0)
        if there != found:
            raise BrokenFile(
                f"an index of {name} leads to {found} of its {there} rows: the file is damaged; run"
                " `PRAGMA integrity_check` and `REINDEX` on a copy of it, then try again with the copy"
            )
