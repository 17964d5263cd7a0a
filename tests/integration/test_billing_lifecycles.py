"""What stores do to subscriptions, heard in any order: access follows what RevenueCat says in the end."""

import json
import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from embedded.webhook_signatures import revenuecat_headers
from tests.support.billing import AUTHORIZATION, SIGNING_SECRET, WEBHOOK_BODIES, Billing, billing, event_body

PLAY = "app_pro:monthly"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Billing]:
    async with billing(database_url) as running:
        yield running


async def plan_after(world: Billing, act: Callable[..., Any], *arguments: Any, **more: Any) -> str:
    act("user_1", *arguments, **more)
    await world.hear_and_work()
    return await world.plan()


async def live(world: Billing, **by: float) -> None:
    """Time passes; the store does what it does by itself, tells of it, and the worker works."""
    until = world.clock() + timedelta(**by)
    while (at := world.store.ledger.next_change_at("user_1")) is not None and at <= until:
        world.clock.now = max(at, world.clock())
        world.store.pass_time("user_1")
        await world.hear_and_work()
    world.clock.now = until
    await world.work()


async def test_a_trial_that_is_paid_for_goes_on_for_as_long_as_it_is(world: Billing) -> None:
    assert await plan_after(world, world.store.purchase, trial=timedelta(days=7)) == "pro"
    await live(world, days=60)
    assert await plan_after(world, world.store.cancel) == "pro"
    await live(world, days=40)
    assert await world.plan() == "free"


async def test_a_charge_that_succeeds_at_last_leaves_nothing_of_its_failure(world: Billing) -> None:
    await plan_after(world, world.store.purchase)
    world.clock.forward(days=30)
    await plan_after(world, world.store.billing_issue)
    failed = await world.subscription()
    assert (failed["plan"], failed["status"], failed["willRenew"]) == ("pro", "grace", False)
    world.clock.forward(days=2)
    await plan_after(world, world.store.renew)
    paid = await world.subscription()
    assert (paid["plan"], paid["status"], paid["willRenew"]) == ("pro", "active", True)


async def test_after_a_refund_the_next_renewal_counts_again(world: Billing) -> None:
    await plan_after(world, world.store.purchase)
    world.clock.forward(days=2)
    assert await plan_after(world, world.store.refund) == "free"
    world.clock.forward(days=28)
    assert await plan_after(world, world.store.renew) == "pro"


@pytest.mark.parametrize("heard", [True, False])
async def test_a_refund_that_is_taken_back_gives_access_again(world: Billing, heard: bool) -> None:
    await plan_after(world, world.store.purchase)
    world.clock.forward(days=2)
    assert await plan_after(world, world.store.refund) == "free"
    world.clock.forward(days=3)
    world.store.webhooks.lose(0 if heard else 1)
    world.store.reverse_refund("user_1")
    await world.hear_and_work()
    await world.later(days=1)
    assert await world.plan() == "pro"


@pytest.mark.parametrize("heard", [True, False])
async def test_a_pause_takes_access_at_the_end_of_the_period_until_it_is_over(world: Billing, heard: bool) -> None:
    await plan_after(world, world.store.purchase, PLAY)
    assert await plan_after(world, world.store.pause, world.clock() + timedelta(days=60)) == "pro"
    await live(world, days=31)
    assert await world.plan() == "free"
    await live(world, days=28)
    world.store.webhooks.lose(0 if heard else 1)
    await live(world, days=1, minutes=6)
    assert await world.plan() == "pro"


@pytest.mark.parametrize(
    "store, product", [("app_store", "pro_monthly"), ("play_store", PLAY), ("stripe", "prod_month")]
)
@pytest.mark.parametrize("deferred", [True, False])
async def test_a_change_of_product_never_takes_access(world: Billing, store: str, product: str, deferred: bool) -> None:
    await plan_after(world, world.store.purchase, product, store=store)
    world.clock.forward(days=3)
    assert await plan_after(world, world.store.change_product, "pro_annual", deferred=deferred) == "pro"
    await live(world, days=40)
    view = await world.subscription()
    assert (view["plan"], view["productId"]) == ("pro", "pro_annual")
    assert {event.plan for event in await world.announced()} == {"pro"}


@pytest.mark.parametrize("confirmed", [True, False])
async def test_a_temporary_grant_is_confirmed_or_ends(world: Billing, confirmed: bool) -> None:
    assert await plan_after(world, world.store.grant_unconfirmed, "pro_monthly") == "pro"
    await world.later(hours=20)
    if confirmed:
        assert await plan_after(world, world.store.confirm) == "pro"
    await live(world, hours=5)
    assert await world.plan() == ("pro" if confirmed else "free")


async def test_a_promotional_grant_that_is_revoked_ends_at_once(world: Billing) -> None:
    assert await plan_after(world, world.store.grant) == "pro"
    world.clock.forward(days=1)
    assert await plan_after(world, world.store.revoke_grants) == "free"


async def test_more_time_given_by_the_store_counts(world: Billing) -> None:
    await plan_after(world, world.store.purchase)
    assert await plan_after(world, world.store.extend, timedelta(days=9)) == "pro"
    assert (await world.subscription())["expiresAt"] == "2026-10-10T10:00:00.000Z"


def recorded(number: str, user_id: str) -> bytes:
    """The recorded webhook, about this user."""
    (path,) = [path for path in WEBHOOK_BODIES if path.name.startswith(f"composed__{number}_")]
    event = json.loads(path.read_bytes())["event"]
    named = {"id": f"{number} {user_id}", "app_user_id": user_id, "original_app_user_id": user_id, "aliases": [user_id]}
    return event_body(**{**event, **named})


async def test_a_failed_charge_and_its_recovery_end_alike_in_every_order(world: Billing) -> None:
    """Billing issue, cancellation for it, recovery, and the expiration of what was recovered, told late."""
    for number, order in enumerate(permutations(("05", "06", "07", "08"))):
        user = f"user_{number}"
        world.store.purchase(user)
        world.store.billing_issue(user)
        world.store.renew(user)
        for one in order:
            assert (await world.post_webhook(recorded(one, user))).status == 200
            if number % 2:
                await world.work()
    for seconds in (0, 5, 30, 120):  # the recorded renewal promises more than this store sold
        await world.later(seconds=seconds)
    for number in range(24):
        assert await world.plan(f"user_{number}") == "pro"
        assert [event.plan for event in await world.announced(f"user_{number}")] == ["pro"]


async def test_neither_order_nor_repetition_nor_batching_changes_the_outcome(world: Billing) -> None:
    """Twelve people live alike; each one's webhooks come shuffled, some twice, in batches of another size."""
    people = [f"user_{number}" for number in range(12)]
    told: dict[str, list[bytes]] = {}
    for name in ("purchase", "cancel", "uncancel", "billing_issue", "renew", "extend"):
        world.clock.forward(hours=7)
        for user in people:
            events = getattr(world.store, name)(user, *([timedelta(days=3)] if name == "extend" else []))
            told[user] = told.get(user, []) + [event_body(**event) for event in events]
    for number, user in enumerate(people):
        chance = random.Random(number)
        bodies = [*told[user], *chance.sample(told[user], 3)]
        chance.shuffle(bodies)
        for body in bodies:
            assert (await world.post_webhook(body)).status == 200
            if chance.randrange(12) < number:
                await world.work()
    await world.later(minutes=5)
    views = [await world.subscription(user) for user in people]
    assert views[0]["plan"] == "pro"
    for view in views:
        for own in ("sequence", "asOf"):
            view.pop(own)
    assert all(view == views[0] for view in views)


async def test_an_expiration_that_names_a_future_end_is_what_the_snapshot_says(world: Billing) -> None:
    """Stripe's clock: the event's own end cannot be trusted."""
    await plan_after(world, world.store.purchase)
    future = int((world.clock() + timedelta(days=9)).timestamp() * 1000)
    told = event_body(
        type="EXPIRATION", app_user_id="user_1", product_id="entrain_pro_monthly", expiration_at_ms=future
    )
    assert (await world.post_webhook(told)).status == 200
    await world.later(minutes=5)
    assert await world.plan() == "pro"


async def test_a_customer_made_by_asking_is_free(world: Billing) -> None:
    """The API answers 201 for an id it did not know."""
    assert not world.store.ledger.knows("user_1")
    answer = await world.api.post("/me/subscription/sync")
    assert (answer.status, answer.json["plan"], answer.json["status"]) == (200, "free", "unknown")
    assert world.store.ledger.knows("user_1")


async def test_the_same_event_signed_again_later_is_the_same_event(world: Billing) -> None:
    body = event_body(app_user_id="user_1")
    for number in range(6):
        at = int(world.clock().timestamp())
        answer = await world.post_webhook(body, revenuecat_headers(body, at, AUTHORIZATION, SIGNING_SECRET))
        assert (answer.status, answer.json["duplicate"]) == (200, number > 0)
        world.clock.forward(minutes=40)
    assert await world.count("webhook_event") == 1


async def test_every_member_but_three_may_be_null(world: Billing) -> None:
    for path in WEBHOOK_BODIES:
        event = json.loads(path.read_bytes())["event"]
        nothing = {name: None for name in event if name not in ("type", "id", "event_timestamp_ms")}
        answer = await world.post_webhook(event_body(**{**event, **nothing}))
        assert answer.status == 200, path.name
    await world.work()
    assert await world.count("webhook_event") == len(WEBHOOK_BODIES)


async def test_events_that_share_one_moment_are_what_the_snapshot_says(world: Billing) -> None:
    """Three events of one millisecond, the purchase last, although it is over."""
    world.store.purchase("user_1")
    world.store.refund("user_1")
    world.store.webhooks.reverse()
    await world.hear_and_work()
    await world.later(minutes=5)
    assert await world.plan() == "free"
