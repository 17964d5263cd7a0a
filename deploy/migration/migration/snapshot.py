"""A consistent private copy of the prototype's file, whatever state it was left in and whoever is writing to it.

The file itself is only read. A live writer is waited for and held off by SQLite's own read lock while pages are copied;
rows that lie in a write-ahead log come along. What a crash left behind is put right in the copy.
"""

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from common.progress import Progress

PAGES_AT_ONCE = 4096
WAIT_FOR_WRITER_SECONDS = 30.0
MAGIC = b"SQLite format 3\x00"
COMPANIONS = ("-wal", "-journal")
_CHUNK = 1 << 20


class NotADatabase(Exception):
    """The file is not there, or no SQLite database that can be read; the message says which."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``hashes``, of the copy and of the file, are being made while the copy is read already."""

    path: Path
    name: str
    hashes: tuple[Future[str], Future[str]]
    size: int
    journal_mode: str
    recovered: bool
    """Whether a crash had left a transaction that was undone, or a log that was applied, in the copy."""

    @property
    def sha256(self) -> str:
        """Of the copy everything is read from."""
        return self.hashes[0].result()

    @property
    def file_sha256(self) -> str:
        """The file's own hash as it lay there."""
        return self.hashes[1].result()


@contextmanager
def snapshot(file: Path, progress: Progress) -> Iterator[Snapshot]:
    """The copy lasts as long as the block. Raises NotADatabase."""
    _require_database(file)
    with TemporaryDirectory(prefix="migration-") as folder:
        copy = Path(folder) / "copy.db"
        recovered = False
        try:
            mode = _back_up(file, copy, progress)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise NotADatabase(f"{file.name} is locked: whoever writes to it did not pause") from error
            # a crash left work behind that only a writer may finish: not in the file, but in a copy of all its parts
            copy.unlink(missing_ok=True)
            mode, recovered = _recover(file, copy, Path(folder), progress), True
        except sqlite3.DatabaseError as error:
            raise NotADatabase(f"{file.name} cannot be read as a SQLite database: {error}") from error
        with ThreadPoolExecutor(1) as pool:
            yield Snapshot(
                path=copy,
                name=file.name,
                hashes=(pool.submit(hash_of, copy), pool.submit(hash_of, file)),
                size=copy.stat().st_size,
                journal_mode=mode,
                recovered=recovered,
            )


def _require_database(file: Path) -> None:
    if not file.is_file():
        raise NotADatabase(f"there is no file {file.name}")
    with file.open("rb") as opened:
        start = opened.read(len(MAGIC))
    if start != MAGIC:
        raise NotADatabase(f"{file.name} is not a SQLite database")


def _back_up(file: Path, copy: Path, progress: Progress) -> str:
    """Copies page by page under one read transaction; returns the journal mode."""
    with (
        closing(_reading(file)) as source,
        closing(sqlite3.connect(copy)) as target,
        progress.step("taking a snapshot") as told,
    ):
        target.execute("PRAGMA synchronous = OFF")  # after a crash it is made anew
        # one transaction over all steps, or a busy writer would have the copy begun again and again
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(target, pages=PAGES_AT_ONCE, progress=lambda _, left, total: told(total - left, total))
        (mode,) = source.execute("PRAGMA journal_mode").fetchone()
        target.execute("PRAGMA journal_mode = DELETE").fetchone()
    return str(mode)


def _recover(file: Path, copy: Path, folder: Path, progress: Progress) -> str:
    apart = folder / "recovered.db"
    before = hash_of(file)
    shutil.copyfile(file, apart)
    for companion in COMPANIONS:
        beside = file.with_name(file.name + companion)
        if beside.exists():
            shutil.copyfile(beside, apart.with_name(apart.name + companion))
    if hash_of(file) != before:
        raise NotADatabase(f"{file.name} changed while it was copied: stop whoever writes to it, then try again")
    try:
        with closing(sqlite3.connect(apart)) as mended:
            mended.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return _back_up(apart, copy, progress)
    except sqlite3.DatabaseError as error:
        raise NotADatabase(f"{file.name} cannot be read as a SQLite database: {error}") from error


def _reading(file: Path) -> sqlite3.Connection:
    address = file.absolute().as_uri() + "?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=WAIT_FOR_WRITER_SECONDS, isolation_level=None)


def hash_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
