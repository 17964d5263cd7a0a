"""A backup is whole or is not there, is of one instant, and comes back value for value, or the command says so."""

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import asyncpg
import pytest

from backup import manifest, snapshot
from backup.creating import age_of_newest, backups
from backup.postgres_client import NoClient, PostgresClient, find_client, without_password
from backup.snapshot import objects_named, opened
from common.progress import Progress
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres, find_binaries
from embedded.processes import free_ports
from tests.support import backup as tool
from tests.support.migration import SCHEMAS, prepare
from tests.support.servers import run

pytestmark = pytest.mark.direct("pg_dump, pg_restore and the snapshot they share need a session")
HOSTILE = "naïve \\N \t ' \" 😀"
FILLED = (
    f"""INSERT INTO identity."user" (id, issuer, struggle, version, created_at, updated_at)
        SELECT 'user_' || g, 'https://issuer', $x${HOSTILE}$x$, g, '2026-01-01T00:00:00.000001Z', now()
        FROM generate_series(1, 500) g""",
    """INSERT INTO media.session (id, source, title, goal_tag, voice_id, frequency_hz, lines_hash, version, created_at,
        updated_at) SELECT 's' || g, 'catalog', 'Quiet', 'focus', 'nova', float8 '0.1' + float8 '0.2', 'h', 1, now(),
        now() FROM generate_series(1, 2) g""",
    """INSERT INTO media.session_audio (session_id, audio_key, lines_hash, duration_ms, loudness_lufs, true_peak_dbtp,
        size_bytes, sha256, engine, segments, generated_at)
        SELECT id, 'audio/session/' || id || '/a.m4a', 'h', 1, -20.04, -3, 5, repeat('ab', 32), 'tone', '[1]', now()
        FROM media.session""",
    """INSERT INTO media.outbox (message_id, type, subject, body, published_at)
        SELECT gen_random_uuid(), 't', 's', '{}', CASE WHEN g < 3 THEN now() END FROM generate_series(1, 5) g""",
)


@pytest.fixture(scope="module")
def source(postgres: PrivatePostgres) -> Iterator[str]:
    """The URL of a database with the services' tables and some rows in them."""
    url = run(tool.new_database(postgres, "backup_source"))
    run(prepare(url))
    run(tool.execute(url, *FILLED))
    yield url
    run(tool.execute(postgres.url(), "DROP DATABASE backup_source WITH (FORCE)"))


@pytest.fixture(scope="module")
def made(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One backup of it."""
    return run(tool.create(source, tmp_path_factory.mktemp("backups")))


@pytest.fixture(scope="module")
def restored(postgres: PrivatePostgres, made: Path) -> Iterator[str]:
    """A database in which it was restored."""
    url = run(tool.new_database(postgres, "backup_restored"))
    ended = run(tool.restore(url, made))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    yield url
    run(tool.execute(postgres.url(), "DROP DATABASE backup_restored WITH (FORCE)"))


async def digests(url: str) -> dict[str, manifest.Schema]:
    async with opened(url) as session:
        return {name: await snapshot.describe(session, name, Progress()) for name in SCHEMAS}


async def test_every_value_comes_back_and_belongs_to_its_own_role(source: str, restored: str) -> None:
    assert await digests(restored) == await digests(source)
    session = await asyncpg.connect(restored)
    query = "SELECT DISTINCT schemaname, tableowner FROM pg_tables WHERE schemaname = ANY ($1)"
    owners = [tuple(row) for row in await session.fetch(query, SCHEMAS)]
    kept = await session.fetchval('SELECT struggle FROM identity."user" LIMIT 1')
    following = await session.fetchval("INSERT INTO media.outbox (message_id, type, subject, body) VALUES "
                                       "(gen_random_uuid(), 't', 's', '{}') RETURNING id")  # fmt: skip
    await session.execute("DELETE FROM media.outbox WHERE id = $1", following)
    await session.close()
    assert sorted(owners) == [(name, name) for name in ("billing", "identity", "media")]
    assert kept == HOSTILE
    assert following == 6  # numbers go on where they were


def test_the_manifest_says_what_is_in_the_backup(made: Path) -> None:
    told = manifest.read(made)
    assert set(told.schemas) == set(SCHEMAS)
    assert told.schemas["identity"].tables["user"].rows == 500
    assert told.schemas["media"].outbox == manifest.OutboxPosition(newest=5, unpublished=3)
    assert told.schemas["billing"].revision
    assert {each.name for each in told.files} == {path.name for path in made.iterdir()} - {manifest.MANIFEST}
    assert (told.objects.count, told.objects.bytes) == (2, 10)
    lines = [json.loads(line) for line in (made / manifest.OBJECTS).read_text().splitlines()]
    assert lines[0] == {"key": "audio/session/s1/a.m4a", "size": 5, "sha256": "ab" * 32}


def test_nobody_else_can_read_a_backup(made: Path) -> None:
    assert {path.stat().st_mode & 0o077 for path in [made, *made.iterdir()]} == {0}


async def test_a_backup_is_of_one_instant_whatever_is_written_meanwhile(
    source: str, postgres: PrivatePostgres, tmp_path: Path
) -> None:
    """A writer goes on adding a row to either schema in one transaction: both are backed up, or neither is."""
    writer = await asyncpg.connect(source)
    number, ended = 0, asyncio.Event()

    async def write() -> None:
        nonlocal number
        while not ended.is_set():
            async with writer.transaction():
                for schema in ("identity", "media"):
                    await writer.execute(f"INSERT INTO {schema}.written VALUES ($1)", number)
            number += 1

    await tool.execute(source, *(f"CREATE TABLE {schema}.written (n int)" for schema in ("identity", "media")))
    writing = asyncio.create_task(write())
    while not number:
        await asyncio.sleep(0)
    folder = await tool.create(source, tmp_path)
    ended.set()
    await writing
    await writer.close()
    await tool.execute(source, *(f"DROP TABLE {schema}.written" for schema in ("identity", "media")))
    told = manifest.read(folder).schemas
    assert 0 < told["identity"].tables["written"].rows == told["media"].tables["written"].rows < number
    url = await tool.new_database(postgres, "backup_instant")
    restored = await tool.restore(url, folder)
    await tool.execute(postgres.url(), "DROP DATABASE backup_instant WITH (FORCE)")
    assert restored.returncode == 0, restored.stdout


async def test_a_role_that_may_only_read_can_back_up(source: str, tmp_path: Path) -> None:
    await tool.execute(
        source,
        "DO $$ BEGIN CREATE ROLE reader LOGIN PASSWORD 'reads-only'; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "GRANT pg_read_all_data TO reader; GRANT CONNECT ON DATABASE backup_source TO reader",
    )
    address, _ = without_password(source)
    folder = await tool.create(address.replace("//postgres@", "//reader:reads-only@"), tmp_path)
    assert manifest.damaged(folder, manifest.read(folder)) == []


async def test_an_owner_who_is_no_superuser_can_restore(made: Path, tmp_path: Path) -> None:
    """As on a hosted server that has never seen these roles."""
    server, (port,) = PrivatePostgres(), free_ports(1)
    await server.start(tmp_path, port, durable=False)
    try:
        await tool.execute(
            server.url(),
            "CREATE ROLE owner LOGIN CREATEDB CREATEROLE PASSWORD 'owns'",
            "CREATE DATABASE app OWNER owner",
        )
        ended = await tool.restore(server.url("app", "owner", "owns"), made)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        session = await asyncpg.connect(server.url("app", "media", tool.PASSWORDS["MEDIA_DATABASE_PASSWORD"]))
        assert await session.fetchval("SELECT count(*) FROM media.session") == 2
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await session.fetchval('SELECT count(*) FROM identity."user"')
        await session.close()
    finally:
        await server.stop()


async def test_restoring_into_a_database_that_holds_something_is_refused(source: str, made: Path) -> None:
    before = await digests(source)
    ended = await tool.restore(source, made)
    assert ended.returncode == 2
    assert "not empty" in ended.stderr
    assert "createdb" in ended.stderr
    assert await digests(source) == before


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_file_is_named(made: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / made.name
    copy.mkdir()
    for path in made.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    dump = copy / "media.dump"
    whole = dump.read_bytes()
    if damage == "gone":
        dump.unlink()
    else:
        dump.write_bytes(whole[:-1] if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    [line] = manifest.damaged(copy, manifest.read(copy))
    assert line.startswith("media.dump is ")


@pytest.mark.parametrize(
    "text", ['{"format": 2}', '{"format": 2, "schemas": []}', '{"format": 2, "schemas": {"a": 1}}']
)
async def test_a_manifest_that_the_tool_has_not_written_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    ended = await tool.backup("verify", tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "is not as this tool writes it" in ended.stderr


async def test_a_disk_that_cannot_be_written_is_not_taken_for_the_database(source: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    ended = await tool.backup("create", tmp_path / "a-file" / "backups", BACKUP_DATABASE_URL=source)
    assert ended.returncode == 1
    assert ended.stderr == f"backup: cut off: Not a directory: {tmp_path}/a-file/backups\n"
    full = OSError(errno.ENOSPC, "No space left on device")
    with patch("backup.creating._note_objects", side_effect=full):
        ended = await tool.backup("create", tmp_path, BACKUP_DATABASE_URL=source)
    assert ended.returncode == 1
    assert "cut off: No space left on device: the folder of the backups" in ended.stderr
    assert backups(tmp_path) == []


@pytest.mark.parametrize("left_out", ["files", "schemas"])
async def test_a_manifest_that_was_altered_is_refused_before_anything_is_changed(
    database_url: str, made: Path, tmp_path: Path, left_out: str
) -> None:
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    told = json.loads((tmp_path / manifest.MANIFEST).read_text())
    told[left_out] = type(told[left_out])()
    (tmp_path / manifest.MANIFEST).write_text(json.dumps(told))

    ended = await tool.restore(database_url, tmp_path)

    assert (ended.returncode, "is not as this tool writes it" in ended.stderr) == (2, True), ended.stderr
    session = await asyncpg.connect(database_url)
    assert await session.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'identity'") == 0
    await session.close()


async def test_a_damaged_backup_is_refused_before_anything_is_changed(
    database_url: str, made: Path, tmp_path: Path
) -> None:
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "identity.dump").write_bytes(b"PGDMP")
    ended = await tool.restore(database_url, tmp_path)
    assert ended.returncode == 2
    assert "identity.dump is not what it was" in ended.stderr
    session = await asyncpg.connect(database_url)
    assert await session.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'identity'") == 0
    await session.close()


async def test_a_value_that_came_back_differently_is_seen(source: str) -> None:
    """One microsecond, one bit of a float and one space each make another digest; another order of rows does not."""
    async with opened(source) as session:
        due = await snapshot.describe(session, "media", Progress())
        for change in (
            "UPDATE media.session SET created_at = created_at + interval '1 microsecond' WHERE id = 's1'",
            "UPDATE media.session SET frequency_hz = 0.3 WHERE id = 's1'",
            "UPDATE media.session SET title = title || ' ' WHERE id = 's1'",
        ):
            transaction = session.transaction()
            await transaction.start()
            await session.execute(change)
            found = await snapshot.describe(session, "media", Progress())
            assert found.tables["session"].rows == due.tables["session"].rows
            assert found.tables["session"].digest != due.tables["session"].digest, change
            await transaction.rollback()
        await session.execute("UPDATE media.session SET title = title WHERE id = 's1'")  # moves the row to the end
        assert await snapshot.describe(session, "media", Progress()) == due


async def test_objects_that_are_not_there_are_named(
    postgres: PrivatePostgres, made: Path, object_store: PrivateObjectStore, bucket: str
) -> None:
    async with object_store.client() as s3:
        await s3.put_object(Bucket=bucket, Key="audio/session/s1/a.m4a", Body=b"12345", Metadata={"sha256": "ab" * 32})
    url = await tool.new_database(postgres, "backup_objects")
    store = {
        "AWS_S3_BUCKET_NAME": bucket,
        "AWS_REGION": object_store.region,
        "AWS_ENDPOINT_URL_S3": object_store.endpoint,
        "AWS_ACCESS_KEY_ID": object_store.access_key,
        "AWS_SECRET_ACCESS_KEY": object_store.secret_key,
    }
    ended = await tool.restore(url, made, store)
    await tool.execute(postgres.url(), "DROP DATABASE backup_objects WITH (FORCE)")
    assert ended.returncode == 1
    assert "no object: audio/session/s2/a.m4a" in ended.stdout
    assert "s1" not in ended.stdout
    assert "every row is as it was" in ended.stdout


async def test_a_backup_that_is_killed_is_not_there_and_the_next_one_tidies_up(source: str, tmp_path: Path) -> None:
    """Killed while pg_dump waits for a table that somebody else has locked."""
    blocker = await asyncpg.connect(source)
    async with blocker.transaction():
        await blocker.execute('LOCK TABLE identity."user" IN ACCESS EXCLUSIVE MODE')
        environment = {**os.environ, "BACKUP_DATABASE_URL": source}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "backup", "create", str(tmp_path), env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        while not list(tmp_path.glob(".unfinished-*")):
            await asyncio.sleep(0.02)
        second = await tool.backup("create", tmp_path, BACKUP_DATABASE_URL=source)
        child.send_signal(signal.SIGKILL)
        await child.wait()
    await blocker.close()
    assert second.returncode == 2
    assert "another backup is being written" in second.stderr
    assert backups(tmp_path) == []
    assert age_of_newest(tmp_path) is None
    folder = await tool.create(source, tmp_path)
    assert backups(tmp_path) == [folder]
    assert not list(tmp_path.glob(".unfinished-*"))


async def test_only_the_newest_are_kept(source: str, tmp_path: Path) -> None:
    for day in range(1, 4):
        (tmp_path / f"2026-01-0{day}T00-00-00Z").mkdir()
        (tmp_path / f"2026-01-0{day}T00-00-00Z" / manifest.MANIFEST).write_text("{}")
    (tmp_path / "my-notes").mkdir()
    folder = await tool.create(source, tmp_path, "--keep", "2")
    assert backups(tmp_path) == [tmp_path / "2026-01-03T00-00-00Z", folder]
    assert (tmp_path / "my-notes").exists()
    assert age_of_newest(tmp_path) is not None


@asynccontextmanager
async def processes() -> AsyncIterator[set[str]]:
    """Every command line that was to be seen on this machine while the block ran."""
    seen: set[str] = set()

    async def watch() -> None:
        while True:
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue
            await asyncio.sleep(0.01)

    task = asyncio.create_task(watch())
    yield seen
    task.cancel()


async def test_no_secret_is_seen_in_the_list_of_processes_or_said(
    source: str, made: Path, postgres: PrivatePostgres
) -> None:
    url = await tool.new_database(postgres, "backup_secrets")
    _, password = without_password(source)
    async with processes() as seen:
        ended = await tool.restore(url, made)
    await tool.execute(postgres.url(), "DROP DATABASE backup_secrets WITH (FORCE)")
    shown = "\n".join(seen) + ended.stdout + ended.stderr
    assert "pg_restore" in shown
    assert password
    assert [secret for secret in (password, *tool.PASSWORDS.values()) if secret in shown] == []


async def test_a_database_that_cannot_be_reached_or_is_another_one_is_said_to_be(
    database_url: str, tmp_path: Path
) -> None:
    ended = await tool.backup("create", tmp_path, BACKUP_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nowhere")
    assert (ended.returncode, "does the database answer" in ended.stderr) == (1, True)
    ended = await tool.backup("create", tmp_path, BACKUP_DATABASE_URL=database_url)
    assert (ended.returncode, "BACKUP_DATABASE_URL" in ended.stderr) == (2, True)
    assert backups(tmp_path) == []


def test_programs_older_than_the_server_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    here = PostgresClient(find_binaries(), "0")
    monkeypatch.setenv("PG_BIN", str(here.folder))
    found = find_client(1)
    assert found.folder == here.folder
    with pytest.raises(NoClient, match=rf"only {found.version} is here: install postgresql-client-{found.major + 1}"):
        find_client(found.major + 1)
    monkeypatch.setenv("PG_BIN", "/nowhere")
    with pytest.raises(NoClient, match="none is here"):
        find_client(1)


def test_a_folder_without_a_manifest_is_no_backup(tmp_path: Path, made: Path) -> None:
    with pytest.raises(manifest.NotABackup, match=r"holds no manifest\.json"):
        manifest.read(tmp_path)
    later = replace(manifest.read(made), format=manifest.FORMAT + 1)
    (tmp_path / manifest.MANIFEST).write_text(later.to_json())
    with pytest.raises(manifest.NotABackup, match="another format"):
        manifest.read(tmp_path)


async def test_a_database_without_media_names_no_objects(database_url: str) -> None:
    async with opened(database_url) as session, session.transaction():
        assert [each async for each in objects_named(session)] == []
