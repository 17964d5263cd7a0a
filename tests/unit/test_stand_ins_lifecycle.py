"""What happens to purchases in the stand-in store as time passes, and that billing reads it as the store means it."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from billing.entitlement import NOBODY, Rules, decide
from billing.snapshot import parse_snapshot
from embedded.store_documents import milliseconds
from embedded.store_ledger import StoreRefusal
from embedded.store_lifecycle import LivingLedger
from embedded.store_purchases import months_later
from tests.support.hand_clock import START, HandClock
from tests.year.truth import Standing, standing

RULES = Rules(frozenset({"pro"}), NOBODY)
USER = "user_1"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(clock: HandClock) -> LivingLedger:
    return LivingLedger(clock)


def of(ledger: LivingLedger, clock: HandClock) -> Standing:
    return standing([ledger.customer(USER)[0].purchases], clock())


def live(ledger: LivingLedger, clock: HandClock, **by: float) -> list[str]:
    """Time passes, and the store does in it what is due, each at its own moment; the events of it."""
    until, kinds = clock() + timedelta(**by), []
    while (at := ledger.next_change_at(USER)) is not None and at <= until:
        clock.now = at
        kinds += [event["type"] for event in ledger.pass_time(USER)]
    clock.now = until
    return kinds


def test_a_subscription_renews_by_itself_and_a_cancelled_one_ends(ledger: LivingLedger, clock: HandClock) -> None:
    ledger.purchase(USER)
    assert live(ledger, clock, days=75) == ["RENEWAL", "RENEWAL"]
    ledger.cancel(USER)
    assert live(ledger, clock, days=365) == ["EXPIRATION"]
    assert of(ledger, clock) == Standing(status="expired")


def test_a_failed_charge_runs_through_its_grace_and_recovers_by_hand(ledger: LivingLedger, clock: HandClock) -> None:
    ledger.purchase(USER)
    ledger.decline(USER, timedelta(days=16))
    assert live(ledger, clock, days=31) == ["BILLING_ISSUE", "CANCELLATION"]
    assert of(ledger, clock).status == "grace"
    assert live(ledger, clock, days=30) == ["EXPIRATION"]
    ledger.renew(USER)
    assert of(ledger, clock) == Standing("pro", "active", months_later(clock(), 1), True)
    assert live(ledger, clock, days=32) == ["RENEWAL"]


def test_without_grace_a_failed_charge_is_the_end(ledger: LivingLedger, clock: HandClock) -> None:
    ledger.purchase(USER)
    ledger.decline(USER)
    assert live(ledger, clock, days=365) == ["BILLING_ISSUE", "CANCELLATION", "EXPIRATION"]


def test_a_pause_begins_at_the_end_of_the_period_and_ends_by_itself(ledger: LivingLedger, clock: HandClock) -> None:
    ledger.purchase(USER, "app_pro:monthly")
    (paused,) = ledger.pause(USER, START + timedelta(days=60))
    assert (paused["type"], paused["auto_resume_at_ms"]) == (
        "SUBSCRIPTION_PAUSED",
        milliseconds(START + timedelta(days=60)),
    )
    assert of(ledger, clock).plan == "pro"
    assert live(ledger, clock, days=59) == ["EXPIRATION"]
    assert of(ledger, clock).plan == "free"
    assert live(ledger, clock, days=1) == ["RENEWAL"]
    assert of(ledger, clock).plan == "pro"
    with pytest.raises(StoreRefusal):
        LivingLedger(clock).pause(USER, clock())


@pytest.mark.parametrize(
    "product, other, store, kind",
    [
        ("pro_monthly", "pro_annual", "app_store", "RENEWAL"),
        ("app_pro:monthly", "app_premium:annual", "play_store", "INITIAL_PURCHASE"),
        ("prod_monthly", "prod_annual", "stripe", "RENEWAL"),
    ],
)
def test_a_product_changes_now_or_at_the_next_renewal(product: str, other: str, store: str, kind: str) -> None:
    for deferred in (False, True):
        clock = HandClock()
        ledger = LivingLedger(clock)
        ledger.purchase(USER, product, store=store)
        clock.forward(days=3)
        kinds = [event["type"] for event in ledger.change_product(USER, other, deferred=deferred)]
        assert kinds == (["PRODUCT_CHANGE"] if deferred else ["PRODUCT_CHANGE", kind])
        if deferred:
            assert live(ledger, clock, days=28) == ["RENEWAL"]
        (paid,) = ledger.customer(USER)[0].purchases
        assert (paid.product_id, of(ledger, clock).plan) == (other, "pro")


def test_a_refund_can_be_reversed_while_its_period_lasts(ledger: LivingLedger, clock: HandClock) -> None:
    ledger.purchase(USER)
    before = of(ledger, clock)
    clock.forward(days=3)
    ledger.refund(USER)
    assert of(ledger, clock).plan == "free"
    assert ledger.next_change_at(USER) is None
    (event,) = ledger.reverse_refund(USER)
    assert (event["type"], of(ledger, clock)) == ("REFUND_REVERSED", before)
    with pytest.raises(StoreRefusal):
        ledger.reverse_refund(USER)


def test_a_temporary_grant_is_confirmed_or_ends_within_a_day(clock: HandClock) -> None:
    for confirmed in (True, False):
        ledger = LivingLedger(clock)
        (event,) = ledger.grant_unconfirmed(USER, "pro_monthly")
        shown = ledger.subscriber(USER)
        assert (event["type"], "original_app_user_id" in event) == ("TEMPORARY_ENTITLEMENT_GRANT", False)
        assert (set(shown["entitlements"]), shown["subscriptions"]) == ({"pro"}, {})
        if confirmed:
            (event,) = ledger.confirm(USER)
            assert event["type"] == "INITIAL_PURCHASE"
            assert of(ledger, clock).until == months_later(clock(), 1)
        else:
            assert live(ledger, clock, days=2) == ["EXPIRATION"]


def test_more_time_is_given_and_promotional_time_is_taken_back(ledger: LivingLedger, clock: HandClock) -> None:
    ledger.purchase(USER)
    end = of(ledger, clock).until
    assert end is not None
    ledger.extend(USER, timedelta(days=5))
    assert of(ledger, clock).until == end + timedelta(days=5)
    ledger.grant(USER, clock() + timedelta(days=300))
    assert of(ledger, clock).until == clock() + timedelta(days=300)
    assert [event["type"] for event in ledger.revoke_grants(USER)] == ["CANCELLATION", "EXPIRATION"]
    assert of(ledger, clock).until == end + timedelta(days=5)


def test_of_two_subscriptions_to_one_product_the_longer_one_is_kept(ledger: LivingLedger, clock: HandClock) -> None:
    ledger.purchase("$RCAnonymousID:1")
    clock.forward(days=1)
    ledger.purchase(USER)
    longest = of(ledger, clock)
    ledger.log_in("$RCAnonymousID:1", USER)
    assert (len(ledger.customer(USER)[0].purchases), of(ledger, clock)) == (1, longest)


ACTS: dict[str, Callable[[LivingLedger, random.Random], object]] = {
    "purchase": lambda ledger, chance: ledger.purchase(
        USER, chance.choice(["pro_monthly", "pro_annual", "app_pro:monthly", "pro_lifetime", "credits"])
    ),
    "trial": lambda ledger, chance: ledger.purchase(USER, "trial_monthly", trial=timedelta(days=7)),
    "cancel": lambda ledger, _: ledger.cancel(USER),
    "uncancel": lambda ledger, _: ledger.uncancel(USER),
    "refund": lambda ledger, _: ledger.refund(USER),
    "reverse": lambda ledger, _: ledger.reverse_refund(USER),
    "decline": lambda ledger, chance: ledger.decline(USER, chance.choice([None, timedelta(days=16)])),
    "renew": lambda ledger, _: ledger.renew(USER),
    "change": lambda ledger, chance: ledger.change_product(USER, "pro_weekly", deferred=chance.random() < 0.5),
    "extend": lambda ledger, _: ledger.extend(USER, timedelta(days=4)),
    "grant": lambda ledger, chance: ledger.grant(USER),
    "revoke": lambda ledger, _: ledger.revoke_grants(USER),
    "unconfirmed": lambda ledger, _: ledger.grant_unconfirmed(USER, "later_monthly"),
    "confirm": lambda ledger, _: ledger.confirm(USER),
}
lives = st.lists(st.tuples(st.sampled_from(sorted(ACTS)), st.integers(0, 40 * 24)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(lives, st.integers(0, 2**32))
@example([("purchase", 912), ("extend", 960), ("unconfirmed", 0)], 127)  # both end at one instant
def test_whatever_a_person_does_billing_reads_what_the_stores_books_say(acts: list[tuple[str, int]], seed: int) -> None:
    clock, chance = HandClock(), random.Random(seed)
    ledger = LivingLedger(clock)
    for act, hours in acts:
        try:
            ACTS[act](ledger, chance)
        except StoreRefusal:
            continue
        for _ in range(2):
            document = {"request_date_ms": milliseconds(clock()), "subscriber": ledger.subscriber(USER)}
            state = decide([parse_snapshot(document)], RULES, USER, clock())
            pro = state.plan == "pro"
            read = Standing(state.plan, state.status, state.expires_at if pro else None, state.will_renew)
            assert read == of(ledger, clock), (act, hours)
            live(ledger, clock, hours=hours)


@settings(max_examples=100, deadline=None)
@given(st.permutations(["pro_monthly", "app_pro:monthly", "pro_annual", "pro_lifetime"]), st.integers(1, 3))
def test_refunding_one_product_never_takes_what_another_gives(products: list[str], kept: int) -> None:
    clock = HandClock()
    ledger = LivingLedger(clock)
    for product in products:
        ledger.purchase(USER, product)
    for product in products[kept:]:
        ledger.refund(USER, product)
        document = {"request_date_ms": 1, "subscriber": ledger.subscriber(USER)}
        assert decide([parse_snapshot(document)], RULES, USER, clock()).plan == "pro"
    for product in products[:kept]:
        ledger.refund(USER, product)
    document = {"request_date_ms": 1, "subscriber": ledger.subscriber(USER)}
    assert decide([parse_snapshot(document)], RULES, USER, clock()).plan == "free"
