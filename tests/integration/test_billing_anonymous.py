"""Purchases made before signing in: held under their anonymous id until the provider or a claim says whose they are."""

from collections.abc import AsyncIterator

import pytest

from tests.support.billing import Billing, billing

ANONYMOUS = "$RCAnonymousID:8f2c1b9e4d7a4c3e9b1f0a6d5e2c7b4a"
OTHER = "$RCAnonymousID:00000000000000000000000000000000"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Billing]:
    async with billing(database_url) as running:
        yield running


async def sync(world: Billing, user_id: str = "user_1", **body: object) -> tuple[int, dict[str, object]]:
    answer = await world.api.signed_in_as(user_id).post("/me/subscription/sync", body)
    return answer.status, answer.json


async def test_an_anonymous_purchase_is_kept_and_announced_for_nobody(world: Billing) -> None:
    world.store.purchase(ANONYMOUS)
    await world.hear_and_work()
    assert await world.rows("SELECT anonymous_id, user_id FROM billing.alias") == [
        {"anonymous_id": ANONYMOUS, "user_id": None}
    ]
    assert [await world.count(table) for table in ("webhook_event", "refresh", "outbox")] == [1, 0, 0]


async def test_a_sync_after_logging_in_finds_what_no_webhook_told(world: Billing) -> None:
    world.store.purchase(ANONYMOUS)
    await world.hear_and_work()
    world.store.log_in(ANONYMOUS, "user_1")
    status, view = await sync(world)
    assert (status, view["plan"], view["sequence"]) == (200, "pro", 1)
    assert await world.causes() == [("pro", "active", "sync")]


async def test_a_claim_gives_the_purchase_to_the_user_and_to_nobody_else(world: Billing) -> None:
    world.store.purchase(ANONYMOUS)
    await world.hear_and_work()
    assert (await sync(world, appUserId=ANONYMOUS))[1]["plan"] == "pro"
    assert (await sync(world, appUserId=ANONYMOUS))[0] == 200
    status, problem = await sync(world, "user_2", appUserId=ANONYMOUS)
    assert (status, problem["code"]) == (409, "CONFLICT")
    assert await world.plan("user_2") == "free"
    assert await world.causes() == [("pro", "active", "claim")]


async def test_webhooks_about_a_claimed_id_reach_the_user(world: Billing) -> None:
    world.store.purchase(ANONYMOUS)
    await world.hear_and_work()
    await sync(world, appUserId=ANONYMOUS)
    world.clock.forward(days=1)
    world.store.refund(ANONYMOUS)
    await world.hear_and_work()
    assert [event.plan for event in await world.announced()] == ["pro", "free"]


async def test_a_claim_that_cannot_be_read_now_is_read_by_the_worker(world: Billing) -> None:
    world.store.purchase(ANONYMOUS)
    await world.hear_and_work()
    world.store.faults.fail_next("unavailable", 1)
    assert (await sync(world, appUserId=ANONYMOUS))[1]["plan"] == "free"
    await world.later(seconds=1)
    assert await world.causes() == [("pro", "active", "claim")]


async def test_a_claim_on_somebody_elses_customer_is_refused(world: Billing) -> None:
    world.store.purchase("user_2")
    world.store.webhooks.lose()
    await world.hear()
    world.store.log_in(OTHER, "user_2")
    assert (await sync(world, appUserId=OTHER))[0] == 409
    assert await world.plan() == "free"
    assert await world.rows("SELECT * FROM billing.alias WHERE user_id = 'user_1'") == []


async def test_the_providers_word_outranks_a_claim(world: Billing) -> None:
    world.store.purchase(ANONYMOUS)
    await world.hear_and_work()
    assert (await sync(world, appUserId=ANONYMOUS))[1]["plan"] == "pro"
    world.clock.forward(hours=1)
    world.store.log_in(ANONYMOUS, "user_2")
    world.store.cancel("user_2")
    await world.hear_and_work()
    assert (await world.plan("user_1"), await world.plan("user_2")) == ("free", "pro")


async def test_only_anonymous_ids_can_be_claimed_and_only_a_few(world: Billing) -> None:
    world.store.purchase("user_2")
    for foreign in ("user_2", "", "$RCAnonymousID:", f"{ANONYMOUS}\n", 7, "$RCAnonymousID:../../v1/other"):
        status, problem = await sync(world, appUserId=foreign)
        assert (status, problem["code"]) == (400, "VALIDATION_ERROR"), foreign
    for number in range(5):
        assert (await sync(world, appUserId=f"$RCAnonymousID:{number:032x}"))[0] == 200
    assert (await sync(world, appUserId=f"$RCAnonymousID:{9:032x}"))[0] == 409


async def test_a_transfer_from_an_anonymous_customer_reaches_the_new_owner(world: Billing) -> None:
    world.store.purchase(ANONYMOUS)
    await world.hear_and_work()
    world.store.transfer(ANONYMOUS, "user_1")
    await world.hear_and_work()
    assert await world.plan() == "pro"


async def test_a_sync_that_meets_a_dead_provider_tells_what_was_known(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(days=2)
    world.store.refund("user_1")
    for fault in ("unavailable", "slow"):
        world.store.faults.fail_next(fault, 1)
        status, view = await sync(world)
        assert (status, view["plan"], view["asOf"]) == (200, "pro", "2026-09-01T10:00:00.000Z")
        world.store.faults.clear()
    assert (await sync(world))[1]["plan"] == "free"


async def test_a_second_sync_at_once_reads_nothing(world: Billing) -> None:
    for _ in range(5):
        assert (await sync(world))[0] == 200
    assert world.store.faults.calls == {"/v1/subscribers/user_1": 1}


async def test_a_sync_needs_no_body(world: Billing) -> None:
    world.store.purchase("user_1")
    assert (await world.api.post("/me/subscription/sync", raw=b"")).json["plan"] == "pro"
    assert (await world.api.post("/me/subscription/sync", raw=b"{")).status == 400


async def test_a_user_who_syncs_all_the_time_uses_up_no_more_than_their_share_even_while_nothing_answers(
    world: Billing,
) -> None:
    world.store.faults.fail_next("unavailable", -1)
    for _ in range(30):
        status, view = await sync(world)
        assert (status, view["plan"]) == (200, "free")
    assert world.store.faults.calls == {"/v1/subscribers/user_1": 10}
    await sync(world, "user_2")
    world.clock.forward(minutes=1)
    for _ in range(30):
        await sync(world)
    assert world.store.faults.calls == {"/v1/subscribers/user_1": 20, "/v1/subscribers/user_2": 1}


async def test_guessing_at_the_ids_of_others_is_slow_work(world: Billing) -> None:
    for number in range(13):
        world.store.purchase(f"user_x{number}")
        world.store.log_in(f"$RCAnonymousID:{number:032x}", f"user_x{number}")
    answers = [await sync(world, appUserId=f"$RCAnonymousID:{number:032x}") for number in range(13)]
    assert [status for status, _ in answers] == [409] * 10 + [429] * 3
    assert answers[-1][1]["code"] == "RATE_LIMITED"
