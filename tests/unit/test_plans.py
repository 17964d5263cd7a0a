"""What each plan allows, and when a subscription counts."""

from datetime import UTC, datetime, timedelta

import pytest

from common.contracts.billing import Plan, Status
from media.plans import UNLIMITED, FreeTier, Plans, is_pro

NOW = datetime(2026, 9, 1, 10, tzinfo=UTC)
SOON, NEVER = NOW + timedelta(seconds=1), None


def test_unlimited_is_the_largest_integer_the_app_can_read_exactly() -> None:
    assert UNLIMITED == 9007199254740991
    assert float(UNLIMITED + 1) == float(UNLIMITED) + 1


@pytest.mark.parametrize(
    "plan,status,expires_at,expected",
    [
        ("pro", "active", SOON, True),
        ("pro", "active", NEVER, True),
        ("pro", "grace", SOON, True),
        ("pro", "active", NOW, False),
        ("pro", "grace", NOW - timedelta(days=1), False),
        ("pro", "expired", SOON, False),
        ("pro", "unknown", NEVER, False),
        ("free", "active", NEVER, False),
        ("free", "grace", SOON, False),
    ],
)
def test_pro_is_a_paid_plan_whose_end_lies_ahead(
    plan: Plan, status: Status, expires_at: datetime | None, expected: bool
) -> None:
    assert is_pro(plan, status, expires_at, NOW) is expected


def test_free_users_of_the_catalogue_have_starts_and_no_sessions_of_their_own() -> None:
    limits = Plans("catalog", 2).limits(pro=False)
    assert (limits.own_sessions, limits.daily, limits.counted, limits.offline_downloads) == (False, 2, "starts", False)
    assert limits.counts_start(own=False)
    assert not limits.counts_start(own=True)
    assert not limits.counts_creation()


def test_free_users_who_create_are_counted_by_what_they_create() -> None:
    limits = Plans("create", 3).limits(pro=False)
    assert (limits.own_sessions, limits.daily, limits.counted) == (True, 3, "creations")
    assert limits.counts_creation()
    assert not limits.counts_start(own=False)


@pytest.mark.parametrize("tier", ["catalog", "create"])
def test_nothing_of_pro_is_counted(tier: FreeTier) -> None:
    limits = Plans(tier, 2).limits(pro=True)
    assert limits.own_sessions
    assert limits.offline_downloads
    assert not limits.counts_start(own=False)
    assert not limits.counts_creation()
    assert limits.remaining(10**6) == UNLIMITED


def test_what_remains_is_never_less_than_nothing() -> None:
    limits = Plans("catalog", 2).limits(pro=False)
    assert [limits.remaining(used) for used in (0, 1, 2, 3)] == [2, 1, 0, 0]
