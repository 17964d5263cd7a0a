"""Reading RevenueCat when it is slow, wrong, stale or down, and when our own worker dies on the way."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from billing import commands
from billing.causes import CHECK
from billing.commands import Reading
from billing.jobs import refresh_for_ever
from billing.refreshing import Refresher
from billing.revenuecat import SubscriberSource
from billing.snapshot import parse_snapshot
from billing.work import LEASE
from common.contracts.identity import UserDeleted
from common.messaging.envelope import Envelope
from common.tracing import current_trace
from tests.support.billing import API_KEY, Billing, billing


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Billing]:
    async with billing(database_url) as running:
        yield running


class Disturbed:
    """A provider after whose answer, but before anybody has used it, something happens."""

    def __init__(self, provider: SubscriberSource, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._provider = provider
        self._meanwhile = meanwhile

    async def read(self, app_user_id: str) -> Reading:
        reading = await self._provider.read(app_user_id)
        await self._meanwhile()
        return reading


async def planned(world: Billing, user_id: str = "user_1") -> dict[str, Any]:
    (row,) = await world.rows("SELECT * FROM billing.refresh WHERE user_id = $1", user_id)
    return row


async def test_a_purchase_during_an_outage_is_read_when_the_api_is_back(world: Billing) -> None:
    world.store.faults.fail_next("unavailable", -1)
    world.store.purchase("user_1")
    await world.hear_and_work()
    for _ in range(5):
        await world.later(minutes=5)
    assert (await planned(world))["attempts"] == 6
    world.store.faults.clear()
    await world.later(minutes=5)
    assert await world.plan() == "pro"
    assert (await planned(world))["attempts"] == 0


NO_NEWS: list[dict[str, Any]] = [
    {"kind": "cut", "times": 2},  # the first time the client takes for a socket that was closed while idle
    {"kind": "html"},
    {"kind": "empty"},
    {"kind": "redirect"},
    {"kind": "error", "status": 423},
    {"kind": "error", "status": 500},
]


async def test_an_answer_that_tells_nothing_changes_nothing(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    for number, fault in enumerate(NO_NEWS):
        world.clock.forward(days=1)
        world.store.faults.fail_next(**fault)
        (world.store.uncancel if number % 2 else world.store.cancel)("user_1")
        await world.hear_and_work()
        assert len(await world.announced()) == number + 1, fault
        await world.later(seconds=2)
        assert len(await world.announced()) == number + 2, fault


async def test_an_api_that_asks_for_a_pause_gets_it(world: Billing) -> None:
    world.store.faults.fail_next("rate_limited", 1, retry_after=40)
    world.store.purchase("user_1")
    world.store.purchase("user_2")
    await world.hear_and_work()
    asked = sum(world.store.faults.calls.values())
    await world.later(seconds=39)
    assert sum(world.store.faults.calls.values()) == asked
    await world.later(seconds=2)
    assert (await world.plan("user_1"), await world.plan("user_2")) == ("pro", "pro")


async def test_a_refused_key_is_an_alarm_and_never_a_change(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.store.api_key = "sk_another"
    world.store.refund("user_1")
    await world.hear_and_work()
    assert REGISTRY.get_sample_value("billing_revenuecat_key_refused") == 1
    assert await world.plan() == "pro"
    world.store.api_key = API_KEY
    await world.later(minutes=5)
    assert REGISTRY.get_sample_value("billing_revenuecat_key_refused") == 0
    assert await world.plan() == "free"


async def test_an_id_the_api_never_takes_is_not_asked_again(world: Billing) -> None:
    world.store.purchase("user_" + "x" * 100)
    await world.hear_and_work()
    for _ in range(4):
        await world.later(minutes=3)
    assert await world.count("refresh") == 0


async def test_a_snapshot_older_than_its_webhook_is_read_again(world: Billing) -> None:
    world.store.stale_reads(2)
    world.store.purchase("user_1")
    await world.hear_and_work()
    assert await world.plan() == "free"
    await world.later(seconds=5)
    assert await world.plan() == "free"
    await world.later(seconds=30)
    assert await world.plan() == "pro"
    assert await world.causes() == [("pro", "active", "webhook")]


async def test_a_stale_read_takes_nothing_that_was_just_paid_for(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    await world.later(days=29, hours=23)
    world.clock.forward(hours=1)
    world.store.stale_reads(1)
    world.store.renew("user_1")
    await world.hear()
    await world.refresher.work_off()
    assert [event.plan for event in await world.announced()] == ["pro"]
    world.clock.forward(seconds=5)
    await world.refresher.work_off()
    assert [event.plan for event in await world.announced()] == ["pro", "pro"]


async def test_a_stale_refund_is_seen_at_the_next_look(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(days=1)
    world.store.stale_reads(1)
    world.store.refund("user_1")
    await world.hear_and_work()
    assert await world.plan() == "pro"
    await world.later(seconds=5)
    assert await world.plan() == "free"


async def test_after_the_last_look_the_api_has_the_last_word(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(days=1)
    world.store.refund("user_1")
    world.store.webhooks.lose(2)
    bodies = [delivery.body for delivery in world.store.webhooks.waiting]
    await world.hear()
    promise = json.dumps({"event": {**_grant(world), "type": "RENEWAL"}}).encode()
    assert (await world.post_webhook(promise)).status == 200
    for seconds in (0, 5, 30, 120):
        assert await world.plan() == "pro", bodies
        await world.later(seconds=seconds)
    assert await world.plan() == "free"


def _grant(world: Billing) -> dict[str, Any]:
    now = int(world.clock().timestamp() * 1000)
    return {
        "id": "promised",
        "event_timestamp_ms": now,
        "app_user_id": "user_1",
        "product_id": "entrain_pro_monthly",
        "entitlement_ids": ["pro"],
        "expiration_at_ms": now + 86_400_000,
    }


async def test_a_late_expiration_does_not_undo_the_renewal_after_it(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(days=30)
    world.store.webhooks.delay(timedelta(hours=1))
    world.store.expire("user_1")
    world.clock.forward(minutes=1)
    world.store.renew("user_1")
    await world.hear_and_work()
    assert await world.plan() == "pro"
    await world.later(hours=1)
    await world.hear_and_work()
    for _ in range(4):
        await world.later(minutes=2)
        assert await world.plan() == "pro"


async def test_webhooks_doubled_and_out_of_order_end_in_the_same_state(world: Billing) -> None:
    world.store.purchase("user_1")
    world.clock.forward(hours=1)
    world.store.billing_issue("user_1")
    world.clock.forward(hours=1)
    world.store.renew("user_1")
    world.clock.forward(hours=1)
    world.store.cancel("user_1")
    world.store.webhooks.twice(3)
    world.store.webhooks.reverse()
    await world.hear_and_work()
    view = await world.subscription()
    assert (view["plan"], view["status"], view["willRenew"]) == ("pro", "active", False)
    assert len(await world.announced()) == 1


async def test_an_older_snapshot_never_overwrites_a_newer_one(world: Billing) -> None:
    world.store.purchase("user_1")
    bought = await world.provider.read("user_1")
    world.clock.forward(hours=1)
    world.store.refund("user_1")
    refunded = await world.provider.read("user_1")
    await _take(world, refunded)
    await _take(world, bought)
    assert await world.plan() == "free"
    assert await world.announced() != []
    assert [event.status for event in await world.announced()] == ["expired"]


async def test_an_absurd_time_of_a_snapshot_does_not_outrank_every_later_one(world: Billing) -> None:
    world.store.purchase("user_1")
    odd = json.loads((await world.provider.read("user_1")).document) | {"request_date_ms": 10**17}
    await _take(world, Reading(parse_snapshot(odd), json.dumps(odd)))
    world.clock.forward(hours=1)
    world.store.refund("user_1")
    await _take(world, await world.provider.read("user_1"))
    assert await world.plan() == "free"


async def _take(world: Billing, reading: Reading) -> None:
    async with world.service.database.transaction() as uow:
        await commands.take_readings(uow, world.rules, "user_1", {"user_1": reading}, CHECK, 0)


async def test_a_worker_that_dies_after_claiming_loses_nothing(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear()
    assert [claim.user_id for claim in await world.refresher.claim(8)] == ["user_1"]
    assert await world.work() == 0
    world.clock.forward(seconds=LEASE.total_seconds())
    assert await world.work() == 1
    assert await world.plan() == "pro"


async def test_a_worker_cut_off_between_reading_and_writing_loses_nothing(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear()
    read, never = asyncio.Event(), asyncio.Event()

    async def meanwhile() -> None:
        read.set()
        await never.wait()

    cut_off = Refresher(world.service.database, Disturbed(world.provider, meanwhile), world.rules)
    (claim,) = await cut_off.claim(1)
    making = asyncio.create_task(cut_off.make(claim))
    await read.wait()
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    assert await world.announced() == []
    world.clock.forward(seconds=LEASE.total_seconds())
    await world.work()
    assert len(await world.announced()) == 1


async def test_a_worker_that_was_given_up_changes_nothing_when_it_comes_back(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear()
    (late,) = await world.refresher.claim(1)
    world.clock.forward(seconds=LEASE.total_seconds())
    (second,) = await world.refresher.claim(1)
    await world.refresher.make(late)
    assert await world.announced() == []
    await world.refresher.make(second)
    assert len(await world.announced()) == 1


async def test_a_webhook_during_a_reading_makes_another_one(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear()

    async def meanwhile() -> None:
        world.clock.forward(seconds=1)
        world.store.refund("user_1")
        await world.hear()

    disturbed = Refresher(world.service.database, Disturbed(world.provider, meanwhile), world.rules)
    (claim,) = await disturbed.claim(1)
    await disturbed.make(claim)
    assert await world.plan() == "pro"
    assert await world.work() == 1
    assert await world.plan() == "free"


async def test_many_workers_read_each_person_once(world: Billing) -> None:
    for number in range(30):
        world.store.purchase(f"user_{number}")
    await world.hear()
    taken = await asyncio.gather(*(world.refresher.work_off() for _ in range(4)))
    assert sum(taken) == 30
    assert set(world.store.faults.calls.values()) == {1}
    assert await world.count("change") == 30


async def test_the_running_worker_is_woken_by_a_webhook(world: Billing) -> None:
    running = asyncio.create_task(refresh_for_ever(world.refresher, world.service.database))
    world.store.purchase("user_1")
    await world.hear()
    async with asyncio.timeout(10):
        while not await world.announced():
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await world.plan() == "pro"


async def test_a_deleted_user_leaves_nothing_behind_even_while_being_read(world: Billing) -> None:
    anonymous = "$RCAnonymousID:" + "a" * 32
    world.store.purchase(anonymous)
    world.store.log_in(anonymous, "user_1")
    world.store.renew("user_1")
    world.store.purchase("user_2")
    await world.hear_and_work()
    world.store.cancel("user_1")
    await world.hear()
    (claim,) = await world.refresher.claim(1)
    deliver = world.service.subscriptions[0].deliver_to(world.service.database, "billing")
    deleted = UserDeleted(user_id="user_1", issuer="test", sequence=9)
    envelope = Envelope.of(deleted, at=world.clock(), trace=current_trace())
    await deliver(envelope)
    await deliver(envelope)
    await world.refresher.make(claim)
    for table, column in (("customer", "user_id"), ("change", "user_id"), ("refresh", "user_id"), ("alias", "user_id")):
        found = await world.rows(f"SELECT {column} FROM billing.{table}")
        assert {row[column] for row in found} <= {"user_2"}, table
    assert {row["app_user_id"] for row in await world.rows("SELECT app_user_id FROM billing.mention")} == {"user_2"}
    assert {row["app_user_id"] for row in await world.rows("SELECT app_user_id FROM billing.snapshot")} == {"user_2"}
    bodies = [row["body"] for row in await world.rows("SELECT body FROM billing.webhook_event")]
    assert len(bodies) == 1
    assert b"user_1" not in bodies[0]
