"""The two forms in which RevenueCat shows a purchase: the REST v1 subscriber and the webhook event."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from common.clock import wire_time
from embedded.store_purchases import PLAY_STORE, PROMOTIONAL, Customer, Purchase

APP_ID = "app5e17a2c9d0"
MANAGEMENT_URLS = {
    "app_store": "https://apps.apple.com/account/subscriptions",
    PLAY_STORE: "https://play.google.com/store/account/subscriptions",
}
FAR_FUTURE = datetime.max.replace(tzinfo=UTC)


def subscriber_document(customer: Customer, now: datetime) -> dict[str, Any]:
    """The ``subscriber`` member of ``GET /v1/subscribers/{id}``; entitlements include those that have run out."""
    subscriptions = [one for one in customer.purchases if one.expires_at is not None and not one.temporary]
    once = [purchase for purchase in customer.purchases if purchase.expires_at is None]
    non_subscriptions: dict[str, list[dict[str, Any]]] = {}
    for purchase in once:
        non_subscriptions.setdefault(purchase.rest_product_id, []).append(_bought_once(purchase))
    return {
        "entitlements": _entitlements(customer),
        "first_seen": _date(customer.first_seen),
        "last_seen": _date(customer.last_seen),
        "management_url": _management_url(customer, now),
        "non_subscriptions": non_subscriptions,
        "original_app_user_id": customer.ids[0],
        "original_application_version": None,
        "original_purchase_date": _date(customer.first_seen),
        "other_purchases": {},
        "subscriber_attributes": customer.attributes,
        "subscriptions": {
            purchase.rest_product_id: _subscription(purchase) for purchase in sorted(subscriptions, key=_lasts_until)
        },
    }


def lifecycle_event(
    kind: str, customer: Customer, purchase: Purchase, now: datetime, price: float = 0.0, **extra: Any
) -> dict[str, Any]:
    """A webhook event about one purchase; ``extra`` are the members only that ``kind`` has."""
    promotional = purchase.store == PROMOTIONAL
    event = {
        "id": new_event_id(),
        "type": kind,
        "event_timestamp_ms": milliseconds(now),
        "app_id": APP_ID,
        "app_user_id": customer.last_id,
        "original_app_user_id": customer.ids[0],
        "aliases": list(customer.ids),
        "subscriber_attributes": customer.attributes,
        "product_id": purchase.product_id,
        "period_type": purchase.period_type.upper(),
        "purchased_at_ms": milliseconds(purchase.purchased_at),
        "expiration_at_ms": milliseconds(purchase.expires_at) if purchase.expires_at else None,
        "environment": "SANDBOX" if purchase.sandbox else "PRODUCTION",
        "entitlement_id": None,
        "entitlement_ids": list(purchase.entitlements) or None,
        "presented_offering_id": None if promotional else "default",
        "transaction_id": purchase.transaction_id,
        "original_transaction_id": purchase.original_transaction_id,
        "is_family_share": None if promotional else purchase.family_share,
        "country_code": None if promotional else "US",
        "store": purchase.store.upper(),
        "currency": "USD",
        "price": price,
        "price_in_purchased_currency": price,
        "tax_percentage": 0.0,
        "commission_percentage": 0.15,
        "takehome_percentage": 0.85,
        "offer_code": None,
        "metadata": None,
        "renewal_number": purchase.renewal_number if kind in {"INITIAL_PURCHASE", "RENEWAL"} else None,
        **extra,
    }
    if promotional:
        del event["app_id"]
    return event


def transfer_event(source: Customer, target: Customer, purchase: Purchase, now: datetime) -> dict[str, Any]:
    """The one event of a transfer: no ``app_user_id``, no product, every alias of both sides."""
    return {
        "id": new_event_id(),
        "type": "TRANSFER",
        "event_timestamp_ms": milliseconds(now),
        "app_id": APP_ID,
        "store": purchase.store.upper(),
        "environment": "SANDBOX" if purchase.sandbox else "PRODUCTION",
        "transferred_from": list(source.ids),
        "transferred_to": list(target.ids),
        "subscriber_attributes": {},
    }


def webhook_body(event: Mapping[str, Any]) -> str:
    return json.dumps({"api_version": "1.0", "event": event}, separators=(",", ":"), ensure_ascii=False)


def new_event_id() -> str:
    return str(uuid.uuid4()).upper()


def milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


def _entitlements(customer: Customer) -> dict[str, Any]:
    """By lookup key, the purchase that lasts longest, of equal ones one that renews; for life is longest of all."""
    shown: dict[str, dict[str, Any]] = {}
    for purchase in sorted(customer.purchases, key=lambda one: (_lasts_until(one), one.renews)):
        for lookup_key in purchase.entitlements:
            shown[lookup_key] = {
                "expires_date": _date(purchase.expires_at),
                "grace_period_expires_date": _date(purchase.grace_until),
                "product_identifier": purchase.rest_product_id,
                "purchase_date": _date(purchase.purchased_at),
                **_plan(purchase),
            }
    return shown


def _subscription(purchase: Purchase) -> dict[str, Any]:
    return {
        "auto_resume_date": _date(purchase.resumes_at),
        "billing_issues_detected_at": _date(purchase.billing_issue_at),
        "display_name": purchase.product.name,
        "expires_date": _date(purchase.expires_at),
        "grace_period_expires_date": _date(purchase.grace_until),
        "is_sandbox": purchase.sandbox,
        "original_purchase_date": _date(purchase.original_purchased_at),
        "ownership_type": "FAMILY_SHARED" if purchase.family_share else "PURCHASED",
        "period_type": purchase.period_type,
        "price": _price(purchase),
        "purchase_date": _date(purchase.purchased_at),
        "refunded_at": _date(purchase.refunded_at),
        "store": purchase.store,
        "store_transaction_id": purchase.transaction_id,
        "unsubscribe_detected_at": _date(purchase.unsubscribed_at),
        **_plan(purchase),
    }


def _bought_once(purchase: Purchase) -> dict[str, Any]:
    return {
        "id": hashlib.sha256(purchase.transaction_id.encode()).hexdigest()[:10],
        "is_sandbox": purchase.sandbox,
        "purchase_date": _date(purchase.purchased_at),
        "store": purchase.store,
        "store_transaction_id": purchase.transaction_id,
        "display_name": purchase.product.name,
        "price": _price(purchase),
    }


def _plan(purchase: Purchase) -> dict[str, str]:
    return {"product_plan_identifier": purchase.plan_id} if purchase.plan_id else {}


def _price(purchase: Purchase) -> dict[str, Any]:
    free = purchase.store == PROMOTIONAL or purchase.period_type == "trial"
    return {"amount": 0.0 if free else purchase.product.price, "currency": "USD"}


def _management_url(customer: Customer, now: datetime) -> str | None:
    running = [one for one in customer.purchases if one.expires_at is not None and one.gives_access(now)]
    return MANAGEMENT_URLS.get(max(running, key=_lasts_until).store) if running else None


def _lasts_until(purchase: Purchase) -> datetime:
    return purchase.access_until or FAR_FUTURE


def _date(instant: datetime | None) -> str | None:
    """Seconds and ``Z``; milliseconds only where there are any."""
    return wire_time(instant).replace(".000Z", "Z") if instant else None
