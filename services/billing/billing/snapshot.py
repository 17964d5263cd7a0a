"""A customer as RevenueCat's ``GET /v1/subscribers/{id}`` shows them, read into plain values.

What access depends on is read strictly: a document we do not understand is no news, never a loss of access. Everything
else may be absent, null or new.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

PROMOTIONAL = "promotional"
NEVER_RENEWING = frozenset({"promotional", "prepaid"})


class MalformedSnapshot(ValueError):
    """The document is not what the API documents; the message says where."""


@dataclass(frozen=True, slots=True)
class Entitlement:
    """One member of ``entitlements``, running or run out. ``expires_at`` None: bought for life."""

    name: str
    product_id: str
    plan_id: str | None
    purchased_at: datetime | None
    expires_at: datetime | None
    grace_until: datetime | None

    @property
    def product(self) -> str:
        """The product as webhooks name it."""
        return joined_product(self.product_id, self.plan_id)

    @property
    def access_until(self) -> datetime | None:
        """The paid end or the end of the grace after it, whichever is later: stores disagree which one moves."""
        if self.expires_at is None or self.grace_until is None:
            return self.expires_at
        return max(self.expires_at, self.grace_until)


@dataclass(frozen=True, slots=True)
class Purchase:
    """One subscription, or one thing bought once (``expires_at`` None)."""

    product_id: str
    plan_id: str | None
    store: str | None
    sandbox: bool
    period_type: str
    purchased_at: datetime | None
    expires_at: datetime | None
    grace_until: datetime | None = None
    unsubscribed_at: datetime | None = None
    billing_issue_at: datetime | None = None
    refunded_at: datetime | None = None
    resumes_at: datetime | None = None

    @property
    def product(self) -> str:
        """The product as webhooks name it."""
        return joined_product(self.product_id, self.plan_id)

    @property
    def access_until(self) -> datetime | None:
        if self.expires_at is None or self.grace_until is None:
            return self.expires_at
        return max(self.expires_at, self.grace_until)

    @property
    def renews(self) -> bool:
        """Whether the store will charge again, by what it told RevenueCat."""
        stopped = self.unsubscribed_at or self.billing_issue_at or self.refunded_at
        never = self.store == PROMOTIONAL or self.period_type in NEVER_RENEWING
        return self.expires_at is not None and not stopped and not never


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``taken_ms`` is RevenueCat's clock at the answer: of two snapshots of one customer the higher one is newer."""

    taken_ms: int
    original_app_user_id: str | None
    entitlements: tuple[Entitlement, ...]
    purchases: tuple[Purchase, ...]
    management_url: str | None

    def purchases_of(self, product_id: str, plan_id: str | None = None) -> Iterator[Purchase]:
        """The purchases of one product. Play names a product by its subscription and, apart from it, its base plan."""
        for purchase in self.purchases:
            if purchase.product_id == product_id and (plan_id is None or purchase.plan_id in (None, plan_id)):
                yield purchase


def parse_snapshot(document: object) -> Snapshot:
    """Reads the whole answer. Raises MalformedSnapshot."""
    root = _mapping(document, "answer")
    taken = root.get("request_date_ms")
    if not isinstance(taken, int) or isinstance(taken, bool) or taken <= 0:
        raise MalformedSnapshot("request_date_ms is not a time")
    subscriber = _mapping(root.get("subscriber"), "subscriber")
    subscriptions = _members(subscriber, "subscriptions")
    once = [(name, entry) for name, entries in _members(subscriber, "non_subscriptions") for entry in _list(entries)]
    return Snapshot(
        taken_ms=taken,
        original_app_user_id=_text(subscriber.get("original_app_user_id")),
        entitlements=tuple(_entitlement(name, entry) for name, entry in _members(subscriber, "entitlements")),
        purchases=(
            *(_subscription(name, entry) for name, entry in subscriptions),
            *(_bought_once(name, entry) for name, entry in once),
        ),
        management_url=_text(subscriber.get("management_url")),
    )


def split_product(product_id: str) -> tuple[str, str | None]:
    """``subscription:base_plan``, as Play's products are called in webhooks, in its two parts."""
    product, _, plan = product_id.partition(":")
    return product, plan or None


def joined_product(product_id: str, plan_id: str | None) -> str:
    return f"{product_id}:{plan_id}" if plan_id else product_id


def _entitlement(name: str, value: object) -> Entitlement:
    entry = _mapping(value, f"entitlement {name}")
    if "expires_date" not in entry:  # absent is not null, and null means for life
        raise MalformedSnapshot(f"entitlement {name} has no expires_date")
    product = _text(entry.get("product_identifier"))
    if product is None:
        raise MalformedSnapshot(f"entitlement {name} has no product_identifier")
    product_id, plan_id = split_product(product)
    return Entitlement(
        name=name,
        product_id=product_id,
        plan_id=_text(entry.get("product_plan_identifier")) or plan_id,
        purchased_at=_instant(entry, "purchase_date"),
        expires_at=_instant(entry, "expires_date"),
        grace_until=_instant(entry, "grace_period_expires_date"),
    )


def _subscription(name: str, value: object) -> Purchase:
    entry = _mapping(value, f"subscription {name}")
    product_id, plan_id = split_product(name)
    return Purchase(
        product_id=product_id,
        plan_id=_text(entry.get("product_plan_identifier")) or plan_id,
        store=_text(entry.get("store")),
        sandbox=_flag(entry, "is_sandbox"),
        period_type=(_text(entry.get("period_type")) or "normal").lower(),
        purchased_at=_instant(entry, "purchase_date"),
        expires_at=_instant(entry, "expires_date"),
        grace_until=_instant(entry, "grace_period_expires_date"),
        unsubscribed_at=_instant(entry, "unsubscribe_detected_at"),
        billing_issue_at=_instant(entry, "billing_issues_detected_at"),
        refunded_at=_instant(entry, "refunded_at"),
        resumes_at=_instant(entry, "auto_resume_date"),
    )


def _bought_once(name: str, value: object) -> Purchase:
    entry = _mapping(value, f"purchase {name}")
    product_id, plan_id = split_product(name)
    return Purchase(
        product_id=product_id,
        plan_id=plan_id,
        store=_text(entry.get("store")),
        sandbox=_flag(entry, "is_sandbox"),
        period_type="once",
        purchased_at=_instant(entry, "purchase_date"),
        expires_at=None,
        refunded_at=_instant(entry, "refunded_at"),
    )


def _members(parent: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    value = parent.get(name)
    members = _mapping({} if value is None else value, name)
    return [(_text(key) or "", member) for key, member in members.items()]


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedSnapshot("non_subscriptions does not hold lists")
    return value


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedSnapshot(f"{where} is not an object")
    return value


def _text(value: object) -> str | None:
    """Text that PostgreSQL can keep; anything else counts as absent."""
    if not isinstance(value, str) or not value:
        return None
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _flag(entry: Mapping[str, Any], name: str) -> bool:
    value = entry.get(name)
    if value is not None and not isinstance(value, bool):
        raise MalformedSnapshot(f"{name} is neither true nor false")
    return bool(value)


def _instant(entry: Mapping[str, Any], name: str) -> datetime | None:
    value = entry.get(name)
    if value is None:
        return None
    try:
        read = datetime.fromisoformat(value)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise MalformedSnapshot(f"{name} is not a time") from None
