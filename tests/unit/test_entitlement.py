"""The laws of access: what a snapshot gives, to whom, and until when."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from billing.entitlement import EVERYBODY, NOBODY, Rules, SandboxUsers, SubscriptionState, changes_at, decide
from billing.snapshot import Entitlement, MalformedSnapshot, Purchase, Snapshot, parse_snapshot
from tests.support.billing import FIXTURES

NOW = datetime(2026, 9, 20, 8, 0, tzinfo=UTC)
RULES = Rules(frozenset({"pro", "premium"}), NOBODY)
NAMES = ("pro", "premium", "extras")
PRODUCTS = ("monthly", "annual", "app_pro", "lifetime")


def fixture(name: str) -> Snapshot:
    return parse_snapshot(json.loads((FIXTURES / f"rest_v1_composed__{name}.json").read_text()))


def at(snapshot: Snapshot, now: datetime, rules: Rules = RULES, user_id: str = "user_1") -> SubscriptionState:
    return decide([snapshot], rules, user_id, now)


def document(**members: Any) -> dict[str, Any]:
    return {"request_date_ms": 1, "subscriber": members}


# --- laws ---

moments = st.integers(-90, 90).map(lambda days: NOW + timedelta(days=days))


@st.composite
def entitlements(draw: st.DrawFn, name: str) -> tuple[Entitlement, Purchase | None]:
    """One entitlement and the purchase behind it, if the snapshot shows it."""
    product = draw(st.sampled_from(PRODUCTS))
    expires = None if product == "lifetime" else draw(moments)
    grace = draw(st.none() | moments) if expires else None
    shown = Entitlement(name, product, None, NOW - timedelta(days=100), expires, grace)
    bought = Purchase(
        product_id=product,
        plan_id=None,
        store=draw(st.sampled_from(["app_store", "play_store", "promotional"])),
        sandbox=draw(st.booleans()),
        period_type="normal" if expires else "once",
        purchased_at=shown.purchased_at,
        expires_at=expires,
        grace_until=grace,
        unsubscribed_at=draw(st.none() | moments),
        billing_issue_at=draw(st.none() | moments),
    )
    return shown, draw(st.none() | st.just(bought))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    names = draw(st.sets(st.sampled_from(NAMES)))
    pairs = [draw(entitlements(name)) for name in sorted(names)]
    purchases = {bought.product_id: bought for _, bought in pairs if bought}
    return Snapshot(1, "user_1", tuple(shown for shown, _ in pairs), tuple(purchases.values()), None)


policies = st.sampled_from([NOBODY, EVERYBODY, SandboxUsers(frozenset({"user_1"})), SandboxUsers(frozenset({"x"}))])


def rules(sandbox: SandboxUsers) -> Rules:
    return Rules(RULES.pro, sandbox)


@given(st.lists(snapshots(), max_size=4), policies, st.randoms())
def test_the_order_of_snapshots_and_seeing_one_twice_changes_nothing(
    found: list[Snapshot], sandbox: SandboxUsers, chance: Any
) -> None:
    shuffled = [*found, *found]
    chance.shuffle(shuffled)
    assert decide(found, rules(sandbox), "user_1", NOW) == decide(shuffled, rules(sandbox), "user_1", NOW)


@given(snapshots(), policies, st.integers(1, 60), st.data())
def test_more_paid_time_never_takes_access(
    found: Snapshot, sandbox: SandboxUsers, days: int, data: st.DataObject
) -> None:
    ending = [one for one in found.entitlements if one.expires_at]
    assume(ending)
    chosen = data.draw(st.sampled_from(ending))
    assert chosen.expires_at is not None
    longer = replace(chosen, expires_at=chosen.expires_at + timedelta(days=days))
    extended = replace(found, entitlements=tuple(longer if one is chosen else one for one in found.entitlements))
    before, after = (at(one, NOW, rules(sandbox)) for one in (found, extended))
    assert (before.plan, after.plan) != ("pro", "free")
    if before.plan == after.plan == "pro" and after.expires_at is not None:
        assert before.expires_at is not None
        assert after.expires_at >= before.expires_at


@given(snapshots(), snapshots(), policies)
def test_what_another_customer_of_the_person_has_never_takes_access(
    one: Snapshot, other: Snapshot, sandbox: SandboxUsers
) -> None:
    both = decide([one, other], rules(sandbox), "user_1", NOW)
    alone = [decide([single], rules(sandbox), "user_1", NOW) for single in (one, other)]
    assert (both.plan == "pro") == any(state.plan == "pro" for state in alone)


@given(snapshots(), policies, st.data())
def test_a_refund_of_one_entitlement_takes_no_other(
    found: Snapshot, sandbox: SandboxUsers, data: st.DataObject
) -> None:
    if not found.entitlements:
        return
    refunded = data.draw(st.sampled_from(found.entitlements))
    moved = replace(refunded, expires_at=NOW, grace_until=None)
    after = replace(found, entitlements=tuple(moved if one is refunded else one for one in found.entitlements))
    given_before = {one.name for one in at(found, NOW, rules(sandbox)).entitlements}
    given_after = {one.name for one in at(after, NOW, rules(sandbox)).entitlements}
    assert given_after == given_before - {refunded.name}


@given(snapshots(), policies, st.lists(st.integers(0, 200 * 24), min_size=2, max_size=2))
def test_time_alone_takes_access_and_never_gives_it(found: Snapshot, sandbox: SandboxUsers, hours: list[int]) -> None:
    earlier, later = (NOW + timedelta(hours=one) for one in sorted(hours))
    first, second = at(found, earlier, rules(sandbox)), at(found, later, rules(sandbox))
    assert (first.plan, second.plan) != ("free", "pro")
    assert {one.name for one in second.entitlements} <= {one.name for one in first.entitlements}


@given(snapshots(), policies, st.floats(0, 0.999))
def test_between_two_announced_changes_nothing_changes(found: Snapshot, sandbox: SandboxUsers, share: float) -> None:
    change = changes_at([found], rules(sandbox), "user_1", NOW)
    if change is None:
        assert at(found, NOW, rules(sandbox)) == at(found, NOW + timedelta(days=4000), rules(sandbox))
    else:
        assert change > NOW
        assert at(found, NOW, rules(sandbox)) == at(found, NOW + (change - NOW) * share, rules(sandbox))


@given(snapshots())
def test_who_may_use_the_sandbox_has_at_least_what_the_others_have(found: Snapshot) -> None:
    strict, open_ = (at(found, NOW, rules(sandbox)) for sandbox in (NOBODY, EVERYBODY))
    assert {one.name for one in strict.entitlements} <= {one.name for one in open_.entitlements}
    assert strict.environment == "production"


@given(snapshots(), policies)
def test_a_plan_and_its_status_fit_together(found: Snapshot, sandbox: SandboxUsers) -> None:
    state = at(found, NOW, rules(sandbox))
    assert (state.plan == "pro") == (state.status in ("active", "grace"))
    assert (state.plan == "pro") == any(one.name in RULES.pro for one in state.entitlements)
    if state.plan == "pro":
        assert state.expires_at is None or state.expires_at > NOW
    if state.will_renew:
        assert state.renews_at is not None


# --- snapshots as the API gives them ---


def test_an_active_subscription_lasts_to_the_instant_of_its_end() -> None:
    snapshot, end = fixture("active"), datetime(2026, 10, 8, 10, 0, tzinfo=UTC)
    state = at(snapshot, NOW)
    assert (state.plan, state.status, state.expires_at, state.renews_at) == ("pro", "active", end, end)
    assert at(snapshot, end - timedelta(microseconds=1)).plan == "pro"
    assert (at(snapshot, end).plan, at(snapshot, end).status) == ("free", "expired")


def test_a_cancelled_subscription_keeps_access_and_does_not_renew() -> None:
    state = at(fixture("cancelled_still_active"), NOW)
    assert (state.plan, state.status, state.will_renew, state.renews_at) == ("pro", "active", False, None)


def test_in_grace_access_lasts_to_the_end_of_the_grace() -> None:
    snapshot = fixture("billing_issue_in_grace")
    inside = at(snapshot, datetime(2026, 10, 10, tzinfo=UTC))
    assert (inside.plan, inside.status, inside.will_renew) == ("pro", "grace", False)
    assert inside.expires_at == datetime(2026, 10, 24, 10, 0, tzinfo=UTC)
    assert at(snapshot, datetime(2026, 10, 24, 10, 0, tzinfo=UTC)).plan == "free"


def test_a_lifetime_purchase_outlives_an_expired_subscription() -> None:
    state = at(fixture("lifetime_plus_expired_sub"), NOW + timedelta(days=36500))
    assert (state.plan, state.expires_at, state.will_renew) == ("pro", None, False)


def test_a_refund_is_the_moved_end() -> None:
    state = at(fixture("refunded"), datetime(2026, 10, 15, 12, 5, tzinfo=UTC))
    assert (state.plan, state.status) == ("free", "expired")


def test_a_customer_everything_was_transferred_away_from_has_nothing() -> None:
    assert at(fixture("transferred_away_empty"), NOW) == SubscriptionState()


def test_a_play_product_is_found_by_its_subscription_and_named_with_its_base_plan() -> None:
    state = at(fixture("play_product_plan_identifier"), NOW)
    assert (state.plan, state.store, state.product_id) == ("pro", "play_store", "app_pro:monthly")


def test_the_sandbox_flag_of_a_play_purchase_is_found_whatever_the_key_is_called() -> None:
    entry = {"expires_date": "2027-01-01T00:00:00Z", "is_sandbox": True, "store": "play_store"}
    shown = {"expires_date": "2027-01-01T00:00:00Z", "product_identifier": "app_pro", "product_plan_identifier": "year"}
    for key in ("app_pro", "app_pro:year"):
        snapshot = parse_snapshot(document(entitlements={"pro": shown}, subscriptions={key: entry}))
        assert at(snapshot, NOW).plan == "free"
        assert at(snapshot, NOW, rules(EVERYBODY)).environment == "sandbox"


@pytest.mark.parametrize(
    "policy, plan", [(NOBODY, "free"), (EVERYBODY, "pro"), (SandboxUsers(frozenset({"u"})), "free")]
)
def test_sandbox_purchases_count_only_for_whom_the_policy_names(policy: SandboxUsers, plan: str) -> None:
    assert at(fixture("sandbox_only"), NOW, rules(policy)).plan == plan
    assert at(fixture("sandbox_only"), NOW, rules(SandboxUsers(frozenset({"user_1"})))).plan == "pro"


def test_a_lifetime_product_bought_in_both_environments_counts_as_the_real_one() -> None:
    bought = [{"is_sandbox": True, "purchase_date": "2026-09-02T11:00:00Z"}, {"is_sandbox": False}]
    shown = {"expires_date": None, "product_identifier": "life", "purchase_date": "2026-09-02T11:00:00Z"}
    snapshot = parse_snapshot(document(entitlements={"pro": shown}, non_subscriptions={"life": bought}))
    assert (at(snapshot, NOW).plan, at(snapshot, NOW).environment) == ("pro", "production")


def test_a_temporary_grant_counts_though_no_purchase_shows_it() -> None:
    shown = {"expires_date": "2026-09-21T08:00:00Z", "product_identifier": "not_known_yet"}
    state = at(parse_snapshot(document(entitlements={"pro": shown})), NOW)
    assert (state.plan, state.will_renew) == ("pro", False)


def test_an_entitlement_that_does_not_mean_pro_is_listed_and_leaves_the_plan_free() -> None:
    shown = {"expires_date": "2026-09-21T08:00:00Z", "product_identifier": "extra"}
    state = at(parse_snapshot(document(entitlements={"extras": shown})), NOW)
    assert (state.plan, state.status, [one.name for one in state.entitlements]) == ("free", "unknown", ["extras"])


def test_a_refunded_lifetime_purchase_gives_nothing() -> None:
    shown = {"expires_date": None, "product_identifier": "life"}
    bought = [{"is_sandbox": False, "refunded_at": "2026-09-19T00:00:00Z"}]
    snapshot = parse_snapshot(document(entitlements={"pro": shown}, non_subscriptions={"life": bought}))
    assert at(snapshot, NOW).plan == "free"


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {"request_date_ms": 1},
        {"request_date_ms": "1", "subscriber": {}},
        {"request_date_ms": True, "subscriber": {}},
        {"request_date_ms": 0, "subscriber": {}},
        {"value": document()},
        document(entitlements=[]),
        document(entitlements={"pro": {"product_identifier": "m"}}),
        document(entitlements={"pro": {"product_identifier": "m", "expires_date": "tomorrow"}}),
        document(entitlements={"pro": {"product_identifier": "m", "expires_date": 1788256800000}}),
        document(entitlements={"pro": {"expires_date": None}}),
        document(subscriptions={"m": {"is_sandbox": "no"}}),
        document(non_subscriptions={"m": {}}),
    ],
)
def test_a_document_that_is_not_understood_is_no_snapshot(broken: object) -> None:
    with pytest.raises(MalformedSnapshot):
        parse_snapshot(broken)


def test_unknown_missing_and_null_members_do_not_matter() -> None:
    shown = {"expires_date": "2026-09-21T08:00:00.123456Z", "product_identifier": "m", "new": {}}
    entry = {"store": None, "period_type": None, "is_sandbox": None, "price": "9.99", "store_transaction_id": 7}
    snapshot = parse_snapshot(document(entitlements={"pro": shown}, subscriptions={"m": entry}, non_subscriptions=None))
    assert at(snapshot, NOW).plan == "pro"
