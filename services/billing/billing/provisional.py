"""What a webhook alone is believed to give while RevenueCat cannot be read.

Only what is granted is honoured, for a day at most and never beyond the purchase's own end. What takes something away
waits until it can be read.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from billing.entitlement import FOR_EVER, Grant, Rules, SubscriptionState
from billing.notice import Notice

LONGEST = timedelta(hours=24)
"""Counted from when the webhook was first received."""
_GRANTING = frozenset(
    {
        "INITIAL_PURCHASE",
        "RENEWAL",
        "NON_RENEWING_PURCHASE",
        "SUBSCRIPTION_EXTENDED",
        "REFUND_REVERSED",
        "TEMPORARY_ENTITLEMENT_GRANT",
        "BILLING_ISSUE",
    }
)


def unread_grants(
    notices: Sequence[Notice], rules: Rules, user_id: str, read_until: datetime | None, now: datetime
) -> Iterator[tuple[Notice, Grant]]:
    """What the person's notices give for now; the newest snapshot, taken at ``read_until``, knows all before it."""
    for notice in notices:
        if notice.type not in _GRANTING or notice.unpaid or (notice.sandbox and user_id not in rules.sandbox):
            continue
        if read_until is not None and notice.happened_at <= read_until:
            continue
        if any(_takes_back(other, notice, user_id, now) for other in notices):
            continue
        for name in notice.entitlement_ids:
            grant = _grant(notice, name)
            if grant.active(now):
                yield notice, grant


def adds_access(grant: Grant, standing: SubscriptionState) -> bool:
    """Whether the grant gives its entitlement for longer than it is had already."""
    ends = [held.expires_at or FOR_EVER for held in standing.entitlements if held.name == grant.name]
    return max(ends, default=datetime.min.replace(tzinfo=UTC)) < (grant.access_until or FOR_EVER)


def _takes_back(other: Notice, notice: Notice, user_id: str, now: datetime) -> bool:
    """Whether a later notice tells that what this one gives is gone: then there is nothing to honour."""
    if other.happened_at < notice.happened_at:
        return False
    if user_id in other.leaving:
        return True
    ends = other.type == "EXPIRATION" or (other.type == "CANCELLATION" and other.cancel_reason != "BILLING_ERROR")
    over = other.cancel_reason == "CUSTOMER_SUPPORT" if other.for_life else (other.expires_at or FOR_EVER) <= now
    return ends and over and other.product_id == notice.product_id


def _grant(notice: Notice, name: str) -> Grant:
    latest = notice.received_at + LONGEST
    paid = FOR_EVER if notice.for_life else notice.expires_at or notice.received_at
    return Grant(
        name=name,
        product_id=notice.product_id or "",
        store=notice.store,
        paid_until=min(paid, latest),
        access_until=min(max(paid, notice.grace_until or paid), latest),
        sandbox=notice.sandbox,
        renews=False,
        provisional=True,
    )
