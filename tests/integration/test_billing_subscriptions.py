"""A person's access follows what RevenueCat says, through purchases, refunds, transfers and the passing of time."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support.billing import Billing, billing


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Billing]:
    async with billing(database_url) as running:
        yield running


async def test_a_purchase_makes_pro_and_says_so_once(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    (event,) = await world.announced()
    assert (event.plan, event.status, event.sequence, event.will_renew) == ("pro", "active", 1, True)
    assert event.cause.startswith("RevenueCat sent INITIAL_PURCHASE (event ")
    view = await world.subscription()
    assert view["plan"] == "pro"
    assert view["renewsAt"] == view["expiresAt"] == "2026-10-01T10:00:00.000Z"


async def test_a_user_nothing_is_known_about_is_free(world: Billing) -> None:
    assert await world.subscription("user_new") == {
        "plan": "free",
        "status": "unknown",
        "entitlements": [],
        "willRenew": False,
        "environment": "production",
        "sequence": 0,
        "asOf": "2026-09-01T10:00:00.000Z",
    }


async def test_the_whole_subscription_is_told(world: Billing) -> None:
    world.store.purchase("user_1", "app_pro:monthly")
    await world.hear_and_work()
    view = await world.subscription()
    assert view.pop("managementUrl").startswith("https://play.google.com/")
    entitlement = {
        "name": "pro",
        "productId": "app_pro:monthly",
        "store": "play_store",
        "expiresAt": "2026-10-01T10:00:00.000Z",
    }
    assert view == {
        "plan": "pro",
        "status": "active",
        "entitlements": [entitlement],
        "expiresAt": "2026-10-01T10:00:00.000Z",
        "renewsAt": "2026-10-01T10:00:00.000Z",
        "willRenew": True,
        "store": "play_store",
        "productId": "app_pro:monthly",
        "environment": "production",
        "sequence": 1,
        "asOf": "2026-09-01T10:00:00.000Z",
    }


async def test_a_refund_ends_access_at_once(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(days=3)
    world.store.refund("user_1")
    await world.hear_and_work()
    last = (await world.announced())[-1]
    assert (last.plan, last.status, last.sequence) == ("free", "expired", 2)
    assert await world.plan() == "free"


async def test_a_cancelled_subscription_lasts_to_its_end_and_can_be_taken_up_again(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    for change, renews in ((world.store.cancel, False), (world.store.uncancel, True)):
        world.clock.forward(days=1)
        change("user_1")
        await world.hear_and_work()
        view = await world.subscription()
        assert (view["plan"], view["willRenew"], "renewsAt" in view) == ("pro", renews, renews)
    assert [event.sequence for event in await world.announced()] == [1, 2, 3]


async def test_grace_keeps_access_and_its_end_takes_it(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(days=30)
    world.store.billing_issue("user_1", grace=timedelta(days=16))
    await world.hear_and_work()
    view = await world.subscription()
    assert (view["plan"], view["status"], view["expiresAt"]) == ("pro", "grace", "2026-10-17T10:00:00.000Z")
    await world.later(days=15)
    assert await world.plan() == "pro"
    await world.later(days=1)
    assert await world.causes() == [
        ("pro", "active", "webhook"),
        ("pro", "grace", "webhook"),
        ("free", "expired", "check"),
    ]


async def test_a_charge_that_succeeds_long_after_the_end_restores_access_even_unheard(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(days=30)
    world.store.billing_issue("user_1", grace=None)
    await world.hear_and_work()
    assert await world.plan() == "free"
    for _ in range(20):
        await world.later(days=1)
    world.store.webhooks.lose()
    world.store.renew("user_1")
    await world.hear()
    await world.later(days=1)
    assert await world.plan() == "pro"


async def test_a_transfer_moves_access_from_one_user_to_the_other_and_back(world: Billing) -> None:
    world.store.purchase("user_a")
    await world.hear_and_work()
    for source, target in (("user_a", "user_b"), ("user_b", "user_a")):
        world.clock.forward(hours=1)
        world.store.transfer(source, target)
        await world.hear_and_work()
        assert (await world.plan(source), await world.plan(target)) == ("free", "pro")
    assert [event.plan for event in await world.announced("user_a")] == ["pro", "free", "pro"]
    assert [event.plan for event in await world.announced("user_b")] == ["pro", "free"]


async def test_the_end_of_the_paid_time_needs_no_event_and_no_provider(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.store.faults.fail_next("unavailable", -1)
    await world.later(days=29, hours=23, minutes=59, seconds=59)
    assert await world.plan() == "pro"
    await world.later(seconds=1)
    (_, ended) = await world.announced()
    assert (ended.plan, ended.status, ended.sequence) == ("free", "expired", 2)
    assert (await world.causes())[-1] == ("free", "expired", "time")


async def test_the_answer_follows_the_clock_even_before_anybody_notices_the_end(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(days=30)
    assert (await world.subscription())["status"] == "expired"
    assert len(await world.announced()) == 1


async def test_a_lost_renewal_costs_no_access(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    await world.later(days=29)
    world.store.webhooks.lose()
    world.store.renew("user_1")
    await world.hear()
    await world.later(hours=23, minutes=58)
    assert (await world.subscription())["expiresAt"] == "2026-11-01T10:00:00.000Z"
    await world.later(minutes=2)
    assert [event.plan for event in await world.announced()] == ["pro", "pro"]


async def test_a_renewal_that_comes_after_the_end_restores_access_though_its_webhook_is_lost(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    await world.later(days=30)
    assert await world.plan() == "free"
    world.clock.forward(minutes=3)
    world.store.webhooks.lose()
    world.store.renew("user_1")
    await world.hear()
    await world.later(minutes=2)
    assert await world.plan() == "pro"


async def test_everybody_with_access_is_looked_at_every_day(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.store.webhooks.lose(2)
    world.store.refund("user_1")
    await world.hear()
    await world.later(days=1)
    assert (await world.causes())[-1] == ("free", "expired", "check")


async def test_what_is_bought_for_life_does_not_end_with_a_subscription(world: Billing) -> None:
    world.store.purchase("user_1")
    world.store.purchase("user_1", "entrain_pro_lifetime")
    await world.hear_and_work()
    world.store.refund("user_1", "entrain_pro_monthly")
    await world.hear_and_work()
    view = await world.subscription()
    assert (view["plan"], view["willRenew"], "expiresAt" in view) == ("pro", False, False)
    await world.later(days=400)
    assert await world.plan() == "pro"
    world.store.refund("user_1", "entrain_pro_lifetime")
    await world.hear_and_work()
    assert await world.plan() == "free"


async def test_a_consumable_unlocks_nothing(world: Billing) -> None:
    world.store.purchase("user_1", "credits_10")
    await world.hear_and_work()
    assert await world.plan() == "free"
    assert await world.announced() == []


async def test_a_promotional_grant_unlocks_and_never_renews(world: Billing) -> None:
    world.store.grant("user_1")
    await world.hear_and_work()
    view = await world.subscription()
    assert (view["plan"], view["store"], view["willRenew"]) == ("pro", "promotional", False)


async def test_family_members_have_access_too(world: Billing) -> None:
    world.store.purchase("user_1", family_share=True)
    await world.hear_and_work()
    assert await world.plan() == "pro"


@pytest.mark.parametrize("policy, plan", [("deny", "free"), ("allow", "pro"), ("user_9, user_1", "pro")])
async def test_sandbox_purchases_count_as_the_settings_say(database_url: str, policy: str, plan: str) -> None:
    async with billing(database_url, revenuecat_sandbox=policy) as world:
        world.store.purchase("user_1", sandbox=True)
        await world.hear_and_work()
        assert await world.plan() == plan
        assert (await world.subscription())["environment"] == ("sandbox" if plan == "pro" else "production")


async def test_a_refused_sandbox_purchase_hides_no_real_one(world: Billing) -> None:
    world.store.purchase("user_1", "entrain_pro_monthly")
    await world.hear_and_work()
    world.clock.forward(days=1)
    world.store.purchase("user_1", "entrain_pro_annual", sandbox=True)
    await world.hear_and_work()
    view = await world.subscription()
    assert (view["plan"], view["productId"], view["environment"]) == ("pro", "entrain_pro_monthly", "production")


async def test_history_tells_each_change_with_its_cause_newest_first(world: Billing) -> None:
    (bought,) = world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(days=1)
    world.store.refund("user_1")
    await world.hear_and_work()
    page = (await world.api.get("/me/subscription/history?limit=1")).json
    assert (page["limit"], page["offset"], page["hasMore"]) == (1, 0, True)
    assert [change["plan"] for change in page["changes"]] == ["free"]
    (older,) = (await world.api.get("/me/subscription/history?limit=1&offset=1")).json["changes"]
    assert older == {
        "sequence": 1,
        "changedAt": "2026-09-01T10:00:00.000Z",
        "plan": "pro",
        "status": "active",
        "expiresAt": "2026-10-01T10:00:00.000Z",
        "willRenew": True,
        "productId": "entrain_pro_monthly",
        "cause": {
            "kind": "webhook",
            "text": f"RevenueCat sent INITIAL_PURCHASE (event {bought['id']})",
            "eventId": bought["id"],
            "eventType": "INITIAL_PURCHASE",
        },
        "reason": "entrain_pro_monthly is paid until 2026-10-01T10:00:00.000Z and renews then",
        "takenAt": "2026-09-01T10:00:00.000Z",
    }


async def test_history_tells_what_happens_next_and_when(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    assert (await world.api.get("/me/subscription/history")).json["next"] == [
        {"at": "2026-09-02T10:00:00.000Z", "text": "RevenueCat is read again (read at RevenueCat as planned)"},
        {"at": "2026-10-01T10:00:00.000Z", "text": "access ends unless its renewal is known by then"},
    ]
    assert (await world.api.signed_in_as("user_new").get("/me/subscription/history")).json["next"] == []


async def test_a_user_sees_nothing_without_signing_in(world: Billing) -> None:
    nobody = world.api.signed_in_as(None)
    assert (await nobody.get("/me/subscription")).status == 401
    assert (await nobody.get("/me/subscription/history")).status == 401
    assert (await nobody.post("/me/subscription/sync")).status == 401
