"""Events owned by billing."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from common.contracts.event import Event

Plan = Literal["free", "pro"]
Status = Literal["active", "grace", "expired", "unknown"]


class GrantedEntitlement(BaseModel):
    """One entitlement and until when it gives access; no ``expires_at`` is a lifetime grant."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    name: str
    product_id: str
    store: str | None = None
    expires_at: datetime | None = None


class SubscriptionChanged(Event):
    """Everything the plan follows from, so that a consumer needs no earlier event."""

    type: ClassVar[str] = "billing.subscription_changed.v1"

    user_id: str
    plan: Plan
    status: Status
    entitlements: tuple[GrantedEntitlement, ...] = ()
    expires_at: datetime | None = None
    """When access ends unless renewed; absent on ``pro`` means a lifetime grant."""
    renews_at: datetime | None = None
    will_renew: bool = False
    store: str | None = None
    environment: Literal["production", "sandbox"] = "production"
    source: str = "revenuecat"
    provisional: bool | None = None
    """True while access rests on a webhook alone, because the provider cannot be read: for a day at most."""
    cause: str
    heard_at: datetime | None = None
    """When the webhook that led to it came in; absent where none did."""
    repeated: bool | None = None
    """True when nothing has changed: what was announced last is told again, so that who missed it can see that."""


class UserDataErased(Event):
    """What this service held of a deleted user is gone from one store; ``counts`` says how much, by kind."""

    type: ClassVar[str] = "billing.user_data_erased.v1"

    user_id: str
    deletion_id: str
    store: Literal["billing", "revenuecat"]
    counts: dict[str, int]
