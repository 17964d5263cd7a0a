"""A webhook read as a notice that something happened to some customers. Only the snapshot says what is true now.

Nothing but ``type``, ``id`` and ``event_timestamp_ms`` is required, and no other field can make a notice invalid.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeGuard

from common.clock import from_milliseconds
from common.errors import InvalidInput

ANONYMOUS = "$RCAnonymousID:"
LONGEST_ID = 256
LONGEST_TYPE = 128
_NO_READING = frozenset({"TEST", "EXPERIMENT_ENROLLMENT", "VIRTUAL_CURRENCY_TRANSACTION", "INVOICE_ISSUANCE"})
_NO_READING_PREFIX = "PAYWALL_"
_EPOCH, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_SIDES = (
    ("app_user_id", "original_app_user_id", "aliases"),
    ("transferred_from",),
    ("transferred_to",),
    ("redeemed_from",),
    ("redeemed_by",),
)
_LEAVING = ("transferred_from", "redeemed_from")


@dataclass(frozen=True, slots=True)
class Notice:
    """``sides``: the ids named, grouped by the customer they belong to; two sides are two customers."""

    id: str
    type: str
    happened_at: datetime
    """When the provider noticed it, never later than when we heard of it."""
    received_at: datetime
    sides: tuple[tuple[str, ...], ...]
    leaving: tuple[str, ...] = ()
    """Those from whom purchases were moved away."""
    product_id: str | None = None
    entitlement_ids: tuple[str, ...] = ()
    expires_at: datetime | None = None
    grace_until: datetime | None = None
    for_life: bool = False
    """The purchase has an expiration, and it is null."""
    sandbox: bool = False
    store: str | None = None
    """As snapshots write it, in small letters."""
    unpaid: bool = False
    """A renewal that nobody was charged for: Stripe sends one for each invoice left unpaid."""
    cancel_reason: str | None = None

    @property
    def ids(self) -> list[str]:
        """Every id named, each once, sorted."""
        return sorted({one for side in self.sides for one in side})

    @property
    def asks_for_reading(self) -> bool:
        """Whether access may have changed. A type we do not know may: the snapshot will tell."""
        return self.type not in _NO_READING and not self.type.startswith(_NO_READING_PREFIX)


def is_anonymous(app_user_id: str) -> bool:
    return app_user_id.startswith(ANONYMOUS)


def parse_notice(body: bytes, received_at: datetime) -> Notice:
    """Reads a webhook's body. Raises InvalidInput unless it has the three members every event has."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput("The body is not valid JSON.") from None
    event = document.get("event") if isinstance(document, dict) else None
    if not isinstance(event, dict):
        raise _invalid("event", "must be an object")
    identity, kind, product_id = event.get("id"), event.get("type"), event.get("product_id")
    if not is_storable_id(identity):
        raise _invalid("id", f"must be text of 1 to {LONGEST_ID} characters")
    if not is_storable_id(kind) or len(kind) > LONGEST_TYPE:
        raise _invalid("type", f"must be text of 1 to {LONGEST_TYPE} characters")
    if not _is_number(event.get("event_timestamp_ms")):
        raise _invalid("event_timestamp_ms", "must be a number")
    return Notice(
        id=identity,
        type=kind,
        happened_at=_happened_at(event["event_timestamp_ms"], received_at),
        received_at=received_at,
        sides=tuple(side for names in _SIDES if (side := tuple(_ids(event, names)))),
        leaving=tuple(_ids(event, _LEAVING)),
        product_id=product_id if is_storable_id(product_id) else None,
        entitlement_ids=tuple(_texts(event.get("entitlement_ids"))),
        expires_at=_instant(event.get("expiration_at_ms")),
        grace_until=_instant(event.get("grace_period_expiration_at_ms")),
        for_life="expiration_at_ms" in event and event["expiration_at_ms"] is None,
        sandbox=event.get("environment") == "SANDBOX",
        store=event["store"].lower() if is_storable_id(event.get("store")) else None,
        unpaid=kind == "RENEWAL" and event.get("store") == "STRIPE" and event.get("price") in (None, 0),
        cancel_reason=event.get("cancel_reason") if isinstance(event.get("cancel_reason"), str) else None,
    )


def is_storable_id(value: object) -> TypeGuard[str]:
    """Text short enough and without characters that PostgreSQL cannot keep."""
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_ID or "\0" in value:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _ids(event: dict[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    seen = set()
    for name in names:
        value = event.get(name)
        for one in value if isinstance(value, list) else [value]:
            if is_storable_id(one) and one not in seen:
                seen.add(one)
                yield one


def _texts(value: object) -> Iterator[str]:
    for one in value if isinstance(value, list) else []:
        if is_storable_id(one):
            yield one


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _happened_at(milliseconds: float, received_at: datetime) -> datetime:
    """A time in the future, as some events carry, would outlive every later event."""
    return max(_EPOCH, min(_instant(milliseconds) or received_at, received_at))


def _instant(value: Any) -> datetime | None:
    if not _is_number(value):
        return None
    try:
        return from_milliseconds(int(value))
    except (ValueError, OverflowError, OSError):
        return _LAST if value > 0 else _EPOCH


def _invalid(field: str, problem: str) -> InvalidInput:
    message = "The event is not valid."
    return InvalidInput(message, details={"formErrors": [], "fieldErrors": {field: [problem]}})
