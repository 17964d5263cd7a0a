"""While RevenueCat cannot be read: what its webhooks grant is honoured for a while, what they take waits."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from common.contracts.billing import SubscriptionChanged
from tests.support.billing import Billing, billing

ANONYMOUS = "$RCAnonymousID:" + "b" * 32


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Billing]:
    async with billing(database_url) as running:
        yield running


def told(event: SubscriptionChanged) -> tuple[str, str, bool | None]:
    return event.plan, event.status, event.provisional


async def test_a_purchase_counts_at_once_is_marked_and_settled_by_the_first_reading(world: Billing) -> None:
    world.store.faults.fail_next("unavailable", -1)
    (bought,) = world.store.purchase("user_1")
    await world.hear_and_work()
    view = await world.subscription()
    assert (view["plan"], view["provisional"], view["expiresAt"]) == ("pro", True, "2026-09-02T10:00:00.000Z")
    world.store.faults.clear()
    await world.later(minutes=5)
    view = await world.subscription()
    assert (view["plan"], "provisional" in view, view["expiresAt"]) == ("pro", False, "2026-10-01T10:00:00.000Z")
    assert [told(event) for event in await world.announced()] == [("pro", "active", True), ("pro", "active", None)]
    first, second = await world.rows("SELECT * FROM billing.change ORDER BY sequence")
    assert (first["cause_kind"], first["event_id"]) == ("provisional", bought["id"])
    assert "honoured until it can" in first["cause"]
    assert (second["cause_kind"], second["event_id"]) == ("webhook", bought["id"])
    assert await world.count("provisional_grant") == 0


@pytest.mark.parametrize("fault", ["unavailable", "rate_limited", "html", "error"])
async def test_every_way_of_not_being_read_is_one(world: Billing, fault: str) -> None:
    world.store.faults.fail_next(fault, -1)
    world.store.purchase("user_1")
    await world.hear_and_work()
    assert (await world.subscription())["provisional"] is True


async def test_it_ends_after_a_day_without_anybody_saying_so(world: Billing) -> None:
    world.store.faults.fail_next("unavailable", -1)
    world.store.purchase("user_1")
    await world.hear_and_work()
    await world.later(hours=23, minutes=59)
    assert await world.plan() == "pro"
    await world.later(minutes=1)
    assert [told(event) for event in await world.announced()] == [("pro", "active", True), ("free", "expired", None)]
    assert (await world.causes())[-1] == ("free", "expired", "time")
    world.store.faults.clear()
    await world.later(minutes=5)
    assert await world.plan() == "pro"


async def test_a_webhook_sent_again_does_not_begin_another_day(world: Billing) -> None:
    world.store.faults.fail_next("unavailable", -1)
    world.store.webhooks.twice()
    world.store.purchase("user_1")
    world.store.webhooks.waiting[1].due_at += timedelta(hours=20)
    await world.hear_and_work()
    await world.later(hours=20)
    await world.hear_and_work()
    await world.later(hours=4)
    assert await world.plan() == "free"


async def test_what_takes_access_waits_until_it_can_be_read(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(days=1)
    world.store.faults.fail_next("unavailable", -1)
    world.store.refund("user_1")
    await world.hear_and_work()
    assert [told(event) for event in await world.announced()] == [("pro", "active", None)]
    world.store.faults.clear()
    await world.later(minutes=5)
    assert await world.plan() == "free"


async def test_a_renewal_carries_over_the_end_that_was_known(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(days=29, hours=23)
    world.store.faults.fail_next("unavailable", -1)
    world.store.renew("user_1")
    await world.hear_and_work()
    await world.later(hours=2)
    view = await world.subscription()
    assert (view["plan"], view["provisional"], view["expiresAt"]) == ("pro", True, "2026-10-02T09:00:00.000Z")


async def test_what_adds_nothing_to_what_was_read_changes_nothing(world: Billing) -> None:
    """The charge went through at last, in a grace that lasts for longer than a day anyway."""
    world.store.purchase("user_1")
    world.clock.forward(days=30)
    world.store.billing_issue("user_1", grace=timedelta(days=16))
    await world.hear_and_work()
    world.clock.forward(days=1)
    world.store.faults.fail_next("unavailable", -1)
    world.store.renew("user_1")
    await world.hear_and_work()
    view = await world.subscription()
    assert (view["status"], "provisional" in view, len(await world.announced())) == ("grace", False, 1)


async def test_a_purchase_that_was_refunded_in_the_same_outage_gives_nothing(world: Billing) -> None:
    world.store.faults.fail_next("unavailable", -1)
    world.store.purchase("user_1")
    world.clock.forward(minutes=1)
    world.store.refund("user_1")
    world.store.webhooks.reverse()
    await world.hear_and_work()
    assert await world.announced() == []


async def test_a_webhook_that_the_last_reading_knew_gives_nothing_more(world: Billing) -> None:
    """A late webhook about something that was refunded and read meanwhile."""
    world.store.webhooks.delay(timedelta(hours=1))
    world.store.purchase("user_1")
    world.clock.forward(minutes=1)
    world.store.refund("user_1")
    await world.hear_and_work()
    assert await world.plan() == "free"
    world.store.faults.fail_next("unavailable", -1)
    await world.later(hours=1)
    await world.hear_and_work()
    assert await world.plan() == "free"


async def test_a_claim_that_nobody_could_check_is_not_honoured(world: Billing) -> None:
    world.store.purchase(ANONYMOUS)
    await world.hear_and_work()
    world.store.faults.fail_next("unavailable", -1)
    answer = await world.api.post("/me/subscription/sync", {"appUserId": ANONYMOUS})
    assert answer.json["plan"] == "free"
    await world.later(minutes=5)
    assert await world.plan() == "free"


async def test_a_user_who_asks_while_the_workers_cannot_read_is_honoured_at_once(world: Billing) -> None:
    world.store.faults.fail_next("unavailable", -1)
    world.store.purchase("user_1")
    await world.hear()
    answer = await world.api.post("/me/subscription/sync")
    assert (answer.json["plan"], answer.json["provisional"]) == ("pro", True)


async def test_what_is_honoured_goes_with_the_customer(world: Billing) -> None:
    world.store.faults.fail_next("unavailable", -1)
    world.store.purchase("user_1")
    await world.hear_and_work()
    assert await world.count("provisional_grant") == 1
    await world.rows("DELETE FROM billing.customer WHERE user_id = 'user_1'")
    assert await world.count("provisional_grant") == 0


async def test_paying_users_are_read_before_the_others(world: Billing) -> None:
    for number in range(6):
        world.store.purchase(f"user_{number}")
        world.store.webhooks.lose(2)
        if number % 2:
            world.store.billing_issue(f"user_{number}", grace=None)
    await world.hear_and_work()
    world.clock.forward(days=3)
    for number in range(6):
        assert (await world.api.signed_in_as(f"user_{number}").post("/me/subscription/sync")).status == 200
    world.clock.forward(days=2)
    claims = [await world.refresher.claim(1) for _ in range(6)]
    order = [claim.user_id for (claim,) in claims]
    assert {*order[:3]} == {"user_0", "user_2", "user_4"}
    assert {*order[3:]} == {"user_1", "user_3", "user_5"}
