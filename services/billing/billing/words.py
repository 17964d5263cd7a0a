"""A subscription in plain words: which rule makes it what it is, and what happens to it next."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from billing.entitlement import SubscriptionState
from billing.models import Refresh
from common.clock import wire_time


@dataclass(frozen=True, slots=True)
class Coming:
    """Something that will happen unless something else is heard before."""

    at: datetime
    text: str


def reason(state: SubscriptionState) -> str:
    """Why the state is what it is."""
    product = state.product_id or "a purchase"
    until = wire_time(state.expires_at) if state.expires_at else None
    sandbox = ", in the sandbox, which this user may use" if state.environment == "sandbox" else ""
    if state.status == "unknown":
        return "no purchase that means pro is known"
    if state.status == "expired":
        return f"{product} gave access until {until} and nothing else gives any{sandbox}"
    if until is None:
        return f"{product} was bought for life{sandbox}"
    if state.provisional:
        return f"a webhook says that {product} was bought; unread, it counts until {until} at most{sandbox}"
    if state.status == "grace":
        return f"the charge for {product} failed; its grace lasts until {until}{sandbox}"
    return f"{product} is paid until {until} and {'renews' if state.will_renew else 'does not renew'} then{sandbox}"


def coming(
    state: SubscriptionState, changes_at: datetime | None, planned: Refresh | None, now: datetime
) -> list[Coming]:
    """What happens next, the earliest first. ``changes_at``: when time alone changes the state."""
    return sorted([*_by_time(state, changes_at, now), *_by_reading(planned)], key=lambda one: one.at)


def _by_time(state: SubscriptionState, changes_at: datetime | None, now: datetime) -> Iterator[Coming]:
    end = state.expires_at
    if changes_at is not None and (end is None or changes_at < end or end <= now):
        yield Coming(changes_at, "a paid period ends; what is left then counts")
    if end is not None and end > now:
        unless = " unless its renewal is known by then" if state.will_renew else ""
        yield Coming(end, f"access ends{unless}")


def _by_reading(planned: Refresh | None) -> Iterator[Coming]:
    if planned is not None:
        failed = f", after {planned.attempts} attempts that failed" if planned.attempts else ""
        yield Coming(planned.due_at, f"RevenueCat is read again ({planned.cause}{failed})")
