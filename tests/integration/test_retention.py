"""What is old enough goes, in every schema, and nothing else does."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from common.db.retention import AT_ONCE, TABLE_BYTES, TABLE_ROWS
from common.service import Service
from tests.integration.test_migrations import MIGRATIONS, SERVICES
from tests.support.schemas import migrated, rows

NOW = datetime.now(UTC)
OLD = timedelta(days=1096)
EVENT = "(message_id, type, subject, body, published_at) SELECT gen_random_uuid(), 't', 's', '{}', $1"


async def at(database_url: str, statement: str, age: timedelta) -> None:
    await rows(database_url, statement, NOW - age)


async def left(service: Service, database_url: str, table: str, column: str = "count(*)") -> list[Any]:
    return [row["one"] for row in await rows(database_url, f"SELECT {column} AS one FROM {service.name}.{table}")]


@pytest.mark.parametrize("name", MIGRATIONS)
async def test_what_was_published_goes_after_a_week_and_what_was_handled_after_a_month(
    name: str, database_url: str
) -> None:
    service = await migrated(SERVICES[name](database_url), database_url)
    for age in (timedelta(days=7, minutes=1), timedelta(days=6)):
        await at(database_url, f"INSERT INTO {name}.outbox {EVENT}", age)
    await rows(
        database_url, f"INSERT INTO {name}.outbox (message_id, type, subject, body, created_at)"
        " SELECT gen_random_uuid(), 't', 's', '{}', now() - interval '5 years'",
    )  # fmt: skip
    for age in (timedelta(days=30, minutes=1), timedelta(days=29)):
        await at(database_url, f"INSERT INTO {name}.inbox SELECT 'c', gen_random_uuid(), $1", age)
    assert await service.forgetting.once() == {"outbox": 1, "inbox": 1}
    assert await left(service, database_url, "outbox", "published_at IS NULL") == [False, True]
    assert await service.forgetting.once() == {}
    await service.database.close()


@pytest.mark.parametrize("name", ["billing", "media"])
async def test_who_was_deleted_is_known_for_three_years(name: str, database_url: str) -> None:
    service = await migrated(SERVICES[name](database_url), database_url)
    erased = f"INSERT INTO {name}.erased_user SELECT 'user_' || extract(epoch FROM $1::timestamptz), NULL, $1"
    await at(database_url, erased, OLD)
    await at(database_url, erased, OLD - timedelta(days=2))
    assert await service.forgetting.once() == {"erased_user": 1}
    await service.database.close()


async def test_a_foreign_subject_is_free_again_once_its_users_tombstone_has_gone(database_url: str) -> None:
    service = await migrated(SERVICES["identity"](database_url), database_url)
    tombstone = "INSERT INTO identity.tombstone SELECT '{}', $1"
    await at(database_url, tombstone.format("user_gone"), OLD)
    await at(database_url, tombstone.format("user_known"), timedelta(days=300))
    await at(
        database_url, "INSERT INTO identity.user (id, issuer, version, created_at, updated_at)"
        " SELECT 'user_here', 'clerk', 1, $1, $1", OLD,
    )  # fmt: skip
    await at(
        database_url, "INSERT INTO identity.link SELECT 'supabase', 'of ' || name, name, $1"
        " FROM unnest(ARRAY['user_gone', 'user_known', 'user_here']) AS name", OLD,
    )  # fmt: skip
    assert await service.forgetting.once() == {"tombstone": 1, "link": 1}
    assert sorted(await left(service, database_url, "link", "user_id")) == ["user_here", "user_known"]
    await service.database.close()


async def test_links_are_compared_by_key_with_whom_anybody_knows(database_url: str) -> None:
    """`NOT IN` reads every user again for every link, once the users are more than fit into the memory of a sort."""
    service = await migrated(SERVICES["identity"](database_url), database_url)
    [links] = [one for one in service.retentions if one.table.name == "link"]
    async with service.database.transaction() as uow:
        statement = links.statement(NOW).compile(uow.session.get_bind(), compile_kwargs={"literal_binds": True})
        plan = "\n".join(await uow.session.scalars(text(f"EXPLAIN {statement}")))
    await service.database.close()

    assert plan.count("Anti Join") == 2
    assert "SubPlan" not in plan


async def test_jobs_go_when_they_have_long_ended_and_days_when_nobody_counts_them(database_url: str) -> None:
    service = await migrated(SERVICES["media"](database_url), database_url)
    session = "(id, source, title, voice_id, lines_hash, version, created_at, updated_at)"
    await at(database_url, f"INSERT INTO media.session {session} SELECT 's1', 'user', 't', 'nova', 'h', 1, $1, $1", OLD)
    job = (
        "INSERT INTO media.job (id, session_id, lines_hash, status, stage, percent, attempts, available_at, created_at,"
        " updated_at, finished_at) SELECT '{0}', 's1', 'h', '{1}', 'x', 0, 1, $1, $1, $1, {2}"
    )
    await at(database_url, job.format("open", "pending", "NULL"), OLD)
    await at(database_url, job.format("ended", "failed", "$1"), timedelta(days=31))
    await at(database_url, job.format("lately", "completed", "$1"), timedelta(days=29))
    day = "($1::timestamptz AT TIME ZONE 'UTC')::date"
    for age in (timedelta(days=91), timedelta(days=89)):
        await at(database_url, f"INSERT INTO media.daily_use SELECT 'user_1', {day}, 2, 0", age)
        await at(database_url, f"INSERT INTO media.session_start SELECT 'user_1', {day}, 's1', $1", age)
    assert await service.forgetting.once() == {"job": 1, "daily_use": 1, "session_start": 1}
    assert sorted(await left(service, database_url, "job", "id")) == ["lately", "open"]
    await service.database.close()


async def test_two_workers_that_forget_at_once_share_the_work(database_url: str) -> None:
    service = await migrated(SERVICES["billing"](database_url), database_url)
    many = 5 * AT_ONCE // 2
    await at(database_url, f"INSERT INTO billing.outbox {EVENT} FROM generate_series(1, {many})", OLD)
    gone = await asyncio.gather(*(service.forgetting.once() for _ in range(3)))
    assert sum(removed.get("outbox", 0) for removed in gone) == many
    assert await left(service, database_url, "outbox") == [0]
    await service.database.close()


async def test_a_worker_measures_its_tables(database_url: str) -> None:
    service = await migrated(SERVICES["billing"](database_url), database_url)
    await rows(database_url, "ANALYZE billing.outbox")
    for shown in (TABLE_BYTES, TABLE_ROWS):
        shown.clear()  # an earlier test's figures are those of the whole process
    running = asyncio.create_task(service.forgetting.run())
    labels = {"schema": "billing", "table": "customer"}
    while not REGISTRY.get_sample_value("table_size_bytes", labels):
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert REGISTRY.get_sample_value("table_rows", {"schema": "billing", "table": "outbox"}) == 0
    await service.database.close()
