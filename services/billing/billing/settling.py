"""When a snapshot settles a matter, and when to look again.

RevenueCat does not say that its API already knows what its webhook tells, so a snapshot that contradicts a fresh notice
is read again a few times. And because webhooks get lost, everybody is also read at the moments that matter to them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from billing.entitlement import FOR_EVER, SubscriptionState
from billing.notice import Notice
from billing.snapshot import Purchase, Snapshot, split_product

FRESH = timedelta(minutes=5)
"""How long after it was received a notice is held against snapshots."""
READ_AGAIN_AFTER = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2))
BEFORE_THE_END = timedelta(minutes=2)
AFTER_THE_END = (timedelta(0), timedelta(minutes=5), timedelta(hours=1), timedelta(hours=24))
SWEEP = timedelta(hours=24)
RARER = 60
"""Who has had nothing for N days is read every N / RARER days, daily at first: stores go on charging after the end,
take refunds back, and let people begin again outside the app.
"""
_PLANNED_AHEAD = timedelta(days=3650)
_ROUNDING = timedelta(seconds=1)
_GRANTING = frozenset(
    {
        "INITIAL_PURCHASE",
        "RENEWAL",
        "NON_RENEWING_PURCHASE",
        "UNCANCELLATION",
        "SUBSCRIPTION_EXTENDED",
        "REFUND_REVERSED",
        "TEMPORARY_ENTITLEMENT_GRANT",
        "BILLING_ISSUE",
    }
)
_MOVING = frozenset({"TRANSFER", "PURCHASE_REDEEMED"})


class Rank(IntEnum):
    """Which of the readings due come first, when more are due than may be made."""

    WAITED_FOR = 0
    """A webhook or a person asked for it."""
    PAYING = 1
    REST = 2


@dataclass(frozen=True, slots=True)
class Doubt:
    """A notice that a reading does not bear out. ``holds``: taking the reading over could take what was paid for."""

    notice: Notice
    holds: bool


def doubt(
    notices: Sequence[Notice], read: Mapping[str, Snapshot], kept: Mapping[str, Snapshot], now: datetime
) -> Doubt | None:
    """The first among the latest of one person's fresh notices that what was read does not bear out.

    ``kept`` are the snapshots before this reading; both by the id they were read for.
    """
    latest = max((notice.happened_at for notice in notices), default=now)
    current = [notice for notice in notices if notice.happened_at == latest]
    snapshots = list(read.values())
    for notice in current:
        if notice.type in _GRANTING and _says_less(notice, snapshots, now):
            return Doubt(notice, holds=True)
        if notice.type in _MOVING and _takes_from_others(notice, read, kept, now):
            return Doubt(notice, holds=True)
    for notice in current:
        if _looks_unchanged(notice, read, kept, now):
            return Doubt(notice, holds=False)
    return None


def _looks_unchanged(notice: Notice, read: Mapping[str, Snapshot], kept: Mapping[str, Snapshot], now: datetime) -> bool:
    snapshots = list(read.values())
    if notice.type in _MOVING:  # it says that something changed, not what
        return all(_content(snapshot) == _content(kept.get(one)) for one, snapshot in read.items())
    if notice.type == "TEMPORARY_ENTITLEMENT_GRANT":
        return _says_more(notice, snapshots)
    if notice.type == "UNCANCELLATION":
        return any(purchase.unsubscribed_at for purchase in _purchases(notice, snapshots))
    if notice.type not in ("CANCELLATION", "EXPIRATION") or notice.cancel_reason == "BILLING_ERROR":
        return False
    if notice.for_life or (notice.expires_at and notice.expires_at <= now):
        return _still_grants(notice, snapshots, now)
    turned_off = notice.type == "CANCELLATION" and notice.cancel_reason != "CUSTOMER_SUPPORT"
    return turned_off and any(purchase.renews for purchase in _purchases(notice, snapshots))


def _says_less(notice: Notice, snapshots: Sequence[Snapshot], now: datetime) -> bool:
    """Whether an entitlement that the notice gives until later than now is absent or ends earlier."""
    ends = [end for end in (notice.expires_at, notice.grace_until) if end]
    until = FOR_EVER if notice.for_life else max(ends, default=now)
    if until <= now:
        return False
    shown = {
        entitlement.name: entitlement.access_until or FOR_EVER
        for snapshot in snapshots
        for entitlement in snapshot.entitlements
    }
    return any(shown.get(name, now) < until - _ROUNDING for name in notice.entitlement_ids)


def _says_more(notice: Notice, snapshots: Sequence[Snapshot]) -> bool:
    """Whether a product that the store could not confirm is shown until later than was granted."""
    product_id, _ = split_product(notice.product_id or "")
    return notice.expires_at is not None and any(
        entitlement.product_id == product_id and (entitlement.access_until or FOR_EVER) > notice.expires_at + _ROUNDING
        for snapshot in snapshots
        for entitlement in snapshot.entitlements
    )


def _takes_from_others(
    notice: Notice, read: Mapping[str, Snapshot], kept: Mapping[str, Snapshot], now: datetime
) -> bool:
    """Whether somebody whom nothing was moved away from would lose access: the answer is older than what is kept."""
    return any(
        _running(kept[one], now) - _running(snapshot, now)
        for one, snapshot in read.items()
        if one in kept and one not in notice.leaving
    )


def _running(snapshot: Snapshot, now: datetime) -> set[str]:
    return {one.name for one in snapshot.entitlements if (one.access_until or FOR_EVER) > now}


def _still_grants(notice: Notice, snapshots: Sequence[Snapshot], now: datetime) -> bool:
    product_id, _ = split_product(notice.product_id or "")
    return any(
        entitlement.product_id == product_id and (entitlement.access_until or FOR_EVER) > now
        for snapshot in snapshots
        for entitlement in snapshot.entitlements
    )


def _purchases(notice: Notice, snapshots: Sequence[Snapshot]) -> Iterator[Purchase]:
    product_id, plan_id = split_product(notice.product_id or "")
    for snapshot in snapshots:
        yield from snapshot.purchases_of(product_id, plan_id)


def _content(snapshot: Snapshot | None) -> tuple[object, ...]:
    return (snapshot.entitlements, snapshot.purchases) if snapshot else ((), ())


def rank_of(state: SubscriptionState, now: datetime) -> Rank:
    """Who has access, or had it a moment ago, is read before who has none."""
    ended = state.expires_at
    paying = state.plan == "pro" or (ended is not None and now - AFTER_THE_END[-1] <= ended <= now)
    return Rank.PAYING if paying else Rank.REST


def next_reading(state: SubscriptionState, snapshots: Sequence[Snapshot], now: datetime) -> datetime | None:
    """When to read a person again although nothing is heard; None: not before something is."""
    return min((moment for moment in _moments(state, snapshots, now) if moment > now), default=None)


def _moments(state: SubscriptionState, snapshots: Sequence[Snapshot], now: datetime) -> Iterator[datetime]:
    if state.plan == "pro":
        yield now + SWEEP
    end = state.expires_at
    if end is not None and now - _PLANNED_AHEAD < end < now + _PLANNED_AHEAD:
        yield end - BEFORE_THE_END
        yield from (end + wait for wait in AFTER_THE_END)
    for purchase in (purchase for snapshot in snapshots for purchase in snapshot.purchases):
        if purchase.resumes_at is not None and purchase.resumes_at < now + _PLANNED_AHEAD:
            yield from (purchase.resumes_at + wait for wait in AFTER_THE_END[1:])
        if purchase.expires_at is not None and purchase.expires_at <= now:
            yield now + max(SWEEP, (now - purchase.expires_at) / RARER)
