"""Restoring a backup into an empty database, and proving that what is there now is what was backed up."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from backup.bucket import Named, not_there
from backup.manifest import OBJECTS, Manifest, NotABackup, Schema, damaged, read
from backup.postgres_client import PostgresClient, find_client
from backup.settings import RestoreSettings
from backup.snapshot import Connection, describe, opened, server_version
from common.progress import Progress

_SQL = Path(__file__).parents[2] / "postgres"
_OCCUPIED = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]) ORDER BY 1 LIMIT 1
"""


class CannotRestore(Exception):
    """Nothing was changed; the message says why and what to do."""


@dataclass(slots=True)
class Outcome:
    """What was restored, and every way in which it is not what the manifest says."""

    manifest: Manifest
    rows: int = 0
    differences: list[str] = field(default_factory=list)
    absent: list[str] | None = None
    """The objects that are not in the bucket as their rows say; None when nobody looked."""

    @property
    def agrees(self) -> bool:
        return not self.differences and not self.absent


def whole(folder: Path, progress: Progress) -> Manifest:
    """The manifest of a backup whose files are what they were. Raises NotABackup."""
    manifest = read(folder)
    with progress.step("hashes of the files"):
        faults = damaged(folder, manifest)
    if faults:
        raise NotABackup(f"{folder} is damaged, take another backup: {'; '.join(faults)}")
    return manifest


async def restore(settings: RestoreSettings, folder: Path, progress: Progress, *, look_for_objects: bool) -> Outcome:
    """Roles and schemas, then one schema after another, each in one transaction; then the comparison.

    Raises NotABackup, CannotRestore and NoClient before anything is changed; later ProgramFailed, BucketUnavailable,
    and what asyncpg raises when the database is lost.
    """
    if look_for_objects and settings.aws_s3_bucket_name is None:
        raise CannotRestore(
            "AWS_S3_BUCKET_NAME names no bucket to look for the audio in; give it, or --without-objects"
        )
    manifest = whole(folder, progress)
    url = settings.database_url.get_secret_value()
    async with opened(url) as session:
        client = await _require_fit(session, manifest)
        await _make_roles(client, settings, progress)
        for schema in manifest.schemas:
            with progress.step(f"restoring {schema}"):
                await client.run("pg_restore", url, *_into(schema), str(folder / f"{schema}.dump"))
        outcome = Outcome(manifest)
        await _compare(session, outcome, progress)
    if look_for_objects:
        count = manifest.objects.count
        outcome.absent = await not_there(settings, _named(folder / OBJECTS), count, progress)
    return outcome


async def _require_fit(session: Connection, manifest: Manifest) -> PostgresClient:
    major = int((await server_version(session)).partition(".")[0])
    if major < manifest.server_major:
        due = manifest.server_major
        raise CannotRestore(f"the backup is of PostgreSQL {due}, this is {major}: restore into {due} or later")
    occupied = await session.fetchval(_OCCUPIED, list(manifest.schemas))
    if occupied is not None:
        raise CannotRestore(
            f"the database is not empty ({occupied} is there): make another one (createdb) and name it in "
            "RESTORE_DATABASE_URL; after a restore that was cut off, drop that database first"
        )
    return find_client(max(major, int(manifest.client.partition(".")[0])))


async def _make_roles(client: PostgresClient, settings: RestoreSettings, progress: Progress) -> None:
    """Passwords go by the environment: on a command line they would show in the list of processes."""
    secrets = {name: password.get_secret_value() for name, password in settings.role_passwords.items()}
    files = [f"--file={_SQL / name}" for name in ("passwords.sql", "schemas.sql")]
    with progress.step("roles and schemas"):
        await client.run(
            "psql", settings.database_url.get_secret_value(), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *files,
            secrets=secrets,
        )  # fmt: skip


def _into(schema: str) -> list[str]:
    """In the name of the schema's role, who then owns everything in it, as it owned it before."""
    return [
        "--exit-on-error",
        "--single-transaction",
        "--no-owner",
        "--no-privileges",
        f"--role={schema}",
        f"--schema={schema}",
    ]


async def _compare(session: Connection, outcome: Outcome, progress: Progress) -> None:
    for name, due in outcome.manifest.schemas.items():
        found = await describe(session, name, progress)
        outcome.rows += sum(table.rows for table in found.tables.values())
        outcome.differences += differences(name, due, found)
        for table in found.tables:  # a dump holds no statistics, and without them the first queries are slow
            await session.execute(f'ANALYZE {name}."{table}"')


def differences(name: str, due: Schema, found: Schema) -> Iterator[str]:
    """A line for each; empty when both hold the same."""
    if found.revision != due.revision:
        yield f"{name}: revision {found.revision}, {due.revision} was due"
    for table in sorted(due.tables.keys() | found.tables.keys()):
        one, other = due.tables.get(table), found.tables.get(table)
        if one is None or other is None:
            yield f"{name}.{table} is {'missing' if other is None else 'there and was not backed up'}"
        elif one != other:
            yield f"{name}.{table}: {other.rows} rows of digest {other.digest}, due {one.rows} of {one.digest}"


def _named(file: Path) -> Iterator[Named]:
    with file.open() as lines:
        for line in lines:
            yield Named(**json.loads(line))
