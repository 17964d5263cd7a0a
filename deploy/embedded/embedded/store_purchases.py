"""What the stand-in store sells and what somebody bought: products by name, purchases and customers as plain data."""

import calendar
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

DEFAULT_PRODUCT = "entrain_pro_monthly"
PLAY_STORE, APP_STORE, PROMOTIONAL = "play_store", "app_store", "promotional"


@dataclass(frozen=True)
class Product:
    """``months`` and ``days`` make one paid period; both 0 means bought once. ``price`` in USD."""

    id: str
    name: str
    price: float
    months: int = 0
    days: int = 0
    entitlements: tuple[str, ...] = ("pro",)

    @property
    def renews(self) -> bool:
        return bool(self.months or self.days)


def product_named(product_id: str) -> Product:
    """Any id is sold; words in it decide the kind: ``lifetime``, ``credits`` (bought once, unlocks nothing),
    ``annual`` or ``year``, ``week``, and a month for everything else. Only ``credits`` does not give ``pro``.
    """
    name = product_id.lower()
    if "lifetime" in name:
        return Product(product_id, "Pro Lifetime", 149.99)
    if "credits" in name:
        return Product(product_id, "Credits", 4.99, entitlements=())
    if "annual" in name or "year" in name:
        return Product(product_id, "Pro Annual", 59.99, months=12)
    if "week" in name:
        return Product(product_id, "Pro Weekly", 2.99, days=7)
    return Product(product_id, "Pro Monthly", 9.99, months=1)


@dataclass
class Purchase:
    """One subscription, or one thing bought once (``expires_at`` None). ``length``: its own period, in seconds."""

    product_id: str
    store: str
    sandbox: bool
    period_type: str
    purchased_at: datetime
    original_purchased_at: datetime
    expires_at: datetime | None
    transaction_id: str
    original_transaction_id: str
    entitlements: list[str]
    length: float | None = None
    renewal_number: int = 1
    family_share: bool = False
    unsubscribed_at: datetime | None = None
    billing_issue_at: datetime | None = None
    grace_until: datetime | None = None
    refunded_at: datetime | None = None
    refunded_from_at: datetime | None = None
    """Where its end was before a refund moved it."""
    resumes_at: datetime | None = None
    """Paused from the end of the period until then."""
    next_product_id: str | None = None
    """What it becomes at the next renewal."""
    declined: bool = False
    """The next charge will fail."""
    grace: float | None = None
    """Seconds of grace once it has failed."""
    temporary: bool = False
    """Granted before the store could confirm it: shown as an entitlement and not as a subscription."""
    ended: bool = False
    """Its end was told."""

    @property
    def product(self) -> Product:
        return product_named(self.product_id)

    @property
    def rest_product_id(self) -> str:
        """Play products are ``<subscription>:<base plan>`` in webhooks and ``<subscription>`` in REST answers."""
        return self.product_id.partition(":")[0]

    @property
    def plan_id(self) -> str | None:
        return self.product_id.partition(":")[2] or None

    @property
    def access_until(self) -> datetime | None:
        if self.expires_at is None or self.grace_until is None:
            return self.expires_at
        return max(self.expires_at, self.grace_until)

    @property
    def renews(self) -> bool:
        """Whether the store means to charge again."""
        stopped = self.unsubscribed_at or self.billing_issue_at or self.refunded_at
        return not stopped and self.expires_at is not None and not self.temporary and self.store != PROMOTIONAL

    def gives_access(self, now: datetime) -> bool:
        until = self.access_until
        return until is None or until > now

    def period_end(self, start: datetime) -> datetime:
        if self.length is not None:
            return start + timedelta(seconds=self.length)
        return months_later(start, self.product.months) + timedelta(days=self.product.days)

    def clear_flags(self) -> None:
        self.unsubscribed_at = self.billing_issue_at = self.grace_until = self.refunded_at = None
        self.refunded_from_at = self.resumes_at = None
        self.declined = self.ended = self.temporary = False

    def dump(self) -> dict[str, Any]:
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> Self:
        times = {
            name: datetime.fromisoformat(value)
            for name, value in saved.items()
            if value is not None and name.endswith(("_at", "_until"))
        }
        return cls(**{**saved, **times})


@dataclass
class Customer:
    """``ids`` are aliases of one person, the first of them the original; ``last_id`` is the one used last.

    ``before`` is the REST document as it was before the last change, for stale reads.
    """

    ids: list[str]
    first_seen: datetime
    last_seen: datetime
    last_id: str
    purchases: list[Purchase] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] | None = None

    def dump(self) -> dict[str, Any]:
        times = {"first_seen": self.first_seen.isoformat(), "last_seen": self.last_seen.isoformat()}
        return {**self.__dict__, **times, "purchases": [purchase.dump() for purchase in self.purchases]}

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> Self:
        changed = {
            "first_seen": datetime.fromisoformat(saved["first_seen"]),
            "last_seen": datetime.fromisoformat(saved["last_seen"]),
            "purchases": [Purchase.load(purchase) for purchase in saved["purchases"]],
        }
        return cls(**{**saved, **changed})


def months_later(start: datetime, months: int) -> datetime:
    """The same day of the month ``months`` on, or the month's last day where there is no such day."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day)
