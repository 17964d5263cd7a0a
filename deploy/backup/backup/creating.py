"""Making a backup: a folder that is whole or is not there."""

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from backup.manifest import MANIFEST, OBJECTS, Manifest, Objects, file_of
from backup.postgres_client import PostgresClient, find_client
from backup.settings import BackupSettings
from backup.snapshot import (
    SCHEMAS,
    Connection,
    describe,
    exported_snapshot,
    objects_named,
    opened,
    schemas_there,
    server_version,
)
from common.clock import utc_now
from common.progress import Progress, Told

VERSION = "1.0.0"
_NAME = "%Y-%m-%dT%H-%M-%SZ"
_UNFINISHED = ".unfinished-"
_LOCK = ".lock"
LOOK_SECONDS = 1.0
LOCKED_MINUTES = 10
"""How long a table may be held by somebody who alters it: a backup that waits for ever is none, and nobody knows."""


class CannotBackUp(Exception):
    """Nothing was begun; the message says why and what to do."""


async def create(settings: BackupSettings, place: Path, progress: Progress, *, keep: int | None = None) -> Path:
    """A new backup below ``place``; then all but the ``keep`` newest whole ones are removed. Returns its folder.

    It is written under another name and renamed when all of it is on the disk. Raises CannotBackUp, NoClient,
    ProgramFailed, and what asyncpg raises when the database is lost.
    """
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(place):
        for abandoned in place.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(abandoned)
        taken_at = utc_now().replace(microsecond=0)
        finished = place / taken_at.strftime(_NAME)
        if finished.exists():
            raise CannotBackUp(f"{finished} is there already: one backup a second is the most")
        folder = place / f"{_UNFINISHED}{finished.name}"
        folder.mkdir(mode=0o700)
        try:
            await _fill(folder, settings, taken_at, progress)
            _settle(folder)
            folder.rename(finished)
            _sync(place)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        for old in backups(place)[:-keep] if keep else ():
            shutil.rmtree(old)
            progress.say(f"removed {old.name}")
    return finished


def backups(place: Path) -> list[Path]:
    """The whole backups below ``place``, the oldest first."""
    found = [path for path in place.glob("*Z") if (path / MANIFEST).is_file()]
    return sorted(path for path in found if _taken_at(path) is not None)


def age_of_newest(place: Path) -> timedelta | None:
    """None when there is no backup."""
    newest = backups(place)[-1:]
    taken_at = _taken_at(newest[0]) if newest else None
    return utc_now() - taken_at if taken_at else None


def _taken_at(folder: Path) -> datetime | None:
    try:
        return datetime.strptime(f"{folder.name}+0000", f"{_NAME}%z")
    except ValueError:
        return None


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Nobody else makes backups in this folder meanwhile. Raises CannotBackUp."""
    with (place / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotBackUp(f"another backup is being written to {place}: wait for its end") from None
        yield


async def _fill(folder: Path, settings: BackupSettings, taken_at: datetime, progress: Progress) -> None:
    url = settings.database_url.get_secret_value()
    async with opened(url) as session:
        version = await server_version(session)
        client = find_client(int(version.partition(".")[0]))
        names = await schemas_there(session)
        if not names:
            raise CannotBackUp(f"the database has no schema of {', '.join(SCHEMAS)}: is BACKUP_DATABASE_URL right?")
        async with exported_snapshot(session) as snapshot:
            schemas = {name: await describe(session, name, progress) for name in names}
            count, size = await _note_objects(session, folder / OBJECTS, progress)
            for name in names:
                await _dump(client, url, snapshot, name, folder / f"{name}.dump", progress)
        database = await session.fetchval("SELECT current_database()")
    with progress.step("hashes of the files"):
        files = [file_of(path) for path in sorted(folder.iterdir())]
    manifest = Manifest(
        taken_at=taken_at.isoformat(), tool=VERSION, server=version, client=client.version, database=database,
        schemas=schemas, objects=Objects(settings.aws_s3_bucket_name, count, size), files=files,
    )  # fmt: skip
    (folder / MANIFEST).write_text(manifest.to_json())


async def _note_objects(session: Connection, file: Path, progress: Progress) -> tuple[int, int]:
    """One line of JSON an object; how many there are, and their bytes."""
    count = total = 0
    with progress.step("objects that rows name") as told, file.open("w") as out:
        async for key, size, sha256 in objects_named(session):
            out.write(json.dumps({"key": key, "size": size, "sha256": sha256}) + "\n")
            count, total = count + 1, total + size
            told(count, 0)
    return count, total


async def _dump(client: PostgresClient, url: str, snapshot: str, schema: str, file: Path, progress: Progress) -> None:
    with progress.step(f"dump of {schema}, bytes") as told:
        watching = asyncio.create_task(_watch(file, told))
        try:
            await client.run(
                "pg_dump", url, "--format=custom", f"--schema={schema}", f"--snapshot={snapshot}", f"--file={file}",
                f"--lock-wait-timeout={LOCKED_MINUTES}min",
            )  # fmt: skip
        finally:
            watching.cancel()
        told(file.stat().st_size, 0)


async def _watch(file: Path, told: Told) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if file.exists():
            told(file.stat().st_size, 0)


def _settle(folder: Path) -> None:
    """Has everything on the disk before the name that makes it a backup."""
    for path in folder.iterdir():
        path.chmod(0o600)
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
