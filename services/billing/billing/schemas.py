"""Bodies on the wire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from billing.entitlement import SubscriptionState
from billing.models import Change
from common.contracts.billing import GrantedEntitlement
from common.web.app import Instant, WireModel
from common.web.pagination import Page
from common.web.text import Text

ANONYMOUS_ID = r"^\$RCAnonymousID:[A-Za-z0-9-]{16,64}$"


class Stored(WireModel):
    ok: bool = True
    duplicate: bool


class GrantedView(WireModel):
    name: str
    product_id: str
    store: str | None = None
    expires_at: Instant | None = None
    """Absent: for life."""

    @classmethod
    def of(cls, granted: GrantedEntitlement) -> "GrantedView":
        return cls.model_validate(granted, from_attributes=True)


class SubscriptionView(WireModel):
    plan: str
    status: str
    entitlements: list[GrantedView]
    expires_at: Instant | None = None
    renews_at: Instant | None = None
    will_renew: bool
    store: str | None = None
    product_id: str | None = None
    environment: str
    management_url: str | None = None
    sequence: int
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
            management_url=state.management_url,
            sequence=sequence,
            as_of=as_of,
        )


class SyncRequest(WireModel):
    app_user_id: Annotated[Text, Field(pattern=ANONYMOUS_ID)] | None = None
    """The anonymous id under which the user bought before signing in."""


class CauseView(WireModel):
    kind: str
    text: str
    event_id: str | None = None
    event_type: str | None = None


class ChangeView(WireModel):
    sequence: int
    changed_at: Instant
    plan: str
    status: str
    expires_at: Instant | None = None
    will_renew: bool
    product_id: str | None = None
    cause: CauseView

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
        )


class HistoryView(WireModel):
    changes: list[ChangeView]
    limit: int
    offset: int
    has_more: bool

    @classmethod
    def of(cls, changes: Sequence[Change], page: Page) -> Self:
        shown, more = page.cut(changes)
        return cls(
            changes=[ChangeView.of(change) for change in shown], limit=page.limit, offset=page.offset, has_more=more
        )
