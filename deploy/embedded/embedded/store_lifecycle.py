"""What happens to purchases beyond buying and cancelling, and what the store does by itself as time passes."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from embedded.store_documents import lifecycle_event, milliseconds
from embedded.store_ledger import Event, Ledger, StoreRefusal
from embedded.store_purchases import PLAY_STORE, PROMOTIONAL, Customer, Purchase, product_named

TEMPORARILY = timedelta(hours=24)


class LivingLedger(Ledger):
    """A ledger that ``pass_time`` keeps going: renewals, failed charges, ends, pauses and changes that were put off."""

    def pass_time(self, app_user_id: str) -> list[Event]:
        """Everything the store does about a customer by itself up to now, in order."""
        events: list[Event] = []
        while due := self._next(app_user_id):
            at, paid = due
            if at > self._now():
                break
            events += self._go_on(app_user_id, paid)
            if self._next(app_user_id) == due:
                raise RuntimeError(f"{paid.product_id} of {app_user_id} does not get on")
        return events

    def next_change_at(self, app_user_id: str) -> datetime | None:
        """When the store acts by itself next; None: never."""
        due = self._next(app_user_id)
        return due[0] if due else None

    def decline(self, app_user_id: str, grace: timedelta | None = None) -> list[Event]:
        """From now on every charge of the customer's subscriptions fails, until one is renewed by hand. Nobody is told
        before the next charge is due.
        """
        customer, _ = self.customer(app_user_id)
        for paid in customer.purchases:
            if paid.expires_at is not None:
                paid.declined, paid.grace = True, grace.total_seconds() if grace else None
        return []

    def change_product(self, app_user_id: str, product_id: str, *, deferred: bool = False) -> list[Event]:
        """To another product: at the next renewal when ``deferred``, else now. Play then tells of a first purchase,
        the other stores of a renewal.
        """
        customer, now, paid = self._running(app_user_id, None)
        if any(one.product_id == product_id and one.gives_access(now) for one in customer.purchases):
            raise StoreRefusal(f"{app_user_id} has {product_id} already")
        told: dict[str, Any] = {"new_product_id": product_id} if deferred or paid.store != PLAY_STORE else {}
        change = lifecycle_event("PRODUCT_CHANGE", customer, paid, now, **told)
        if deferred:
            paid.next_product_id = product_id
            return [change]
        customer.purchases.remove(paid)
        self._leave_out(customer, product_id)
        paid.product_id, paid.purchased_at, paid.next_product_id = product_id, now, None
        paid.period_type, paid.transaction_id = "normal", self._transaction(paid.store, paid)
        paid.expires_at = paid.period_end(now)
        paid.clear_flags()
        customer.purchases.append(paid)
        kind = "INITIAL_PURCHASE" if paid.store == PLAY_STORE else "RENEWAL"
        return [change, lifecycle_event(kind, customer, paid, now, product_named(product_id).price)]

    def pause(self, app_user_id: str, until: datetime) -> list[Event]:
        """From the end of the period until ``until``; Play only."""
        customer, now, paid = self._running(app_user_id, None)
        if paid.store != PLAY_STORE or paid.unsubscribed_at or paid.expires_at is None or until <= paid.expires_at:
            raise StoreRefusal(f"{paid.product_id} of {app_user_id} cannot be paused until {until}")
        paid.resumes_at = until
        return [lifecycle_event("SUBSCRIPTION_PAUSED", customer, paid, now, auto_resume_at_ms=milliseconds(until))]

    def extend(self, app_user_id: str, by: timedelta) -> list[Event]:
        customer, now, paid = self._running(app_user_id, None)
        assert paid.expires_at is not None
        paid.expires_at += by
        return [lifecycle_event("SUBSCRIPTION_EXTENDED", customer, paid, now)]

    def reverse_refund(self, app_user_id: str) -> list[Event]:
        """The money was kept after all: access is back until its former end. Raises StoreRefusal when that is over."""
        customer, now, paid = self._chosen(app_user_id, None, lambda one: one.refunded_from_at is not None)
        if paid.refunded_from_at is None or paid.refunded_from_at <= now:
            raise StoreRefusal(f"{paid.product_id} of {app_user_id} would have ended by now")
        paid.expires_at, paid.refunded_at, paid.refunded_from_at, paid.ended = paid.refunded_from_at, None, None, False
        return [lifecycle_event("REFUND_REVERSED", customer, paid, now)]

    def grant_unconfirmed(self, app_user_id: str, product_id: str) -> list[Event]:
        """Access for a day at most, because the store does not answer; ``confirm`` makes a purchase of it."""
        bought = self.purchase(app_user_id, product_id)[0]
        customer, now, paid = self._subscription(app_user_id, product_id)
        paid.temporary, paid.expires_at = True, now + TEMPORARILY
        event = lifecycle_event("TEMPORARY_ENTITLEMENT_GRANT", customer, paid, now)
        del event["original_app_user_id"]
        return [{**event, "id": bought["id"]}]

    def confirm(self, app_user_id: str) -> list[Event]:
        """The store answers at last: the temporary grant is a purchase, under another transaction."""
        customer, now, paid = self._chosen(app_user_id, None, lambda one: one.temporary)
        paid.temporary, paid.ended, paid.purchased_at = False, False, now
        paid.transaction_id = paid.original_transaction_id = self._transaction(paid.store)
        paid.expires_at = paid.period_end(now)
        return [lifecycle_event("INITIAL_PURCHASE", customer, paid, now, paid.product.price)]

    def revoke_grants(self, app_user_id: str) -> list[Event]:
        """Takes back every promotional grant, at once."""
        customer, now, _ = self._chosen(app_user_id, None, lambda one: one.store == PROMOTIONAL and not one.ended)
        events: list[Event] = []
        for paid in customer.purchases:
            if paid.store == PROMOTIONAL and not paid.ended:
                paid.expires_at, paid.ended = now, True
                events.append(lifecycle_event("CANCELLATION", customer, paid, now, cancel_reason="UNSUBSCRIBE"))
                events.append(lifecycle_event("EXPIRATION", customer, paid, now, expiration_reason="UNSUBSCRIBE"))
        return events

    def _next(self, app_user_id: str) -> tuple[datetime, Purchase] | None:
        customer = self._by_id.get(app_user_id)
        due = [(at, paid) for paid in customer.purchases for at in _acts_at(paid)] if customer else []
        return min(due, key=lambda one: one[0], default=None)

    def _go_on(self, app_user_id: str, paid: Purchase) -> list[Event]:
        """The store's next act about one subscription whose moment has come."""
        product_id, now = paid.product_id, self._now()
        if paid.ended:
            return self.renew(app_user_id, product_id)  # the pause is over
        if paid.grace_until is not None or paid.temporary or paid.store == PROMOTIONAL or paid.unsubscribed_at:
            return self.expire(app_user_id, product_id)
        if paid.resumes_at is not None:
            return self.expire(app_user_id, product_id, "SUBSCRIPTION_PAUSED")
        if paid.declined:
            grace = timedelta(seconds=paid.grace) if paid.grace else None
            failed = self.billing_issue(app_user_id, product_id, grace)
            return failed if grace else [*failed, *self.expire(app_user_id, product_id)]
        if paid.next_product_id:
            self._leave_out(self._changing(app_user_id), paid.next_product_id)
            paid.product_id, paid.next_product_id = paid.next_product_id, None
        assert paid.expires_at is not None
        assert paid.expires_at <= now
        return self.renew(app_user_id, paid.product_id)

    def _leave_out(self, customer: Customer, product_id: str) -> None:
        """An earlier subscription to the product: the API shows one of each."""
        customer.purchases = [one for one in customer.purchases if one.product_id != product_id]


def _acts_at(paid: Purchase) -> Iterator[datetime]:
    if paid.expires_at is None:
        return
    if not paid.ended:
        yield paid.grace_until or paid.expires_at
    elif paid.resumes_at is not None:
        yield paid.resumes_at
