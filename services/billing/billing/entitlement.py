"""What a person may use: a pure function of RevenueCat's snapshots, our rules and an instant.

Access lasts until the paid end or the end of the grace after it. It needs no event to end, and none to go on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from billing.snapshot import Entitlement, Purchase, Snapshot
from common.contracts.billing import GrantedEntitlement, Plan, Status, SubscriptionChanged

FOR_EVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SandboxUsers:
    """Who may use sandbox purchases: these user ids, or with None everybody."""

    ids: frozenset[str] | None

    def __contains__(self, user_id: object) -> bool:
        return self.ids is None or user_id in self.ids


EVERYBODY, NOBODY = SandboxUsers(None), SandboxUsers(frozenset())


@dataclass(frozen=True, slots=True)
class Rules:
    """``pro``: names of the entitlements that mean the pro plan."""

    pro: frozenset[str]
    sandbox: SandboxUsers = NOBODY


@dataclass(frozen=True, slots=True)
class Grant:
    """One entitlement given by one purchase. ``paid_until`` None: for life."""

    name: str
    product_id: str
    store: str | None
    paid_until: datetime | None
    access_until: datetime | None
    sandbox: bool
    renews: bool
    provisional: bool = False
    """A webhook told of it and nothing was read since."""

    def active(self, now: datetime) -> bool:
        return self.access_until is None or self.access_until > now

    def paid(self, now: datetime) -> bool:
        return self.paid_until is None or self.paid_until > now

    @property
    def strength(self) -> tuple[datetime, datetime, bool, bool, bool, str, str, str]:
        """Orders grants, the longest lasting last; equal ones in the same order however they were found."""
        until, paid = self.access_until or FOR_EVER, self.paid_until or FOR_EVER
        read = not self.provisional
        return until, paid, read, not self.sandbox, self.renews, self.product_id, self.name, self.store or ""


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """The whole answer for one instant. ``status`` is `unknown` while no purchase is known."""

    plan: Plan = "free"
    status: Status = "unknown"
    entitlements: tuple[GrantedEntitlement, ...] = ()
    expires_at: datetime | None = None
    """When access ends, or ended; None on pro: never."""
    renews_at: datetime | None = None
    will_renew: bool = False
    store: str | None = None
    product_id: str | None = None
    environment: Literal["production", "sandbox"] = "production"
    provisional: bool = False
    """Access rests on what a webhook told, because the provider cannot be read."""
    management_url: str | None = field(default=None, compare=False)

    def as_event(self, user_id: str, sequence: int, cause: str) -> SubscriptionChanged:
        return SubscriptionChanged(
            user_id=user_id,
            plan=self.plan,
            status=self.status,
            entitlements=self.entitlements,
            expires_at=self.expires_at,
            renews_at=self.renews_at,
            will_renew=self.will_renew,
            store=self.store,
            environment=self.environment,
            provisional=self.provisional or None,
            cause=cause,
            sequence=sequence,
        )


Covers = Mapping[str, frozenset[str]]
"""Which entitlements a product gives, by product as webhooks name it."""


def decide(
    snapshots: Iterable[Snapshot],
    rules: Rules,
    user_id: str,
    now: datetime,
    covers: Covers | None = None,
    provisional: Iterable[Grant] = (),
) -> SubscriptionState:
    """The person's subscription at ``now``, over every customer that is theirs and what is honoured unread."""
    known = list(snapshots)
    grants = [grant for snapshot in known for grant in usable_grants(snapshot, rules, user_id, covers or {})]
    grants += provisional
    active = _strongest_by_name(grant for grant in grants if grant.active(now))
    url = next((snapshot.management_url for snapshot in known if snapshot.management_url), None)
    leading = max(
        (grant for grant in active if grant.name in rules.pro), key=lambda grant: grant.strength, default=None
    )
    if leading is None:
        return _without_access(grants, active, rules, url)
    return SubscriptionState(
        plan="pro",
        status="active" if any(grant.paid(now) for grant in grants if grant.name in rules.pro) else "grace",
        entitlements=_granted(active),
        expires_at=leading.access_until,
        renews_at=leading.paid_until if leading.renews else None,
        will_renew=leading.renews,
        store=leading.store,
        product_id=leading.product_id,
        environment="sandbox" if leading.sandbox else "production",
        provisional=leading.provisional,
        management_url=url,
    )


def changes_at(
    snapshots: Iterable[Snapshot],
    rules: Rules,
    user_id: str,
    now: datetime,
    covers: Covers | None = None,
    provisional: Iterable[Grant] = (),
) -> datetime | None:
    """The next instant at which ``decide`` may answer otherwise although nothing is heard; None: never."""
    grants = [grant for snapshot in snapshots for grant in usable_grants(snapshot, rules, user_id, covers or {})]
    ends = [end for grant in (*grants, *provisional) for end in (grant.paid_until, grant.access_until)]
    return min((end for end in ends if end is not None and end > now), default=None)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that decides about one person. ``snapshots`` by the id they were read for."""

    snapshots: Mapping[str, Snapshot]
    covers: Covers
    provisional: tuple[Grant, ...] = ()

    def state(self, rules: Rules, user_id: str, now: datetime) -> SubscriptionState:
        return decide(self.snapshots.values(), rules, user_id, now, self.covers, self.provisional)

    def changes_at(self, rules: Rules, user_id: str, now: datetime) -> datetime | None:
        return changes_at(self.snapshots.values(), rules, user_id, now, self.covers, self.provisional)

    @property
    def taken_ms(self) -> int | None:
        """When, by the provider's clock, the least recently read of the person's customers was read."""
        return min((snapshot.taken_ms for snapshot in self.snapshots.values()), default=None)


def usable_grants(snapshot: Snapshot, rules: Rules, user_id: str, covers: Covers) -> Iterator[Grant]:
    """What the snapshot gives this user, running or run out, without what the sandbox policy refuses."""
    for entitlement in snapshot.entitlements:
        purchase = _purchase_behind(snapshot, entitlement)
        if purchase is not None and purchase.sandbox and user_id not in rules.sandbox:
            yield from _hidden_by_sandbox(snapshot, entitlement.name, covers)
        elif entitlement.expires_at is not None or purchase is None or purchase.refunded_at is None:
            yield _grant(entitlement, purchase)


def _purchase_behind(snapshot: Snapshot, entitlement: Entitlement) -> Purchase | None:
    """None for a grant whose product RevenueCat cannot name yet (a temporary one): it counts all the same."""

    def likeness(purchase: Purchase) -> tuple[bool, bool, bool, bool]:
        same_kind = (purchase.expires_at is None) == (entitlement.expires_at is None)
        same_date = purchase.purchased_at == entitlement.purchased_at
        return same_kind, purchase.refunded_at is None, not purchase.sandbox, same_date

    return max(snapshot.purchases_of(entitlement.product_id, entitlement.plan_id), key=likeness, default=None)


def _grant(entitlement: Entitlement, purchase: Purchase | None) -> Grant:
    return Grant(
        name=entitlement.name,
        product_id=entitlement.product,
        store=purchase.store if purchase else None,
        paid_until=entitlement.expires_at,
        access_until=entitlement.access_until,
        sandbox=purchase.sandbox if purchase else False,
        renews=purchase.renews if purchase and entitlement.expires_at else False,
    )


def _hidden_by_sandbox(snapshot: Snapshot, name: str, covers: Covers) -> Iterator[Grant]:
    """RevenueCat shows the longest lasting purchase of an entitlement, so a sandbox one can hide a real one."""
    for purchase in snapshot.purchases:
        lasting = purchase.expires_at is None and purchase.period_type == "once" and purchase.refunded_at is None
        if purchase.sandbox or name not in covers.get(purchase.product, ()) or not (purchase.expires_at or lasting):
            continue
        yield Grant(
            name=name,
            product_id=purchase.product,
            store=purchase.store,
            paid_until=purchase.expires_at,
            access_until=purchase.access_until,
            sandbox=False,
            renews=purchase.renews,
        )


def _without_access(
    grants: Sequence[Grant], active: Sequence[Grant], rules: Rules, url: str | None
) -> SubscriptionState:
    ended = _strongest(grants, rules)
    if ended is None:
        return SubscriptionState(entitlements=_granted(active), management_url=url)
    return SubscriptionState(
        status="expired",
        entitlements=_granted(active),
        expires_at=ended.access_until,
        store=ended.store,
        product_id=ended.product_id,
        environment="sandbox" if ended.sandbox else "production",
        management_url=url,
    )


def _strongest(grants: Iterable[Grant], rules: Rules) -> Grant | None:
    """The one of those that mean pro that lasts longest."""
    return max((grant for grant in grants if grant.name in rules.pro), key=lambda grant: grant.strength, default=None)


def _strongest_by_name(grants: Iterable[Grant]) -> list[Grant]:
    strongest: dict[str, Grant] = {}
    for grant in grants:
        held = strongest.get(grant.name)
        if held is None or held.strength < grant.strength:
            strongest[grant.name] = grant
    return [strongest[name] for name in sorted(strongest)]


def _granted(grants: Sequence[Grant]) -> tuple[GrantedEntitlement, ...]:
    return tuple(
        GrantedEntitlement(
            name=grant.name, product_id=grant.product_id, store=grant.store, expires_at=grant.access_until
        )
        for grant in grants
    )
