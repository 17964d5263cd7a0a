"""Media's migrations against a real database."""

import asyncio

from cryptography.fernet import Fernet

from common.db.migrations import upgrade
from media.service import build
from tests.support.callers import FixedCallers
from tests.support.media import settings
from tests.support.schemas import differences, rows


async def test_an_empty_database_becomes_exactly_what_the_models_say(database_url: str) -> None:
    service = build(settings(database_url), verifier=FixedCallers())
    assert await upgrade(database_url, service.metadata, service.migrations) == "0004"
    assert await differences(database_url, service.metadata) == []


async def test_every_replica_may_migrate_at_once_and_again(database_url: str) -> None:
    service = build(settings(database_url), verifier=FixedCallers())
    migrations = [upgrade(database_url, service.metadata, service.migrations) for _ in range(4)]
    assert await asyncio.gather(*migrations) == ["0004"] * 4
    assert await upgrade(database_url, service.metadata, service.migrations) == "0004"
    assert await differences(database_url, service.metadata) == []


async def test_a_missing_index_would_be_noticed(database_url: str) -> None:
    service = build(settings(database_url), verifier=FixedCallers())
    await upgrade(database_url, service.metadata, service.migrations)
    await rows(database_url, "DROP INDEX media.uq_job_open_session_id")
    assert [change[0] for change in await differences(database_url, service.metadata)] == ["add_index"]


async def test_every_installation_gets_a_key_of_its_own_for_play_grants(database_url: str) -> None:
    service = build(settings(database_url), verifier=FixedCallers())
    await upgrade(database_url, service.metadata, service.migrations)
    await upgrade(database_url, service.metadata, service.migrations)
    [key] = await rows(database_url, "SELECT secret FROM media.grant_key")
    Fernet(key["secret"])
