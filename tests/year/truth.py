"""What everybody has by the store's own books, worked out without any of billing's code."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from embedded.store_ledger import ANONYMOUS, Ledger
from embedded.store_purchases import Purchase

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Standing:
    """What is compared. ``until`` and ``renews`` say something about who is pro only."""

    plan: str = "free"
    status: str = "unknown"
    until: datetime | None = None
    renews: bool = False


def standing(customers: Iterable[Iterable[Purchase]], now: datetime) -> Standing:
    """Of each customer the API shows the purchase that lasts longest, so that one tells whether it is paid or grace."""
    owned = [[one for one in purchases if "pro" in one.entitlements and not one.sandbox] for purchases in customers]
    shown = [max(purchases, key=_lasting) for purchases in owned if purchases]
    running = [one for one in shown if one.gives_access(now)]
    if not running:
        return Standing(status="expired" if shown else "unknown")
    longest = max(running, key=_lasting)
    paid = any(one.expires_at is None or one.expires_at > now for one in running)
    return Standing("pro", "active" if paid else "grace", longest.access_until, longest.renews)


def _lasting(paid: Purchase) -> tuple[datetime, bool]:
    return paid.access_until or NEVER, paid.renews


def everybody(ledger: Ledger, claims: Mapping[str, Iterable[str]], now: datetime) -> dict[str, Standing]:
    """Every account the store knows, with what it claimed under anonymous ids."""
    found = {}
    for name in ledger.ids():
        if not name.startswith(ANONYMOUS):
            customers = [ledger.customer(one)[0] for one in (name, *claims.get(name, ()))]
            found[name] = standing([customer.purchases for customer in customers], now)
    return found


def announced(row: Mapping[str, Any] | None) -> Standing:
    """What billing announced last about somebody, from the customer's row."""
    told = row and row["announced"]
    if not told:
        return Standing()
    if told["plan"] == "free":
        return Standing(status=told["status"])
    until = datetime.fromisoformat(told["expiresAt"]) if told.get("expiresAt") else None
    return Standing("pro", told["status"], until, told["willRenew"])
