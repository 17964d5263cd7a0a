"""The state a file is found in: a log that was not applied, a writer at work, what a crash left behind."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from common.progress import Progress
from migration.snapshot import NotADatabase, hash_of, snapshot
from migration.source import opened
from tests.support.legacy_files import insert, make


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make(tmp_path / "dev.db")


def users(file: Path) -> int:
    """How many users a snapshot of the file shows."""
    with snapshot(file, Progress()) as shot, opened(shot.path) as source:
        return source.tables["User"].rows


@contextmanager
def unapplied_log(file: Path) -> Iterator[None]:
    """A writer whose three users lie in the write-ahead log alone while the block lasts."""
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        for number in range(3):
            writer.execute('INSERT INTO "User" (id, email, updatedAt) VALUES (?, ?, 1)', (f"u{number}",) * 2)
        assert file.with_name("dev.db-wal").stat().st_size > 0
        yield


def test_rows_in_a_log_that_was_not_applied_are_there(file: Path) -> None:
    with unapplied_log(file):
        before = hash_of(file)

        assert users(file) == 3
        assert hash_of(file) == before


def test_a_log_beside_a_file_whose_writer_is_dead_is_not_lost(file: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart"
    apart.mkdir()
    with unapplied_log(file):
        for name in ("dev.db", "dev.db-wal"):
            shutil.copy(file.with_name(name), apart / name)
    before = hash_of(apart / "dev.db")

    for _ in range(2):
        assert users(apart / "dev.db") == 3
    assert hash_of(apart / "dev.db") == before


def _die_in_the_middle(path: str) -> None:
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN")
    for number in range(2000):
        writer.execute('INSERT INTO "User" (id, email, updatedAt) VALUES (?, ?, 1)', (f"half {number}", f"{number}"))
    os.kill(os.getpid(), signal.SIGKILL)


def test_half_a_transaction_is_not_seen_and_stays_for_its_own_program_to_undo(file: Path) -> None:
    insert(file, "User")
    child = multiprocessing.get_context("spawn").Process(target=_die_in_the_middle, args=(str(file),))
    child.start()
    child.join(60)
    journal = file.with_name("dev.db-journal")
    assert journal.stat().st_size > 0, "the crash must leave a hot journal"
    before = hash_of(file), hash_of(journal)

    with snapshot(file, Progress()) as shot, opened(shot.path) as source:
        assert source.tables["User"].rows == 1
        assert shot.recovered
    assert (hash_of(file), hash_of(journal)) == before


def test_a_live_writer_is_seen_between_its_transactions(file: Path) -> None:
    """Each transaction adds a user and a value of theirs: a snapshot shows both or neither."""
    stop = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as writer:
            writer.execute("PRAGMA synchronous = OFF")
            number = 0
            while not stop.is_set():
                number += 1
                writer.execute("BEGIN IMMEDIATE")
                writer.execute('INSERT INTO "User" (id, email, updatedAt) VALUES (?, ?, 1)', (f"u{number}",) * 2)
                values = (f"v{number}", f"u{number}")
                writer.execute(
                    'INSERT INTO "UserValue" (id, userId, valueId, valueText, updatedAt) VALUES (?, ?, 1, 1, 1)', values
                )
                writer.execute("COMMIT")

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(4):
            with snapshot(file, Progress()) as shot, opened(shot.path) as source:
                assert source.tables["User"].rows == source.tables["UserValue"].rows
    finally:
        stop.set()
        writing.join()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    cut = make(tmp_path / "cut.db")
    cut.write_bytes(cut.read_bytes()[:5000])

    with pytest.raises(NotADatabase), snapshot(cut, Progress()) as shot, opened(shot.path) as source:
        assert source.tables


def test_a_file_of_nothing_but_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADatabase), snapshot(tmp_path / "nothing.db", Progress()):
        raise AssertionError("nothing to snapshot")
