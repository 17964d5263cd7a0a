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

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    name: str
    """The entitlement's identifier at RevenueCat."""
    product_id: str
    """The store's product that gives it."""
    store: str | None = None
    """Where it was bought."""
    expires_at: datetime | None = None
    """When this grant ends; absent on a lifetime grant."""


class SubscriptionChanged(Event):
    """What a user may use, or what follows for it, changed; an operator can have it said again.

    It carries everything the plan follows from, so that a consumer needs no earlier event.
    """

    type: ClassVar[str] = "billing.subscription_changed.v1"

    user_id: str
    """The user."""
    plan: Plan
    """What the user has until `expiresAt`."""
    status: Status
    """`unknown` while no purchase is known, `grace` while a store still tries to charge."""
    entitlements: tuple[GrantedEntitlement, ...] = ()
    """What gives access, each with its own end."""
    expires_at: datetime | None = None
    """When access ends unless renewed; absent on ``pro`` means a lifetime grant."""
    renews_at: datetime | None = None
    """When the store charges next; absent when it will not."""
    will_renew: bool = False
    """Whether the subscription goes on at its end."""
    store: str | None = None
    """Where the leading purchase was made."""
    environment: Literal["production", "sandbox"] = "production"
    """Whether the leading purchase was real."""
    source: str = "revenuecat"
    """Who said so."""
    provisional: bool | None = None
    """True while access rests on a webhook alone, because the provider cannot be read: for a day at most."""
    cause: str
    """Why, in words for support; not meant to be parsed."""
    heard_at: datetime | None = None
    """When the webhook that led to it came in; absent where none did."""
    repeated: bool | None = None
    """True when nothing has changed: what was announced last is told again, so that who missed it can see that."""


class UserDataErased(Event):
    """What billing held of a deleted user is gone from one store, its own or RevenueCat's."""

    type: ClassVar[str] = "billing.user_data_erased.v1"

    user_id: str
    """The deleted user."""
    deletion_id: str
    """The deletion whose receipt this is."""
    store: Literal["billing", "revenuecat"]
    """Which store holds nothing of the user any more."""
    counts: dict[str, int]
    """How much it held, by kind."""
