"""A deleted user is gone from billing and stays gone, whatever arrives late, and then goes from RevenueCat too."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from billing import commands, erasure
from billing.causes import RECONCILE
from billing.notice import parse_notice
from billing.support import explain, reconcile
from billing.work import ask_to_read
from common.db.tombstones import UserErased
from tests.support.billing import ANONYMOUS, Billing, billing, event_body, eventful
from tests.support.erasure import routes, tables_about_users, tables_naming, unguarded
from tests.support.locks import waiting_for_a_lock

OTHER_ANONYMOUS = "$RCAnonymousID:" + "b" * 32
KEPT = ("erased_user", "outbox")


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Billing]:
    async with billing(database_url) as running:
        yield running


async def left(world: Billing, *words: str) -> set[str]:
    return await tables_naming(world.database_url, "billing", words or ("user_1", ANONYMOUS), kept=KEPT)


async def counts(world: Billing, store: str) -> list[dict[str, int]]:
    return [receipt.counts for receipt in await world.receipts() if receipt.store == store]


async def test_everything_about_a_user_goes_and_is_counted_once(world: Billing) -> None:
    await eventful(world)
    assert await left(world)
    message = await world.erase()
    await world.deliver(message)
    await world.erase()
    assert await left(world) == {"subscriber_removal"}
    assert await counts(world, "billing") == [
        {"customers": 1, "webhooks": 3, "aliases": 1, "readings": 1, "changes": 2, "plannedReadings": 1}
    ]
    assert await world.plan("user_2") == "pro"
    assert await world.remove() == 3
    assert await left(world) == set()
    assert await counts(world, "revenuecat") == [{"subscribers": 1}]
    assert [(each.user_id, each.deletion_id) for each in await world.receipts()] == [("user_1", "deletion-1")] * 2


async def test_a_second_deletion_gets_receipts_of_its_own_and_one_without_an_id_none(world: Billing) -> None:
    await eventful(world)
    for deletion_id in ("deletion-1", "deletion-2"):
        await world.erase(deletion_id=deletion_id)
    await world.erase("user_2", deletion_id=None)
    await world.remove()
    told = [(receipt.deletion_id, receipt.store) for receipt in await world.receipts()]
    assert sorted(told) == [(one, store) for one in ("deletion-1", "deletion-2") for store in ("billing", "revenuecat")]
    assert sum(count["subscribers"] for count in await counts(world, "revenuecat")) == 1
    assert not world.store.ledger.knows("user_2")


Late = Callable[[Billing], Awaitable[Any]]


async def _webhook(world: Billing) -> None:
    body = event_body(id="LATE", app_user_id="user_1", aliases=["user_1", ANONYMOUS], original_app_user_id=ANONYMOUS)
    for _ in range(2):
        answer = await world.post_webhook(body)
        assert (answer.status, answer.json) == (200, {"ok": True, "duplicate": False})


async def _webhook_about_the_anonymous_id_alone(world: Billing) -> None:
    assert (await world.post_webhook(event_body(id="ALONE", app_user_id=ANONYMOUS))).status == 200


async def _sync(world: Billing) -> None:
    assert (await world.api.post("/me/subscription/sync")).status == 401


async def _claim(world: Billing) -> None:
    assert (await world.api.post("/me/subscription/sync", {"appUserId": OTHER_ANONYMOUS})).status == 401


async def _reconcile(world: Billing) -> None:
    with pytest.raises(UserErased):
        await world.refresher.reconcile("user_1")


LATE: list[Late] = [_webhook, _webhook_about_the_anonymous_id_alone, _sync, _claim, _reconcile]


def calls_about_others_than(world: Billing, user_id: str) -> int:
    return sum(count for path, count in world.store.faults.calls.items() if user_id not in path)


@pytest.mark.parametrize("late", LATE, ids=lambda late: late.__name__)
async def test_what_comes_late_makes_no_row_and_no_call(world: Billing, late: Late) -> None:
    await eventful(world)
    await world.erase()
    calls = calls_about_others_than(world, "user_2")
    await late(world)
    assert await world.work() == 0
    await world.later(days=2)
    assert await left(world) == {"subscriber_removal"}
    assert calls_about_others_than(world, "user_2") == calls
    assert len(await world.announced()) == 2


@pytest.mark.parametrize("late", [_webhook, _sync, _claim, _reconcile], ids=lambda late: late.__name__)
async def test_so_it_is_when_the_deletion_comes_before_anything_else_is_known(world: Billing, late: Late) -> None:
    await world.erase()
    await world.remove()
    await late(world)
    assert await world.work() == 0
    assert await left(world) == set()
    assert not world.store.ledger.knows("user_1")
    assert await counts(world, "revenuecat") == [{"subscribers": 0}]


async def test_a_reading_that_ends_after_the_deletion_is_dropped(world: Billing) -> None:
    await eventful(world)
    world.store.uncancel("user_1")
    await world.hear()
    (claim,) = await world.refresher.claim(1)
    readings = await world.refresher._read_all("user_1", ["user_1"], 5)
    await world.erase()
    async with world.service.database.transaction() as uow:
        with pytest.raises(UserErased):
            await commands.take_readings(uow, world.rules, "user_1", readings, claim.cause, 0)
    await world.refresher.make(claim)
    assert await left(world) == {"subscriber_removal"}
    # RevenueCat would make the customer anew if it were asked before the reading in hand is over
    assert await world.remove(seconds=50) == 0
    assert await world.remove(seconds=11) == 3


async def test_work_recorded_in_a_race_is_dropped_without_asking(world: Billing) -> None:
    await world.erase()
    async with world.service.database.transaction() as uow:
        await ask_to_read(uow, ["user_1"], RECONCILE)
    assert await world.work() == 1
    assert await world.count("refresh") == 0
    assert not world.store.ledger.knows("user_1")


async def test_a_webhook_that_names_others_too_is_kept_without_the_deleted(world: Billing) -> None:
    await eventful(world)
    await world.erase()
    body = event_body(
        id="MOVED",
        type="TRANSFER",
        transferred_from=["user_1", ANONYMOUS, {"not": "an id"}],
        presented_by="user_1",
        app_user_id={"not": "an id"},
        transferred_to=["user_3", OTHER_ANONYMOUS],
        subscriber_attributes={"$email": {"value": "one@example.test", "updated_at_ms": 1}},
    )
    assert (await world.post_webhook(body)).json == {"ok": True, "duplicate": False}
    assert (await world.post_webhook(body)).json == {"ok": True, "duplicate": True}
    assert await left(world, "user_1", ANONYMOUS, "one@example.test") == {"subscriber_removal"}
    (kept,) = await world.rows("SELECT body, received_at FROM billing.webhook_event WHERE id = 'MOVED'")
    assert parse_notice(kept["body"], kept["received_at"]).sides == (("user_3", OTHER_ANONYMOUS),)
    assert await world.work() == 1
    assert world.store.ledger.knows("user_3")


async def test_a_webhook_under_way_is_waited_for_and_one_that_comes_now_waits(world: Billing) -> None:
    notice = parse_notice(event_body(app_user_id="user_1"), world.clock())
    later = parse_notice(event_body(id="E2", app_user_id="user_1"), world.clock())
    database = world.service.database
    async with database.transaction() as uow:
        assert await commands.take_notice(uow, notice, event_body(app_user_id="user_1"))
        deleting = asyncio.create_task(world.erase())
        await waiting_for_a_lock(world.database_url)
    await deleting
    assert await left(world) == {"subscriber_removal"}

    async with database.transaction() as uow:
        await erasure.erase_user(uow, "user_1", "deletion-2")

        async def hear() -> None:
            async with database.transaction() as other:
                await commands.take_notice(other, later, event_body(id="E2", app_user_id="user_1"))

        hearing = asyncio.create_task(hear())
        await waiting_for_a_lock(world.database_url)
    await hearing
    assert await left(world) == {"subscriber_removal"}


async def test_whatever_happens_at_once_nothing_is_left(world: Billing) -> None:
    for number in range(8):
        user_id = f"user_x{number}"
        world.store.purchase(user_id)
        webhooks = [event_body(id=f"{user_id}-{each}", app_user_id=user_id) for each in range(4)]
        api = world.api.signed_in_as(user_id)
        answers = await asyncio.gather(
            *(world.post_webhook(body) for body in webhooks),
            *(api.post("/me/subscription/sync") for _ in range(2)),
            world.erase(user_id, f"deletion-{number}"),
            world.work(),
            world.post_webhook(webhooks[0]),
        )
        assert {answer.status for answer in answers if hasattr(answer, "status")} <= {200, 401}
        await world.work()
    found = await tables_naming(world.database_url, "billing", ["user_x"], kept=(*KEPT, "subscriber_removal"))
    assert found == set()


async def test_a_deleted_users_token_opens_no_route(world: Billing) -> None:
    await world.erase()
    assert unguarded(world.service.app) == {"/me/subscription/sync", "/webhooks/revenuecat"}
    tried = 0
    for route in routes(world.service.app):
        for method in route.methods or ():
            if route.path != "/webhooks/revenuecat":
                answer = await world.api.request(method, route.path)
                assert (answer.status, answer.json["code"]) == (401, "UNAUTHORIZED"), route.path
                assert (await world.api.signed_in_as("user_2").request(method, route.path)).status == 200
                tried += 1
    assert tried == 4


async def test_support_is_told_that_the_account_was_deleted(world: Billing, capsys: pytest.CaptureFixture[str]) -> None:
    await world.erase()
    assert await explain(world.process(), world.rules, "user_1") == 1
    assert await reconcile(world.process(), world.rules, "user_1") == 1
    shown = capsys.readouterr().out
    assert "user_1: the account was deleted at 2026-09-01T10:00:00.000Z" in shown
    assert "it is not read any more" in shown


FAILING: list[dict[str, Any]] = [
    {"kind": "unavailable"},
    {"kind": "error", "status": 500},
    {"kind": "error", "status": 423},
    {"kind": "html"},
    {"kind": "empty"},
    {"kind": "redirect"},
    {"kind": "cut", "times": 2},
]


async def test_a_deletion_that_fails_is_asked_again_until_it_is_done(world: Billing) -> None:
    await eventful(world)
    await world.erase()
    for fault in FAILING:
        world.store.faults.fail_next(**fault)
        assert await world.remove(minutes=10) == 1, fault
        assert world.store.ledger.knows("user_1"), fault
        assert await counts(world, "revenuecat") == []
    assert await world.remove(seconds=1) == 0
    assert await world.remove(minutes=10) == 3
    assert await counts(world, "revenuecat") == [{"subscribers": 1}]
    assert await left(world) == set()


async def test_it_waits_as_long_as_the_provider_asks(world: Billing) -> None:
    await world.erase()
    world.store.faults.fail_next("rate_limited", retry_after=120)
    assert await world.remove() == 1
    assert await world.remove(seconds=119) == 0
    assert await world.remove(seconds=2) == 2
    assert await counts(world, "revenuecat") == [{"subscribers": 0}]


async def test_a_refused_key_is_an_alarm_and_loses_nothing(world: Billing) -> None:
    await eventful(world)
    await world.erase()
    key, world.store.api_key = world.store.api_key, "another"
    for _ in range(3):
        assert await world.remove(minutes=10) == 1
    assert REGISTRY.get_sample_value("billing_revenuecat_key_refused") == 1
    world.store.api_key = key
    assert await world.remove(minutes=10) == 3
    assert REGISTRY.get_sample_value("billing_revenuecat_key_refused") == 0
    assert await counts(world, "revenuecat") == [{"subscribers": 1}]


async def test_a_deletion_whose_answer_was_lost_is_counted(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    await world.erase()
    world.clock.forward(seconds=6)
    async with world.service.database.transaction() as uow:
        removal = await erasure.next_removal(uow)
    assert removal is not None
    world.store.ledger.forget("user_1")  # done, and then the worker was gone
    assert await world.remove(seconds=59) == 0
    assert await world.remove(seconds=1) == 2
    assert await counts(world, "revenuecat") == [{"subscribers": 1}]


async def test_an_id_the_api_never_takes_ends_the_matter(world: Billing) -> None:
    long = "user_" + "x" * 120
    await world.erase(long)
    assert await world.remove() == 2
    assert await counts(world, "revenuecat") == [{"subscribers": 0}]


async def test_a_customer_shared_with_another_account_is_left_alone(world: Billing) -> None:
    world.store.purchase("user_2")
    body = event_body(app_user_id="user_1", original_app_user_id="user_2", aliases=["user_1", "user_2", ANONYMOUS])
    await world.post_webhook(body)
    await world.work()
    await world.erase()
    calls = dict(world.store.faults.calls)
    assert await world.remove() == 1
    assert dict(world.store.faults.calls) == calls
    assert await counts(world, "revenuecat") == [{"subscribers": 0}]
    await world.erase("user_2", "deletion-2")  # nobody else is left
    await world.remove()
    assert not world.store.ledger.knows("user_2")


async def test_what_was_transferred_away_stays_with_its_new_owner(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.store.transfer("user_1", "user_2")
    await world.hear_and_work()
    await world.erase()
    await world.remove()
    assert not world.store.ledger.knows("user_1")
    await world.later(days=1)
    assert await world.plan("user_2") == "pro"


async def test_of_claims_only_those_borne_out_are_deleted(world: Billing) -> None:
    for anonymous in (ANONYMOUS, OTHER_ANONYMOUS):
        world.store.purchase(anonymous)
    await world.api.post("/me/subscription/sync", {"appUserId": ANONYMOUS})
    world.store.faults.fail_next("unavailable")
    await world.api.post("/me/subscription/sync", {"appUserId": OTHER_ANONYMOUS})
    await world.erase()
    await world.remove()
    assert not world.store.ledger.knows(ANONYMOUS)
    assert world.store.ledger.knows(OTHER_ANONYMOUS)
    assert await counts(world, "revenuecat") == [{"subscribers": 2}]


async def test_a_new_table_about_users_must_be_erased_and_copied_too(world: Billing) -> None:
    """Whoever adds one adds it to ``erasure.py``, to ``export.py`` and here."""
    erased = {"alias", "change", "customer", "mention", "provisional_grant", "refresh", "snapshot"}
    found = await tables_about_users(world.database_url, "billing")
    assert found == erased | {"subscriber_removal", "erased_user"}
