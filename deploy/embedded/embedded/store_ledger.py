"""Customers and what happens to their purchases. Every change returns the webhook events RevenueCat would send for it.

Pure but for the clock it is given: no network, no file. ``subscriber`` shows the result as the REST API does.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from common.clock import Clock
from embedded.store_documents import lifecycle_event, subscriber_document, transfer_event
from embedded.store_purchases import (
    APP_STORE,
    DEFAULT_PRODUCT,
    PLAY_STORE,
    PROMOTIONAL,
    Customer,
    Purchase,
    months_later,
    product_named,
)

Event = dict[str, Any]
GRACE = timedelta(days=16)
FIRST_TRANSACTION = 2_000_000_900_000_000
ANONYMOUS = "$RCAnonymousID:"


class StoreRefusal(ValueError):
    """The store cannot do that now; the message says why."""


class Ledger:
    """Keeps one ``Customer`` under each of its ids. ``product_id`` None means the purchase made last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_id: dict[str, Customer] = {}
        self._transactions = 0

    def customer(self, app_user_id: str) -> tuple[Customer, bool]:
        """The customer with that id and whether asking created it, as the REST API does."""
        known = self._by_id.get(app_user_id)
        if known is not None:
            return known, False
        now = self._now()
        self._by_id[app_user_id] = Customer([app_user_id], now, now, app_user_id)
        return self._by_id[app_user_id], True

    def ids(self) -> list[str]:
        """Every id of every customer."""
        return list(self._by_id)

    def knows(self, app_user_id: str) -> bool:
        return app_user_id in self._by_id

    def subscriber(self, app_user_id: str) -> dict[str, Any]:
        return subscriber_document(self.customer(app_user_id)[0], self._now())

    def forget(self, app_user_id: str) -> bool:
        """Deletes the customer with all its ids; False when there is none."""
        customer = self._by_id.get(app_user_id)
        for alias in customer.ids if customer else ():
            del self._by_id[alias]
        return customer is not None

    def purchase(
        self,
        app_user_id: str,
        product_id: str = DEFAULT_PRODUCT,
        *,
        store: str | None = None,
        trial: timedelta | None = None,
        period: timedelta | None = None,
        sandbox: bool = False,
        family_share: bool = False,
        entitlements: Iterable[str] | None = None,
    ) -> list[Event]:
        """Buys. ``store`` is Play for ids with a base plan (``app_pro:monthly``), else the App Store; ``trial`` starts
        with a free period, ``period`` replaces the product's own. Raises StoreRefusal when it is running already.
        """
        now, product = self._now(), product_named(product_id)
        store = store or (PLAY_STORE if ":" in product_id else APP_STORE)
        lapsed = self._lapsed(app_user_id, product_id, now) if product.renews else None
        if lapsed and store != PLAY_STORE:
            return self.renew(app_user_id, product_id)
        customer, transaction = self._changing(app_user_id), self._transaction(store)
        if lapsed:
            customer.purchases.remove(lapsed)
        bought = Purchase(
            product_id=product_id,
            store=store,
            sandbox=sandbox,
            period_type="trial" if trial else "normal",
            purchased_at=now,
            original_purchased_at=now,
            expires_at=None,
            transaction_id=transaction,
            original_transaction_id=transaction,
            entitlements=list(product.entitlements if entitlements is None else entitlements),
            length=period.total_seconds() if period else None,
            family_share=family_share,
        )
        if product.renews:
            bought.expires_at = now + trial if trial else bought.period_end(now)
        customer.purchases.append(bought)
        kind = "INITIAL_PURCHASE" if product.renews else "NON_RENEWING_PURCHASE"
        return [lifecycle_event(kind, customer, bought, now, 0.0 if trial else product.price)]

    def renew(self, app_user_id: str, product_id: str | None = None) -> list[Event]:
        """The next period: from the end of the running one, or from now when it has run out. Clears every flag."""
        customer, now, paid = self._subscription(app_user_id, product_id)
        converted = paid.period_type == "trial"
        paid.purchased_at = paid.expires_at if paid.expires_at and paid.gives_access(now) else now
        paid.expires_at = paid.period_end(paid.purchased_at)
        paid.period_type = "normal"
        paid.renewal_number += 1
        paid.transaction_id = self._transaction(paid.store, paid)
        paid.clear_flags()
        price = paid.product.price
        return [lifecycle_event("RENEWAL", customer, paid, now, price, is_trial_conversion=converted)]

    def cancel(self, app_user_id: str, product_id: str | None = None, reason: str = "UNSUBSCRIBE") -> list[Event]:
        """Turns renewal off; access lasts to the end of the period."""
        customer, now, paid = self._running(app_user_id, product_id)
        if paid.unsubscribed_at:
            raise StoreRefusal(f"{app_user_id} has cancelled {paid.product_id} already")
        paid.unsubscribed_at = now
        return [lifecycle_event("CANCELLATION", customer, paid, now, cancel_reason=reason)]

    def uncancel(self, app_user_id: str, product_id: str | None = None) -> list[Event]:
        customer, now, paid = self._running(app_user_id, product_id)
        if not paid.unsubscribed_at:
            raise StoreRefusal(f"{app_user_id} has not cancelled {paid.product_id}")
        paid.unsubscribed_at = None
        return [lifecycle_event("UNCANCELLATION", customer, paid, now)]

    def refund(self, app_user_id: str, product_id: str | None = None) -> list[Event]:
        """Money back and access gone at once. Something bought once leaves the customer's purchases."""
        customer, now, paid = self._any(app_user_id, product_id)
        if paid.refunded_at:
            raise StoreRefusal(f"{paid.product_id} of {app_user_id} is refunded already")
        price = -paid.product.price
        if paid.expires_at is None:
            customer.purchases.remove(paid)
            return [lifecycle_event("CANCELLATION", customer, paid, now, price, cancel_reason="CUSTOMER_SUPPORT")]
        paid.refunded_at, paid.refunded_from_at, paid.ended = now, paid.expires_at, True
        paid.grace_until, paid.resumes_at, paid.expires_at = None, None, min(paid.expires_at, now)
        return [
            lifecycle_event("CANCELLATION", customer, paid, now, price, cancel_reason="CUSTOMER_SUPPORT"),
            lifecycle_event("EXPIRATION", customer, paid, now, expiration_reason="CUSTOMER_SUPPORT"),
        ]

    def expire(self, app_user_id: str, product_id: str | None = None, reason: str | None = None) -> list[Event]:
        """The subscription has run out; one that is still running ends now."""
        customer, now, paid = self._subscription(app_user_id, product_id)
        paid.expires_at = min(paid.expires_at or now, now)
        paid.grace_until, paid.ended = None, True
        why = reason or ("BILLING_ERROR" if paid.billing_issue_at else "UNSUBSCRIBE")
        return [lifecycle_event("EXPIRATION", customer, paid, now, expiration_reason=why)]

    def billing_issue(
        self, app_user_id: str, product_id: str | None = None, grace: timedelta | None = GRACE
    ) -> list[Event]:
        """The charge for the next period fails: the paid period is over (now, if it was running), ``grace`` follows."""
        customer, now, paid = self._subscription(app_user_id, product_id)
        paid.expires_at = min(paid.expires_at or now, now)
        paid.billing_issue_at = now
        paid.grace_until = paid.expires_at + grace if grace else None
        until = int(paid.grace_until.timestamp() * 1000) if paid.grace_until else None
        return [
            lifecycle_event("BILLING_ISSUE", customer, paid, now, grace_period_expiration_at_ms=until),
            lifecycle_event("CANCELLATION", customer, paid, now, cancel_reason="BILLING_ERROR"),
        ]

    def transfer(self, app_user_id: str, other_id: str) -> list[Event]:
        """Everything ``app_user_id`` bought becomes ``other_id``'s. Raises StoreRefusal when there is nothing."""
        source, target = self._changing(app_user_id), self._changing(other_id)
        if source is target:
            raise StoreRefusal(f"{app_user_id} and {other_id} are the same customer")
        if not source.purchases:
            raise StoreRefusal(f"{app_user_id} has bought nothing")
        moved, source.purchases = source.purchases, []
        target.purchases = _joined([*target.purchases, *moved])
        return [transfer_event(source, target, moved[-1], self._now())]

    def grant(self, app_user_id: str, until: datetime | None = None, entitlement: str = "pro") -> list[Event]:
        """A promotional entitlement, for a month by default."""
        customer, now = self._changing(app_user_id), self._now()
        transaction = self._transaction(PROMOTIONAL)
        given = Purchase(
            product_id=f"rc_promo_{entitlement}_custom",
            store=PROMOTIONAL,
            sandbox=False,
            period_type="promotional",
            purchased_at=now,
            original_purchased_at=now,
            expires_at=until or months_later(now, 1),
            transaction_id=transaction,
            original_transaction_id=transaction,
            entitlements=[entitlement],
        )
        customer.purchases = _joined([*customer.purchases, given])
        return [lifecycle_event("NON_RENEWING_PURCHASE", customer, given, now)]

    def log_in(self, anonymous_id: str, app_user_id: str) -> list[Event]:
        """Makes an anonymous id and a known one the same customer, which sends no event. An id that has an anonymous
        alias already takes no second one.
        """
        anonymous, known = self._changing(anonymous_id), self._by_id.get(app_user_id)
        if known is None:
            anonymous.ids.append(app_user_id)
            anonymous.last_id = app_user_id
            self._by_id[app_user_id] = anonymous
        elif known is not anonymous and not any(alias.startswith(ANONYMOUS) for alias in known.ids):
            known.ids += anonymous.ids
            known.purchases = _joined([*known.purchases, *anonymous.purchases])
            self._by_id.update(dict.fromkeys(anonymous.ids, known))
        return []

    def dump(self) -> dict[str, Any]:
        customers = {id(customer): customer for customer in self._by_id.values()}
        return {"transactions": self._transactions, "customers": [one.dump() for one in customers.values()]}

    def load(self, saved: Mapping[str, Any]) -> None:
        self._transactions = saved["transactions"]
        for customer in map(Customer.load, saved["customers"]):
            self._by_id.update(dict.fromkeys(customer.ids, customer))

    def _now(self) -> datetime:
        """Whole milliseconds, as everything RevenueCat sends."""
        now = self._clock()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def _changing(self, app_user_id: str) -> Customer:
        customer, _ = self.customer(app_user_id)
        now = self._now()
        customer.before = subscriber_document(customer, now)
        customer.last_seen, customer.last_id = now, app_user_id
        return customer

    def _lapsed(self, app_user_id: str, product_id: str, now: datetime) -> Purchase | None:
        """The customer's subscription to that product, if it has run out. Raises StoreRefusal while it runs."""
        earlier = self._find(app_user_id, lambda one: one.product_id == product_id)
        if earlier and earlier.gives_access(now):
            raise StoreRefusal(f"{app_user_id} has {product_id} until {earlier.access_until}")
        return earlier

    def _find(self, app_user_id: str, fits: Callable[[Purchase], bool]) -> Purchase | None:
        customer = self._by_id.get(app_user_id)
        fitting = [one for one in customer.purchases if fits(one)] if customer else []
        return max(fitting, key=lambda one: one.purchased_at, default=None)

    def _any(self, app_user_id: str, product_id: str | None) -> tuple[Customer, datetime, Purchase]:
        return self._chosen(app_user_id, product_id, lambda _: True)

    def _subscription(self, app_user_id: str, product_id: str | None) -> tuple[Customer, datetime, Purchase]:
        return self._chosen(app_user_id, product_id, lambda one: one.expires_at is not None)

    def _running(self, app_user_id: str, product_id: str | None) -> tuple[Customer, datetime, Purchase]:
        now = self._now()
        return self._chosen(app_user_id, product_id, lambda one: one.expires_at is not None and one.gives_access(now))

    def _chosen(
        self, app_user_id: str, product_id: str | None, fits: Callable[[Purchase], bool]
    ) -> tuple[Customer, datetime, Purchase]:
        chosen = self._find(app_user_id, lambda one: product_id in (None, one.product_id) and fits(one))
        if chosen is None:
            raise StoreRefusal(f"{app_user_id} has no {product_id or 'subscription'} for which this can be done")
        return self._changing(app_user_id), self._now(), chosen

    def _transaction(self, store: str, renewed: Purchase | None = None) -> str:
        """A new transaction id; Play counts renewals behind the original one."""
        self._transactions += 1
        if store == PLAY_STORE:
            if renewed:
                return f"{renewed.original_transaction_id}..{renewed.renewal_number - 2}"
            return f"GPA.3311-{self._transactions:04d}-2222-33333"
        return str(FIRST_TRANSACTION + self._transactions)


def _joined(purchases: list[Purchase]) -> list[Purchase]:
    """Of two subscriptions to one product only the one that lasts longer."""
    longest: dict[str, Purchase] = {}
    for one in purchases:
        held = longest.get(one.product_id)
        if one.access_until and (held is None or (held.access_until or one.access_until) < one.access_until):
            longest[one.product_id] = one
    return [one for one in purchases if one.access_until is None or longest[one.product_id] is one]
