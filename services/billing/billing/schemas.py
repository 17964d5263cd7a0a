"""Bodies on the wire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, Field

from billing.causes import CauseKind
from billing.entitlement import SubscriptionState
from billing.models import Change
from billing.notice import LONGEST_ID, LONGEST_TYPE
from billing.words import Coming
from common.contracts.billing import GrantedEntitlement, Plan, Status
from common.web.app import Instant, WireModel
from common.web.numbers import Count
from common.web.pagination import Page
from common.web.text import NO_NUL, Url, one_of

ANONYMOUS_ID = r"^\$RCAnonymousID:[A-Za-z0-9-]{16,64}$"
EXAMPLE_EVENT = "12345678-1234-1234-1234-123456789012"

ShownPlan = Annotated[str, one_of(*get_args(Plan))]
ShownStatus = Annotated[str, one_of(*get_args(Status))]
StoreName = Annotated[str, Field(examples=["app_store"])]
ProductId = Annotated[str, Field(examples=["entrain_pro_monthly"])]


class RevenueCatEvent(BaseModel):
    """What every event has; each kind has more, and all of it is kept."""

    id: str = Field(min_length=1, max_length=LONGEST_ID, pattern=NO_NUL, examples=[EXAMPLE_EVENT])
    type: str = Field(min_length=1, max_length=LONGEST_TYPE, pattern=NO_NUL, examples=["RENEWAL"])
    event_timestamp_ms: float = Field(examples=[1767225600000])


class RevenueCatWebhook(BaseModel):
    """The body of a webhook, as RevenueCat documents it."""

    event: RevenueCatEvent


class Stored(WireModel):
    ok: Literal[True] = True
    duplicate: bool


class GrantedView(WireModel):
    name: str = Field(examples=["pro"])
    product_id: ProductId
    store: StoreName | None = None
    expires_at: Instant | None = None
    """Absent: for life."""

    @classmethod
    def of(cls, granted: GrantedEntitlement) -> "GrantedView":
        return cls.model_validate(granted, from_attributes=True)


class SubscriptionView(WireModel):
    plan: ShownPlan
    status: ShownStatus
    entitlements: list[GrantedView]
    expires_at: Instant | None = None
    renews_at: Instant | None = None
    will_renew: bool
    store: StoreName | None = None
    product_id: ProductId | None = None
    environment: Annotated[str, one_of("production", "sandbox")]
    provisional: bool | None = None
    """True while access rests on what a webhook told, because RevenueCat cannot be read; absent otherwise."""
    management_url: Url | None = Field(None, examples=["https://apps.apple.com/account/subscriptions"])
    sequence: Count
    as_of: Instant
    """When RevenueCat last told us; now, for a user it never told us about."""

    @classmethod
    def of(cls, state: SubscriptionState, sequence: int, as_of: datetime) -> Self:
        return cls(
            plan=state.plan,
            status=state.status,
            entitlements=[GrantedView.of(granted) for granted in state.entitlements],
            expires_at=state.expires_at,
            renews_at=state.renews_at,
            will_renew=state.will_renew,
            store=state.store,
            product_id=state.product_id,
            environment=state.environment,
            provisional=state.provisional or None,
            management_url=state.management_url,
            sequence=sequence,
            as_of=as_of,
        )


class SyncRequest(WireModel):
    app_user_id: Annotated[str, Field(strict=True, pattern=ANONYMOUS_ID)] | None = None
    """The anonymous id under which the user bought before signing in."""


class CauseView(WireModel):
    kind: Annotated[str, one_of(*get_args(CauseKind))]
    text: str = Field(examples=[f"RevenueCat sent RENEWAL (event {EXAMPLE_EVENT})"])
    event_id: str | None = Field(None, examples=[EXAMPLE_EVENT])
    event_type: str | None = Field(None, examples=["RENEWAL"])


class ChangeView(WireModel):
    sequence: Count
    changed_at: Instant
    plan: ShownPlan
    status: ShownStatus
    expires_at: Instant | None = None
    will_renew: bool
    product_id: ProductId | None = None
    cause: CauseView
    reason: str | None = Field(None, examples=["entrain_pro_lifetime was bought for life"])
    """Which rule made it so, in plain words."""
    taken_at: Instant | None = None
    """When RevenueCat, by its own clock, gave what this rests on."""

    @classmethod
    def of(cls, change: Change) -> Self:
        cause = CauseView(
            kind=change.cause_kind, text=change.cause, event_id=change.event_id, event_type=change.event_type
        )
        return cls(
            sequence=change.sequence,
            changed_at=change.changed_at,
            plan=change.plan,
            status=change.status,
            expires_at=change.expires_at,
            will_renew=change.will_renew,
            product_id=change.product_id,
            cause=cause,
            reason=change.reason,
            taken_at=change.taken_at,
        )


class ComingView(WireModel):
    at: Instant
    text: str = Field(examples=["access ends unless its renewal is known by then"])


class HistoryView(WireModel):
    changes: list[ChangeView]
    next: list[ComingView]
    """What happens next unless something else is heard before, the earliest first."""
    limit: Annotated[int, Field(examples=[50])]
    offset: Annotated[int, Field(examples=[0])]
    has_more: bool

    @classmethod
    def of(cls, changes: Sequence[Change], outlook: Sequence[Coming], page: Page) -> Self:
        shown, more = page.cut(changes)
        return cls(
            changes=[ChangeView.of(change) for change in shown],
            next=[ComingView(at=one.at, text=one.text) for one in outlook],
            limit=page.limit,
            offset=page.offset,
            has_more=more,
        )
