"""What can be done in the store from outside, by the names of the command line."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from embedded.control_request import Body, days_of, text_of
from embedded.revenuecat import RevenueCatStandIn
from embedded.store_ledger import GRACE, Event
from embedded.store_purchases import DEFAULT_PRODUCT

PAUSE, EXTENSION = timedelta(days=60), timedelta(days=7)

Act = Callable[[Body], list[Event]]


def store_acts(store: RevenueCatStandIn) -> Mapping[str, Act]:
    """Each takes ``{userId, otherId?, productId?, days?, trialDays?, sandbox?, familyShare?, deferred?}``."""

    def purchase(body: Body) -> list[Event]:
        return store.purchase(
            _user(body),
            _product(body) or DEFAULT_PRODUCT,
            trial=days_of(body, "trialDays") or None,
            sandbox=bool(body.get("sandbox")),
            family_share=bool(body.get("familyShare")),
        )

    def change_product(body: Body) -> list[Event]:
        return store.change_product(_user(body), text_of(body, "productId"), deferred=bool(body.get("deferred")))

    def pause(body: Body) -> list[Event]:
        return store.pause(_user(body), store.clock() + days_of(body, "days", PAUSE))

    def grant(body: Body) -> list[Event]:
        lasts = days_of(body, "days")
        return store.grant(_user(body), store.clock() + lasts if lasts else None)

    return {
        "purchase": purchase,
        "renew": _with_product(store.renew),
        "cancel": _with_product(store.cancel),
        "uncancel": _with_product(store.uncancel),
        "refund": _with_product(store.refund),
        "reverse-refund": lambda body: store.reverse_refund(_user(body)),
        "expire": _with_product(store.expire),
        "billing-issue": lambda body: store.billing_issue(_user(body), _product(body), days_of(body, "days", GRACE)),
        "decline": lambda body: store.decline(_user(body), days_of(body, "days")),
        "change-product": change_product,
        "pause": pause,
        "extend": lambda body: store.extend(_user(body), days_of(body, "days", EXTENSION)),
        "grant": grant,
        "revoke-grants": lambda body: store.revoke_grants(_user(body)),
        "grant-unconfirmed": lambda body: store.grant_unconfirmed(_user(body), _product(body) or DEFAULT_PRODUCT),
        "confirm": lambda body: store.confirm(_user(body)),
        "log-in": lambda body: store.log_in(_user(body), text_of(body, "otherId")),
        "transfer": lambda body: store.transfer(_user(body), text_of(body, "otherId")),
        "pass-time": lambda body: store.pass_time(_user(body)),
    }


def _with_product(act: Callable[[str, str | None], list[Event]]) -> Act:
    return lambda body: act(_user(body), _product(body))


def _user(body: Body) -> str:
    return text_of(body, "userId")


def _product(body: Body) -> str | None:
    return text_of(body, "productId") if body.get("productId") else None
