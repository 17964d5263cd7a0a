"""Worker processes are killed while they delete outside what is already gone here; the receipt comes, and once."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from embedded.object_store import PrivateObjectStore
from embedded.revenuecat import RevenueCatStandIn
from media.object_keys import line_object, session_prefix
from media.storage import IMMUTABLE
from tests.support import billing as billings
from tests.support.billing import API_KEY, Billing, billing
from tests.support.event_ledger import until
from tests.support.fault_proxy import FaultProxy
from tests.support.media import Media, media, settings
from tests.support.worker_processes import WorkerProcesses, environment_of

ALIAS = "$RCAnonymousID:" + "a" * 32


async def receipts_of(service: Billing | Media, store: str) -> list[dict[str, int]]:
    return [receipt.counts for receipt in await service.receipts() if receipt.store == store]


async def all_published(service: Billing | Media, schema: str) -> None:
    async def published() -> bool:
        return not await service.rows(f"SELECT 1 FROM {schema}.outbox WHERE published_at IS NULL")

    await until(published)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("done_outside", [True, False], ids=["after RevenueCat deleted", "before RevenueCat deleted"])
async def test_killed_while_revenuecat_deletes(
    tmp_path: Path, database_url: str, rabbitmq_url: str, done_outside: bool
) -> None:
    async with billing(database_url) as world, RevenueCatStandIn(api_key=API_KEY) as outside:
        outside.purchase(ALIAS)
        outside.log_in(ALIAS, "user_1")
        outside.purchase("user_2")
        await world.post_webhook(billings.event_body(app_user_id="user_1", aliases=["user_1", ALIAS]))
        await world.erase()
        await time_passes(world)
        configured = billings.settings(database_url, revenuecat_api_url=outside.url)
        environment = environment_of(configured, RABBITMQ_URL=rabbitmq_url)
        async with WorkerProcesses("billing", environment, tmp_path) as workers:
            outside.faults.fail_next("slow", where="user_1")
            first = await workers.start()
            await until(lambda: asked(outside, "user_1"))
            first.kill()
            await first.wait()
            if done_outside:
                outside.ledger.forget("user_1")
            assert await receipts_of(world, "revenuecat") == []
            await time_passes(world)
            outside.faults.clear()
            await workers.start()

            async def told() -> bool:
                return bool(await receipts_of(world, "revenuecat"))

            await until(told, 60)
            await all_published(world, "billing")
        assert await receipts_of(world, "revenuecat") == [{"subscribers": 1}]
        assert await world.count("subscriber_removal") == 0
        assert [outside.ledger.knows(one) for one in ("user_1", ALIAS, "user_2")] == [False, False, True]


async def asked(outside: RevenueCatStandIn, user_id: str) -> bool:
    return any(user_id in path for path in outside.faults.calls)


async def time_passes(world: Billing) -> None:
    """Until the lease of whoever holds the removal has run out."""
    await world.rows("UPDATE billing.subscriber_removal SET due_at = now() - interval '1 second'")


@pytest.mark.timeout(180)
async def test_killed_while_the_store_removes(
    tmp_path: Path, database_url: str, rabbitmq_url: str, object_store: PrivateObjectStore, bucket: str
) -> None:
    store = urlsplit(object_store.endpoint)
    configured = settings(database_url, object_store, aws_s3_bucket_name=bucket)
    async with (
        media(configured) as [service],
        FaultProxy(str(store.hostname), int(store.port or 0)) as proxy,
    ):
        sessions = [await service.session("user_1") for _ in range(3)]
        kept = await service.session("user_2")
        storage = service.service.app.state.storage
        keys = [f"{session_prefix(one)}{name}" for one in (*sessions, kept) for name in ("a.m4a", "a.json")]
        line = "c" * 64
        await service.rows("INSERT INTO media.line_use SELECT $1, unnest($2::text[])", line, sessions)
        for key in (*keys, line_object(line)):
            await storage.put(key, b"{}", content_type="audio/mp4", cache_control=IMMUTABLE)
        environment = environment_of(
            configured, RABBITMQ_URL=rabbitmq_url, AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{proxy.port}"
        )
        async with WorkerProcesses("media", environment, tmp_path) as workers:
            first = await workers.start()
            proxy.stall()
            await service.erase("user_1")
            await until(lambda: is_waiting(proxy))
            first.kill()
            await first.wait()
            assert await receipts_of(service, "storage") == []
            proxy.flow()
            await workers.start()

            async def told() -> bool:
                return bool(await receipts_of(service, "storage"))

            await until(told, 60)
            await all_published(service, "media")
        assert await receipts_of(service, "storage") == [{"objects": 7}]
        assert [version.key for version in await storage.find("audio/")] == sorted(keys[-2:])


async def is_waiting(proxy: FaultProxy) -> bool:
    return proxy.held > 0


@pytest.mark.timeout(180)
async def test_killed_again_and_again_the_store_is_empty_in_the_end(
    tmp_path: Path, database_url: str, rabbitmq_url: str, object_store: PrivateObjectStore, bucket: str
) -> None:
    configured = settings(database_url, object_store, aws_s3_bucket_name=bucket)
    async with media(configured) as [service]:
        storage = service.service.app.state.storage
        sessions = [await service.session("user_1") for _ in range(40)]
        keys = [f"{session_prefix(one)}{name}" for one in sessions for name in ("a.m4a", "a.json")]
        for start in range(0, len(keys), 20):
            await asyncio.gather(
                *(
                    storage.put(key, b"{}", content_type="audio/mp4", cache_control=IMMUTABLE)
                    for key in keys[start : start + 20]
                )
            )
        await service.erase("user_1")
        async with WorkerProcesses("media", environment_of(configured, RABBITMQ_URL=rabbitmq_url), tmp_path) as workers:
            for fewer in (35, 20, 5):
                worker = await workers.start()

                async def at_most(count: int = fewer) -> bool:
                    return len(await service.rows("SELECT 1 FROM media.discarded_audio")) <= count

                await until(at_most, 60)
                worker.kill()
                await worker.wait()
            await workers.start()

            async def told() -> bool:
                return bool(await receipts_of(service, "storage"))

            await until(told, 60)
            await all_published(service, "media")
        assert await receipts_of(service, "storage") == [{"objects": 80}]
        assert await storage.find("audio/") == []
