"""When a snapshot is believed, and when a person is read again."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from billing.entitlement import EVERYBODY, Rules, decide
from billing.notice import Notice, parse_notice
from billing.settling import RARER, doubt, next_reading
from billing.snapshot import Snapshot, parse_snapshot
from tests.support.billing import FIXTURES, event_body

RULES = Rules(frozenset({"pro"}), EVERYBODY)


def notice(number: str, **changes: Any) -> Notice:
    (path,) = FIXTURES.glob(f"composed__{number}_*.json")
    event = {**json.loads(path.read_text())["event"], **changes}
    return parse_notice(event_body(**event), datetime(2030, 1, 1, tzinfo=UTC))


def snapshot(name: str) -> Snapshot:
    return parse_snapshot(json.loads((FIXTURES / f"rest_v1_composed__{name}.json").read_text()))


def held(told: list[Notice], read: Snapshot, kept: Snapshot | None = None, user: str = "user") -> bool | None:
    """Of a reading of ``user``: whether the doubt keeps the reading from being taken over; None without a doubt."""
    now = datetime.fromtimestamp(read.taken_ms / 1000, UTC)
    found = doubt(told, {user: read}, {user: kept} if kept else {}, now)
    return found.holds if found else None


MILLISECONDS = int(datetime(2026, 10, 8, 10, 0, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    "number, read, expected",
    [
        ("02", "active", None),
        ("02", "transferred_away_empty", True),
        ("02", "refunded", None),  # paid until a moment that has passed when it is read
        ("05", "billing_issue_in_grace", None),
        ("05", "transferred_away_empty", True),
        ("06", "billing_issue_in_grace", None),
        ("03", "cancelled_still_active", None),
        ("03", "active", False),
        ("04", "active", None),
        ("04", "cancelled_still_active", False),
        ("09", "refunded", None),
        ("10", "refunded", None),
        ("17", "lifetime_plus_expired_sub", None),
        ("17", "active", True),
        ("18", "transferred_away_empty", None),
        ("29", "active", None),
        ("30", "transferred_away_empty", None),
    ],
)
def test_a_reading_is_held_against_what_was_just_told(number: str, read: str, expected: bool | None) -> None:
    changes = {"expiration_at_ms": MILLISECONDS} if number in ("02", "03", "04") else {}
    assert held([notice(number, **changes)], snapshot(read)) is expected


def test_a_purchase_the_store_could_not_confirm_is_looked_at_again_when_it_shows_as_confirmed() -> None:
    """An answer from before the store gave up, or the confirmation: the next reading tells which."""
    (paid,) = snapshot("active").entitlements
    granted = {"product_id": paid.product_id, "entitlement_ids": [paid.name]}
    day = 24 * 3600 * 1000
    assert held([notice("21", **granted, expiration_at_ms=MILLISECONDS - 20 * day)], snapshot("active")) is False
    assert held([notice("21", **granted, expiration_at_ms=MILLISECONDS)], snapshot("active")) is None


def test_a_refund_that_does_not_show_yet_is_looked_at_again() -> None:
    still_running = replace(snapshot("active"), taken_ms=snapshot("refunded").taken_ms)
    running_on = replace(still_running.entitlements[0], expires_at=datetime(2026, 11, 8, tzinfo=UTC))
    assert held([notice("09")], replace(still_running, entitlements=(running_on,))) is False


def test_only_the_latest_notices_count() -> None:
    bought = notice("02", id="older", event_timestamp_ms=1, expiration_at_ms=MILLISECONDS)
    assert held([bought, notice("30", event_timestamp_ms=2)], snapshot("transferred_away_empty")) is None


def test_a_transfer_that_changed_nothing_yet_is_looked_at_again() -> None:
    before, empty = snapshot("active"), snapshot("transferred_away_empty")
    later = replace(before, taken_ms=before.taken_ms + 1)
    (giver,) = notice("15").leaving
    assert held([notice("15")], later, kept=before, user=giver) is False
    assert held([notice("15")], empty, kept=before, user=giver) is None
    assert held([notice("15")], empty, user=giver) is False


def test_a_transfer_takes_nothing_from_whom_it_gives_to() -> None:
    gained, empty = snapshot("active"), snapshot("transferred_away_empty")
    stale = replace(empty, taken_ms=gained.taken_ms + 1)
    (_, (receiver, *_)) = notice("15").sides
    assert held([notice("15")], stale, kept=gained, user=receiver) is True
    assert held([notice("15")], gained, kept=empty, user=receiver) is None


def readings(name: str, now: datetime, hours: float) -> list[timedelta]:
    """How long after ``now`` each planned reading of the next hours comes, when nothing new is found."""
    found, moments, end = snapshot(name), [], now + timedelta(hours=hours)
    start = now
    while (moment := next_reading(decide([found], RULES, "user", now), [found], now)) and moment <= end:
        moments.append(moment - start)
        now = moment
    return moments


END = datetime(2026, 10, 8, 10, 0, tzinfo=UTC)


def test_around_the_end_of_a_paid_period_a_person_is_read_before_at_and_after_it() -> None:
    before = END - timedelta(hours=1)
    hour = timedelta(hours=1)
    assert readings("active", before, 48) == [
        hour - timedelta(minutes=2),
        hour,
        hour + timedelta(minutes=5),
        2 * hour,
        25 * hour,
    ]


def test_far_from_the_end_a_person_with_access_is_read_daily() -> None:
    assert readings("active", END - timedelta(days=20), 72) == [timedelta(days=day) for day in (1, 2, 3)]
    assert readings("lifetime_plus_expired_sub", END, 48) == [timedelta(days=1), timedelta(days=2)]


@pytest.mark.parametrize("ended", ["active", "billing_issue_in_grace"])
def test_whoever_had_a_subscription_may_begin_again_in_the_store_and_is_read_for_ever_but_ever_more_rarely(
    ended: str,
) -> None:
    began = timedelta(days=17)  # the grace of the second is over
    found = [began + moment for moment in readings(ended, END + began, 24 * 365 * 3)]
    waits = list(pairwise(found))
    assert found[-1] > timedelta(days=365 * 2.9)
    for earlier, later in waits:
        assert later - earlier <= max(timedelta(days=1), earlier / RARER)
    assert len(waits) < 300


def test_who_never_bought_anything_is_not_read_again() -> None:
    assert readings("transferred_away_empty", END, 10_000) == []


def test_a_paused_subscription_is_read_when_it_resumes() -> None:
    paused = snapshot("active")
    resumes = END + timedelta(days=30)
    paused = replace(paused, purchases=(replace(paused.purchases[0], resumes_at=resumes),))
    now = resumes - timedelta(minutes=1)
    assert next_reading(decide([paused], RULES, "user", now), [paused], now) == resumes + timedelta(minutes=5)
