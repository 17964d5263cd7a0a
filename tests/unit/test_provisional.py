"""What a webhook alone is honoured for while nothing can be read."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.entitlement import EVERYBODY, NOBODY, Grant, Rules, decide
from billing.notice import Notice, parse_notice
from billing.provisional import LONGEST, unread_grants
from tests.support.billing import FIXTURES, event_body

RULES = Rules(frozenset({"pro"}), NOBODY)
HEARD = datetime(2026, 9, 20, 8, 0, tzinfo=UTC)
USER = "user_1"


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def notice(kind: str = "RENEWAL", heard: datetime = HEARD, **members: Any) -> Notice:
    event = {
        "type": kind,
        "event_timestamp_ms": ms(heard),
        "app_user_id": USER,
        "product_id": "monthly",
        "entitlement_ids": ["pro"],
        "expiration_at_ms": ms(HEARD + timedelta(days=30)),
        "environment": "PRODUCTION",
        "store": "APP_STORE",
        **members,
    }
    return parse_notice(event_body(**event), heard)


def honoured(
    *told: Notice, read_until: datetime | None = None, now: datetime = HEARD, rules: Rules = RULES
) -> list[Grant]:
    return [grant for _, grant in unread_grants(told, rules, USER, read_until, now)]


def until(grants: Iterable[Grant]) -> list[datetime | None]:
    return [grant.access_until for grant in grants]


GRANTING = {"01", "02", "05", "07", "11", "14", "17", "21", "23", "24", "25", "26"}


def test_of_every_recorded_webhook_only_those_that_grant_are_honoured() -> None:
    """27 is of the sandbox."""
    found = set()
    for path in sorted(FIXTURES.glob("composed__*.json")):
        event = json.loads(path.read_text())["event"]
        heard = datetime.fromtimestamp(min(event["event_timestamp_ms"], 4e12) / 1000, UTC)
        if list(unread_grants([parse_notice(path.read_bytes(), heard)], RULES, USER, None, heard)):
            found.add(path.name.split("__")[1][:2])
    assert found == GRANTING


def test_a_grant_lasts_a_day_at_most_and_never_beyond_its_own_end() -> None:
    assert until(honoured(notice())) == [HEARD + LONGEST]
    assert until(honoured(notice(expiration_at_ms=ms(HEARD + timedelta(hours=3))))) == [HEARD + timedelta(hours=3)]
    assert until(honoured(notice("NON_RENEWING_PURCHASE", expiration_at_ms=None))) == [HEARD + LONGEST]
    assert honoured(notice(), now=HEARD + LONGEST) == []


def test_grace_is_honoured_as_grace() -> None:
    over, grace = HEARD - timedelta(minutes=1), HEARD + timedelta(hours=5)
    told = notice("BILLING_ISSUE", expiration_at_ms=ms(over), grace_period_expiration_at_ms=ms(grace))
    state = decide([], RULES, USER, HEARD, provisional=honoured(told))
    assert (state.plan, state.status, state.expires_at, state.provisional) == ("pro", "grace", grace, True)


@pytest.mark.parametrize(
    "odd",
    [
        {"entitlement_ids": None},
        {"entitlement_ids": []},
        {"expiration_at_ms": "soon"},
        {"expiration_at_ms": ms(HEARD)},
        {"environment": "SANDBOX"},
        {"store": "STRIPE", "price": 0},
    ],
)
def test_what_names_no_access_or_is_not_paid_is_not_honoured(odd: dict[str, Any]) -> None:
    assert honoured(notice(**odd)) == []


def test_an_end_that_is_missing_is_not_an_end_that_is_null() -> None:
    event = {"app_user_id": USER, "product_id": "credits", "entitlement_ids": ["pro"]}
    assert honoured(parse_notice(event_body(type="NON_RENEWING_PURCHASE", **event), HEARD)) == []


def test_who_may_use_the_sandbox_is_honoured_there_too() -> None:
    assert honoured(notice(environment="SANDBOX"), rules=Rules(RULES.pro, EVERYBODY))


def test_what_was_read_since_outranks_the_webhook() -> None:
    assert honoured(notice(), read_until=HEARD) == []
    assert honoured(notice(), read_until=HEARD - timedelta(seconds=1))


def test_a_later_end_of_the_same_product_leaves_nothing_to_honour_whichever_came_first() -> None:
    later = HEARD + timedelta(minutes=1)
    refund = notice("CANCELLATION", later, cancel_reason="CUSTOMER_SUPPORT", expiration_at_ms=ms(later))
    for told in ((notice(), refund), (refund, notice())):
        assert honoured(*told, now=later) == []
    other = notice(product_id="annual")
    assert [grant.product_id for grant in honoured(notice(), refund, other, now=later)] == ["annual"]
    again = notice("RENEWAL", later + timedelta(minutes=1))
    assert len(honoured(notice(), refund, again, now=later + timedelta(minutes=1))) == 1


def test_a_refund_of_what_was_bought_for_life_leaves_nothing_to_honour() -> None:
    bought = notice("NON_RENEWING_PURCHASE", expiration_at_ms=None)
    refund = notice("CANCELLATION", expiration_at_ms=None, cancel_reason="CUSTOMER_SUPPORT")
    assert honoured(bought, refund) == []


def test_what_was_moved_away_is_not_honoured_for_whom_it_was_moved_from() -> None:
    moved = notice("TRANSFER", transferred_from=[USER], transferred_to=["user_2"])
    assert honoured(notice(), moved) == []
    brought = notice("TRANSFER", transferred_from=["user_2"], transferred_to=[USER])
    assert honoured(notice(), brought)


kinds = st.sampled_from(["INITIAL_PURCHASE", "RENEWAL", "CANCELLATION", "EXPIRATION", "BILLING_ISSUE", "TRANSFER", "X"])
offsets = st.integers(-40 * 24, 40 * 24).map(lambda hours: HEARD + timedelta(hours=hours))
told_at = st.integers(-30, 0).map(lambda hours: HEARD + timedelta(hours=hours))


@st.composite
def notices(draw: st.DrawFn) -> Notice:
    ends = draw(st.none() | offsets)
    return notice(
        draw(kinds),
        draw(told_at),
        expiration_at_ms=ms(ends) if ends else None,
        product_id=draw(st.sampled_from(["monthly", "annual"])),
        cancel_reason=draw(st.sampled_from([None, "UNSUBSCRIBE", "CUSTOMER_SUPPORT", "BILLING_ERROR"])),
        transferred_from=draw(st.sampled_from([None, [USER], ["user_2"]])),
    )


@settings(deadline=None)
@given(st.lists(notices(), max_size=6), st.randoms(), st.none() | told_at)
def test_neither_order_nor_repetition_changes_what_is_honoured(
    told: list[Notice], chance: Any, read_until: datetime | None
) -> None:
    shuffled = [*told, *told]
    chance.shuffle(shuffled)
    found = honoured(*told, read_until=read_until)
    assert set(found) == set(honoured(*shuffled, read_until=read_until))
    for grant in found:
        assert grant.access_until is not None
        assert HEARD < grant.access_until <= HEARD + LONGEST


@settings(deadline=None)
@given(st.lists(notices(), max_size=6))
def test_honouring_never_takes_access_that_stands(told: list[Notice]) -> None:
    standing = Grant("pro", "annual", None, HEARD + timedelta(days=9), HEARD + timedelta(days=9), False, True)
    state = decide([], RULES, USER, HEARD, provisional=[standing, *honoured(*told)])
    assert (state.plan, state.provisional, state.expires_at) == ("pro", False, HEARD + timedelta(days=9))
