"""Every schema's migrations against a real database: from nothing, from each past revision with rows, and back."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography.fernet import Fernet
from structlog.testing import capture_logs

from billing.service import build as build_billing
from common.db import migrations
from common.db.migrations import upgrade
from common.service import Service
from embedded.processes import LOOPBACK
from identity.__main__ import main
from identity.service import build as build_identity
from media.service import build as build_media
from tests.support import billing, identity, media
from tests.support.callers import FixedCallers
from tests.support.command_lines import called
from tests.support.schemas import differences, downgrade, fill, revisions, rows

pytestmark = pytest.mark.direct("migrations take the direct address")
SERVICES: dict[str, Callable[[str], Service]] = {
    "identity": lambda url: build_identity(identity.settings(url), verifier=FixedCallers()),
    "billing": lambda url: build_billing(billing.settings(url), verifier=FixedCallers()),
    "media": lambda url: build_media(media.settings(url), verifier=FixedCallers()),
}
MIGRATIONS = {name: revisions(Path(f"services/{name}/{name}/migrations")) for name in SERVICES}
PAST = [(name, revision) for name, known in MIGRATIONS.items() for revision in known[:-1]]
every_service = pytest.mark.parametrize("name", SERVICES)


@every_service
async def test_every_replica_may_migrate_at_once_and_again(name: str, database_url: str) -> None:
    service, newest = SERVICES[name](database_url), MIGRATIONS[name][-1]
    at_once = [upgrade(database_url, service.metadata, service.migrations) for _ in range(4)]
    assert await asyncio.gather(*at_once) == [newest] * 4
    assert await upgrade(database_url, service.metadata, service.migrations) == newest
    assert await differences(database_url, service.metadata) == []


@pytest.mark.parametrize("name,revision", PAST)
async def test_a_past_revision_with_rows_in_it_becomes_what_the_models_say_and_keeps_them(
    name: str, revision: str, database_url: str, tmp_path: Path
) -> None:
    service = SERVICES[name](database_url)
    for migration in sorted(service.migrations.glob("*.py")):
        if migration.name[:4] <= revision:
            shutil.copy(migration, tmp_path)
    assert await upgrade(database_url, service.metadata, tmp_path) == revision
    before = await fill(database_url, name)
    assert len(before) >= 5
    assert await upgrade(database_url, service.metadata, service.migrations) == MIGRATIONS[name][-1]
    assert await differences(database_url, service.metadata) == []
    for table, row in before.items():
        [now] = await rows(database_url, f'SELECT to_jsonb(t)::text AS row FROM {name}."{table}" AS t')
        assert row.items() <= json.loads(now["row"]).items(), table


@every_service
async def test_a_revision_can_be_taken_back_and_made_again(name: str, database_url: str) -> None:
    service = SERVICES[name](database_url)
    await upgrade(database_url, service.metadata, service.migrations)
    await fill(database_url, name)
    await downgrade(database_url, service.metadata, service.migrations, MIGRATIONS[name][0])
    [revision] = await rows(database_url, f"SELECT version_num FROM {name}.alembic_version")
    assert revision["version_num"] == MIGRATIONS[name][0]
    await upgrade(database_url, service.metadata, service.migrations)
    assert await differences(database_url, service.metadata) == []


@pytest.mark.parametrize("name,table", [("identity", '"user"'), ("billing", "refresh"), ("media", "job")])
async def test_a_table_in_use_is_given_way_to_and_tried_again(
    name: str, table: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "TABLE_SECONDS", 0.05)
    monkeypatch.setattr(migrations, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(migrations, "TRIES", 1000)
    service, newest = SERVICES[name](database_url), MIGRATIONS[name][-1]
    for migration in sorted(service.migrations.glob("*.py")):
        if migration.name[:4] < newest:
            shutil.copy(migration, tmp_path)
    await upgrade(database_url, service.metadata, tmp_path)
    reading = await asyncpg.connect(database_url)
    held = reading.transaction()
    await held.start()
    await reading.fetch(f"SELECT * FROM {name}.{table}")

    with capture_logs() as logs:
        both = [asyncio.create_task(upgrade(database_url, service.metadata, service.migrations)) for _ in range(2)]
        async with asyncio.timeout(30):
            while len([line for line in logs if line["event"] == "table_in_use"]) < 3:
                assert not any(one.done() for one in both)
                await rows(database_url, f"SELECT count(*) FROM {name}.{table}")
        await held.rollback()
        assert await asyncio.gather(*both) == [newest] * 2
    await reading.close()
    assert await differences(database_url, service.metadata) == []


async def test_whoever_migrates_for_too_long_is_not_waited_for_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "TURN_SECONDS", 0.05)
    service = SERVICES["identity"](database_url)
    migrating = await asyncpg.connect(database_url)
    await migrating.execute("SELECT pg_advisory_lock(hashtext('migrate_identity'))")
    with capture_logs() as logs, pytest.raises(migrations.TablesInUse):
        await upgrade(database_url, service.metadata, service.migrations)
    assert [line["event"] for line in logs] == []
    await migrating.close()


async def test_tables_that_stay_in_use_and_a_database_that_is_away_end_the_command_in_a_line(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TABLE_SECONDS", "PAUSE_SECONDS"):
        monkeypatch.setattr(migrations, name, 0.05)
    monkeypatch.setattr(migrations, "TRIES", 2)
    service = SERVICES["identity"](database_url)
    await upgrade(database_url, service.metadata, service.migrations)
    await downgrade(database_url, service.metadata, service.migrations, MIGRATIONS["identity"][0])
    reading = await asyncpg.connect(database_url)
    async with reading.transaction():
        await reading.fetch('SELECT * FROM identity."user"')
        ended = await called(main, "identity", "migrate", DATABASE_URL=database_url, RABBITMQ_URL="")
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1] == "identity: tables are in use: end long transactions, then migrate again"
    await reading.close()
    nowhere = f"postgresql://identity:x@{LOOPBACK}:1/entrain"
    ended = await called(main, "identity", "migrate", DATABASE_URL=nowhere, RABBITMQ_URL="")
    assert ended.returncode == 1
    assert ended.stderr == "identity: the database cannot be reached: ConnectionRefusedError\n"


@pytest.mark.parametrize(
    "name,change,found",
    [
        ("identity", 'ALTER TABLE identity."user" DROP COLUMN email', "add_column"),
        ("billing", "DROP TABLE billing.change", "add_table"),
        ("media", "DROP INDEX media.uq_job_open_session_id", "add_index"),
    ],
)
async def test_what_the_models_say_and_the_database_lacks_is_noticed(
    name: str, change: str, found: str, database_url: str
) -> None:
    service = SERVICES[name](database_url)
    await upgrade(database_url, service.metadata, service.migrations)
    await rows(database_url, change)
    noticed: list[Any] = await differences(database_url, service.metadata)
    assert found in {difference[0] for difference in noticed}


async def test_every_installation_gets_a_key_of_its_own_for_play_grants(database_url: str) -> None:
    service = SERVICES["media"](database_url)
    await upgrade(database_url, service.metadata, service.migrations)
    await upgrade(database_url, service.metadata, service.migrations)
    [key] = await rows(database_url, "SELECT secret FROM media.grant_key")
    Fernet(key["secret"])
