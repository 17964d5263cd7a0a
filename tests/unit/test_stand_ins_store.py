"""The store of the all-in-one run: REST answers and webhooks have the form of the recorded ones."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from embedded.revenuecat import RevenueCatStandIn
from embedded.store_ledger import Event, StoreRefusal
from embedded.store_purchases import months_later
from tests.support.hand_clock import START, HandClock

SAMPLES = Path(__file__).parent.parent / "fixtures" / "revenuecat"
ALLOWED = {"Authorization": "Bearer sk_stand_in"}
PLAY_PRODUCT = "app_pro:monthly"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def store(clock: HandClock) -> AsyncIterator[RevenueCatStandIn]:
    async with RevenueCatStandIn(clock) as running:
        yield running


def sample(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return content


async def ask(store: RevenueCatStandIn, user_id: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
    url = f"{store.url}/v1/subscribers/{user_id}"
    async with aiohttp.ClientSession() as http, http.request(method, url, headers=ALLOWED) as answer:
        return answer.status, await answer.json()


async def subscriber(store: RevenueCatStandIn, user_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = (await ask(store, user_id))[1]["subscriber"]
    return shown


async def pro_until(store: RevenueCatStandIn, user_id: str) -> datetime | None:
    until = (await subscriber(store, user_id))["entitlements"]["pro"]["expires_date"]
    return datetime.fromisoformat(until) if until else None


def form(value: Any) -> Any:
    """The names of all members, all the way down, with ids that name products left out."""
    if not isinstance(value, dict):
        return type(value).__name__ if isinstance(value, list) else None
    return {
        ("*" if "." in name or name.startswith(("app_", "entrain_")) else name): form(value[name]) for name in value
    }


async def test_an_active_subscription_has_the_form_of_the_recorded_answer(store: RevenueCatStandIn) -> None:
    store.purchase("user_1")
    status, answer = await ask(store, "user_1")
    assert status == 200
    assert form(answer) == form(sample("rest_v1_composed__active"))


async def test_play_answers_split_the_product_from_its_plan(store: RevenueCatStandIn) -> None:
    (event,) = store.purchase("user_1", PLAY_PRODUCT)
    shown = await subscriber(store, "user_1")
    recorded = sample("rest_v1_composed__play_product_plan_identifier")["subscriber"]
    assert form(shown["subscriptions"]) == form({"app_pro": recorded["subscriptions"]["app_pro"]})
    assert form(shown["entitlements"]) == form(recorded["entitlements"])
    assert shown["entitlements"]["pro"]["product_identifier"] == "app_pro"
    assert event["product_id"] == PLAY_PRODUCT


async def test_lifetime_wins_over_an_expired_subscription(store: RevenueCatStandIn, clock: HandClock) -> None:
    store.purchase("user_1", "app_lifetime")
    store.purchase("user_1", "app_monthly")
    clock.forward(days=60)
    shown = await subscriber(store, "user_1")
    recorded = sample("rest_v1_composed__lifetime_plus_expired_sub")["subscriber"]
    assert shown["entitlements"]["pro"]["expires_date"] is None
    assert shown["entitlements"]["pro"]["product_identifier"] == "app_lifetime"
    (bought,) = shown["non_subscriptions"]["app_lifetime"]
    assert set(bought) == set(recorded["non_subscriptions"]["com.example.app.lifetime"][0])
    assert set(shown["subscriptions"]) == {"app_monthly"}


async def test_credits_unlock_nothing(store: RevenueCatStandIn) -> None:
    (event,) = store.purchase("user_1", "app_credits")
    assert (await subscriber(store, "user_1"))["entitlements"] == {}
    assert (event["type"], event["entitlement_ids"]) == ("NON_RENEWING_PURCHASE", None)


async def test_asking_for_a_stranger_creates_a_customer_once(store: RevenueCatStandIn) -> None:
    first, second = await ask(store, "%24RCAnonymousID%3Aabc"), await ask(store, "%24RCAnonymousID%3Aabc")
    assert (first[0], second[0]) == (201, 200)
    assert first[1]["subscriber"]["original_app_user_id"] == "$RCAnonymousID:abc"
    assert form(first[1]) == form(sample("rest_v1_composed__transferred_away_empty"))


async def test_a_wrong_key_is_401_and_an_endless_id_400(store: RevenueCatStandIn) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{store.url}/v1/subscribers/user_1") as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, 7225)
    status, body = await ask(store, "u" * 101)
    assert (status, body["code"]) == (400, 7256)
    assert not store.ledger.knows("user_1")


async def test_request_dates_never_repeat_or_go_back(store: RevenueCatStandIn, clock: HandClock) -> None:
    dates = []
    for step in (0, 0, -5, 1):
        clock.forward(seconds=step)
        dates.append((await ask(store, "user_1"))[1]["request_date_ms"])
    assert dates == sorted(set(dates))


async def test_deleting_a_customer_forgets_every_alias(store: RevenueCatStandIn) -> None:
    store.log_in("$RCAnonymousID:1", "user_1")
    assert await ask(store, "user_1", "DELETE") == (200, {"app_user_id": "user_1", "deleted": True})
    status, body = await ask(store, "$RCAnonymousID:1", "DELETE")
    assert (status, body["code"]) == (404, 7259)


EVENTS: list[tuple[str, Callable[[RevenueCatStandIn], list[Event]]]] = [
    ("composed__01_initial_purchase_trial_app_store", lambda store: store.purchase("user_1", trial=timedelta(days=7))),
    ("composed__02_renewal_trial_conversion", lambda store: store.renew("user_1")),
    ("composed__03_cancellation_unsubscribe_keeps_access", lambda store: store.cancel("user_1")),
    ("composed__04_uncancellation", lambda store: store.uncancel("user_1")),
    ("composed__05_billing_issue_with_grace", lambda store: store.billing_issue("user_1")),
    ("composed__02_renewal_trial_conversion", lambda store: store.renew("user_1")),
    ("composed__09_refund_cancellation_customer_support", lambda store: store.refund("user_1")),
    ("composed__15_transfer_identified_to_identified", lambda store: store.transfer("user_1", "user_2")),
    ("composed__17_non_renewing_lifetime", lambda store: store.purchase("user_1", "app_lifetime")),
    ("composed__10_expiration_after_refund", lambda store: store.expire("user_2")),
]


def test_every_event_has_the_members_of_the_recorded_one(clock: HandClock) -> None:
    store = RevenueCatStandIn(clock)
    ids = set()
    for name, change in EVENTS:
        recorded, event = sample(name)["event"], change(store)[0]
        assert (event["type"], set(event)) == (recorded["type"], set(recorded)), name
        assert {key for key, value in event.items() if value is None} <= {
            key for key, value in recorded.items() if value is None
        } | {"renewal_number"}, name
        ids.add(event["id"])
    assert len(ids) == len(EVENTS)


async def test_a_trial_turns_into_a_paid_period_and_renews_from_its_end(
    store: RevenueCatStandIn, clock: HandClock
) -> None:
    (bought,) = store.purchase("user_1", trial=timedelta(days=7))
    assert (bought["period_type"], bought["price"], bought["renewal_number"]) == ("TRIAL", 0.0, 1)
    clock.forward(days=6, hours=23)
    (renewed,) = store.renew("user_1")
    assert (renewed["is_trial_conversion"], renewed["price"], renewed["renewal_number"]) == (True, 9.99, 2)
    assert await pro_until(store, "user_1") == months_later(START + timedelta(days=7), 1)
    assert renewed["transaction_id"] != renewed["original_transaction_id"] == bought["transaction_id"]


async def test_cancelling_keeps_access_and_a_refund_ends_it(store: RevenueCatStandIn, clock: HandClock) -> None:
    store.purchase("user_1")
    end = await pro_until(store, "user_1")
    clock.forward(days=3)
    store.cancel("user_1")
    assert await pro_until(store, "user_1") == end
    cancellation, expiration = store.refund("user_1")
    assert await pro_until(store, "user_1") == clock()
    assert (cancellation["cancel_reason"], cancellation["price"]) == ("CUSTOMER_SUPPORT", -9.99)
    assert expiration["expiration_reason"] == "CUSTOMER_SUPPORT"
    assert cancellation["expiration_at_ms"] == int(clock().timestamp() * 1000)


async def test_a_refunded_lifetime_purchase_is_gone(store: RevenueCatStandIn) -> None:
    store.purchase("user_1", "app_lifetime")
    store.refund("user_1")
    assert (await subscriber(store, "user_1"))["entitlements"] == {}


async def test_a_failed_charge_gives_grace_and_recovery_keeps_the_billing_day(
    store: RevenueCatStandIn, clock: HandClock
) -> None:
    store.purchase("user_1")
    end = await pro_until(store, "user_1")
    assert end is not None
    clock.forward(days=31)
    issue, cancellation = store.billing_issue("user_1")
    shown = (await subscriber(store, "user_1"))["subscriptions"]["entrain_pro_monthly"]
    assert issue["event_timestamp_ms"] == cancellation["event_timestamp_ms"]
    assert datetime.fromisoformat(shown["grace_period_expires_date"]) == end + timedelta(days=16)
    clock.forward(days=2)
    store.renew("user_1")
    shown = (await subscriber(store, "user_1"))["subscriptions"]["entrain_pro_monthly"]
    assert datetime.fromisoformat(shown["purchase_date"]) == end
    assert (shown["billing_issues_detected_at"], shown["grace_period_expires_date"]) == (None, None)


async def test_who_lapsed_resubscribes_by_renewal_but_anew_on_play(store: RevenueCatStandIn, clock: HandClock) -> None:
    for product in ("app_monthly", PLAY_PRODUCT):
        store.purchase("user_1", product)
    with pytest.raises(StoreRefusal, match="until"):
        store.purchase("user_1", PLAY_PRODUCT)
    clock.forward(days=40)
    assert [store.purchase("user_1", product)[0]["type"] for product in ("app_monthly", PLAY_PRODUCT)] == [
        "RENEWAL",
        "INITIAL_PURCHASE",
    ]
    assert await pro_until(store, "user_1") == months_later(clock(), 1)


async def test_a_transfer_moves_everything_and_names_every_alias(store: RevenueCatStandIn) -> None:
    store.log_in("$RCAnonymousID:1", "user_1")
    store.purchase("user_1")
    (event,) = store.transfer("user_1", "user_2")
    assert event["transferred_from"] == ["$RCAnonymousID:1", "user_1"]
    assert event["transferred_to"] == ["user_2"]
    assert (await subscriber(store, "user_1"))["entitlements"] == {}
    assert await pro_until(store, "user_2") == months_later(START, 1)
    with pytest.raises(StoreRefusal, match="nothing"):
        store.transfer("user_1", "user_3")


async def test_logging_in_gives_an_anonymous_purchase_to_the_user(store: RevenueCatStandIn) -> None:
    store.purchase("$RCAnonymousID:1")
    assert store.log_in("$RCAnonymousID:1", "user_1") == []
    assert await pro_until(store, "user_1") == months_later(START, 1)
    store.purchase("$RCAnonymousID:2", "app_lifetime")
    store.log_in("$RCAnonymousID:2", "user_1")
    assert await pro_until(store, "user_1") == months_later(START, 1)


async def test_logging_in_to_an_account_that_is_there_makes_one_customer_of_both(store: RevenueCatStandIn) -> None:
    store.purchase("user_1", "app_credits")
    store.purchase("$RCAnonymousID:1")
    store.log_in("$RCAnonymousID:1", "user_1")
    (event,) = store.cancel("$RCAnonymousID:1")
    assert event["aliases"] == ["user_1", "$RCAnonymousID:1"]
    shown = [await subscriber(store, user_id) for user_id in ("user_1", "%24RCAnonymousID%3A1")]
    assert shown[0] == shown[1]
    assert (set(shown[0]["non_subscriptions"]), set(shown[0]["entitlements"])) == ({"app_credits"}, {"pro"})


async def test_sandbox_and_promotional_purchases_say_so(store: RevenueCatStandIn) -> None:
    (bought,) = store.purchase("user_1", sandbox=True)
    (granted,) = store.grant("user_2")
    assert (bought["environment"], granted["environment"]) == ("SANDBOX", "PRODUCTION")
    assert (granted["store"], granted["type"], "app_id" in granted) == ("PROMOTIONAL", "NON_RENEWING_PURCHASE", False)
    assert (await subscriber(store, "user_1"))["subscriptions"]["entrain_pro_monthly"]["is_sandbox"] is True


@pytest.mark.parametrize("action", ["renew", "cancel", "uncancel", "refund", "expire", "billing_issue"])
def test_nothing_can_be_done_without_a_purchase(clock: HandClock, action: str) -> None:
    store = RevenueCatStandIn(clock)
    with pytest.raises(StoreRefusal, match="user_1"):
        getattr(store, action)("user_1")
    assert not store.ledger.knows("user_1")


def test_cancelling_twice_and_uncancelling_without_a_cancellation_are_refused(clock: HandClock) -> None:
    store = RevenueCatStandIn(clock)
    store.purchase("user_1")
    with pytest.raises(StoreRefusal, match="not cancelled"):
        store.uncancel("user_1")
    store.cancel("user_1")
    with pytest.raises(StoreRefusal, match="already"):
        store.cancel("user_1")


async def test_stale_reads_show_the_state_before_the_last_change_under_a_fresh_date(
    store: RevenueCatStandIn, clock: HandClock
) -> None:
    store.purchase("user_1")
    _, before = await ask(store, "user_1")
    clock.forward(days=1)
    store.refund("user_1")
    store.stale_reads(2)
    stale = [(await ask(store, "user_1"))[1] for _ in range(2)]
    assert [answer["subscriber"]["entitlements"] for answer in stale] == [before["subscriber"]["entitlements"]] * 2
    assert stale[0]["request_date_ms"] > before["request_date_ms"]
    assert await pro_until(store, "user_1") == clock()


async def test_the_rest_api_can_be_busy_or_broken(store: RevenueCatStandIn) -> None:
    store.faults.fail_next("rate_limited", retry_after=7)
    store.faults.fail_next("error", status=502)
    async with aiohttp.ClientSession(headers=ALLOWED) as http:
        async with http.get(f"{store.url}/v1/subscribers/user_1") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        async with http.get(f"{store.url}/v1/subscribers/user_1") as answer:
            assert answer.status == 502
    assert (await ask(store, "user_1"))[0] == 201


async def test_customers_and_waiting_webhooks_outlive_a_restart(tmp_path: Path, clock: HandClock) -> None:
    address = "http://127.0.0.1:9/webhook"
    before = RevenueCatStandIn(clock, tmp_path, webhook_url=address, webhook_secret="s")
    before.log_in("$RCAnonymousID:1", "user_1")
    (event,) = before.purchase("user_1", trial=timedelta(days=3))
    before.cancel("user_1")
    after = RevenueCatStandIn(clock, tmp_path, webhook_url=address, webhook_secret="s")
    assert after.ledger.subscriber("$RCAnonymousID:1") == before.ledger.subscriber("user_1")
    assert [one.kind for one in after.webhooks.waiting] == ["INITIAL_PURCHASE", "CANCELLATION"]
    assert json.loads(after.webhooks.waiting[0].body)["event"] == event
    after.uncancel("user_1")


def test_webhooks_without_any_secret_are_refused(clock: HandClock) -> None:
    with pytest.raises(ValueError, match="webhook_secret"):
        RevenueCatStandIn(clock, webhook_url="http://127.0.0.1:9/webhook")


def test_months_end_on_the_last_day_where_there_is_no_such_day() -> None:
    assert [months_later(datetime(2027, 1, 31), months).day for months in (1, 2, 13)] == [28, 31, 29]
