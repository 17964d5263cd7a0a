"""What billing remembers: what it was told, what it read, whose it is, and what followed."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from billing.entitlement import Grant, SubscriptionState
from common.contracts.billing import SubscriptionChanged
from common.db.tables import erased_user_table, moment, optional_moment, schema_registry
from common.db.tombstones import Tombstones

REFRESH_CHANNEL = "billing_refresh"
SYNC_EVERY, SYNCS_AT_ONCE = timedelta(seconds=6), 10
"""A user may have the provider asked so often, and so many times in a row after a rest."""
CLOCKS_APART = timedelta(minutes=5)
"""How far ahead of ours the provider's clock may count: one absurd time must not outrank every later snapshot."""


class Base(SQLModel, registry=schema_registry("billing")):
    """Billing's tables."""


erased_user_table(Base.metadata)
tombstones = Tombstones("billing")
"""Of deleted users, and of their anonymous ids until RevenueCat has deleted the customers."""


class WebhookEvent(Base, table=True):
    """A webhook as it was received, kept byte by byte."""

    __tablename__ = "webhook_event"

    id: str = Field(primary_key=True, sa_type=Text)
    type: str = Field(sa_type=Text)
    happened_at: datetime = moment()
    received_at: datetime = moment(index=True)
    body: bytes = Field(sa_type=LargeBinary)


class Mention(Base, table=True):
    """Which ids a webhook names, anonymous ones too."""

    __tablename__ = "mention"

    app_user_id: str = Field(primary_key=True, sa_type=Text)
    event_id: str = Field(
        sa_column=Column(Text, ForeignKey("billing.webhook_event.id", ondelete="CASCADE"), primary_key=True, index=True)
    )


class Alias(Base, table=True):
    """An anonymous customer id, and whose it is once that is known: by the provider's word, or by a claim."""

    __tablename__ = "alias"

    anonymous_id: str = Field(primary_key=True, sa_type=Text)
    user_id: str | None = Field(default=None, sa_type=Text, index=True)
    claimed_at: datetime | None = optional_moment()
    """When the user claimed it; absent where the provider says so: then the user's own snapshot covers it."""
    seen_at: datetime = moment()


class ProductCover(Base, table=True):
    """Which entitlement a product gives, as snapshots have shown: each shows only one product of an entitlement."""

    __tablename__ = "product_cover"

    product_id: str = Field(primary_key=True, sa_type=Text)
    entitlement: str = Field(primary_key=True, sa_type=Text)


class KeptSnapshot(Base, table=True):
    """The newest snapshot of one customer: of a user, or of an anonymous id a user has claimed."""

    __tablename__ = "snapshot"

    app_user_id: str = Field(primary_key=True, sa_type=Text)
    taken_ms: int = Field(sa_type=BigInteger)
    read_at: datetime = moment()
    document: str = Field(sa_type=Text)
    """The API's answer as JSON text, without the customer's attributes."""


class Customer(Base, table=True):
    """A user's subscription as last announced. ``sequence`` counts the announcements."""

    __tablename__ = "customer"
    __table_args__ = (Index("ix_customer_changes_at", "changes_at"),)

    user_id: str = Field(primary_key=True, sa_type=Text)
    sequence: int = Field(default=0, sa_type=BigInteger)
    plan: str = Field(default="free", sa_type=Text)
    announced: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False))
    """The data of the last SubscriptionChanged without sequence and cause; empty before the first."""
    changes_at: datetime | None = optional_moment()
    """When time alone changes the state next."""
    sync_free_at: datetime | None = optional_moment()
    """When the user's requests to ask the provider will all have been made up for."""
    created_at: datetime = moment()
    updated_at: datetime = moment()

    def takes_sync_turn(self, now: datetime) -> bool:
        """Whether the user may have the provider asked now; counts it if so."""
        free_at = max(self.sync_free_at or now, now)
        if free_at - now > SYNC_EVERY * (SYNCS_AT_ONCE - 1):
            return False
        self.sync_free_at = free_at + SYNC_EVERY
        return True

    def announced_again(self) -> SubscriptionChanged:
        """What was announced last, with its own sequence: who knows it passes it over."""
        told = {**self.announced, "sequence": self.sequence, "cause": "told again as it stands", "repeated": True}
        return SubscriptionChanged.model_validate(told)

    def become(self, state: SubscriptionState, cause: str, at: datetime) -> SubscriptionChanged | None:
        """The event, if the state differs from what was announced last. Nothing announced counts as free."""
        event = state.as_event(self.user_id, self.sequence + 1, cause)
        announcement = _announcement(event)
        if announcement == (self.announced or _announcement(SubscriptionState().as_event(self.user_id, 0, ""))):
            return None
        self.sequence += 1
        self.plan, self.announced, self.updated_at = state.plan, announcement, at
        return event


def _announcement(event: SubscriptionChanged) -> dict[str, Any]:
    # said only when true, so that announcements from before it could be said stay equal
    unsaid = {"sequence", "cause", "heard_at", "repeated"} | (set() if event.provisional else {"provisional"})
    return event.model_dump(mode="json", by_alias=True, exclude=unsaid)


class ProvisionalGrant(Base, table=True):
    """What a webhook gives a user until the provider can be read. Goes with the next reading, and with the customer."""

    __tablename__ = "provisional_grant"

    user_id: str = Field(
        sa_column=Column(Text, ForeignKey("billing.customer.user_id", ondelete="CASCADE"), primary_key=True)
    )
    event_id: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(primary_key=True, sa_type=Text)
    product_id: str = Field(sa_type=Text)
    store: str | None = Field(default=None, sa_type=Text)
    paid_until: datetime = moment()
    access_until: datetime = moment()
    sandbox: bool

    @property
    def grant(self) -> Grant:
        return Grant(
            name=self.name,
            product_id=self.product_id,
            store=self.store,
            paid_until=self.paid_until,
            access_until=self.access_until,
            sandbox=self.sandbox,
            renews=False,
            provisional=True,
        )


class Change(Base, table=True):
    """One entry of a user's history: what was announced, and why."""

    __tablename__ = "change"
    __table_args__ = (UniqueConstraint("user_id", "sequence"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(), primary_key=True))
    user_id: str = Field(sa_type=Text)
    sequence: int = Field(sa_type=BigInteger)
    changed_at: datetime = moment()
    plan: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    expires_at: datetime | None = optional_moment()
    will_renew: bool
    product_id: str | None = Field(default=None, sa_type=Text)
    cause_kind: str = Field(sa_type=Text)
    cause: str = Field(sa_type=Text)
    event_id: str | None = Field(default=None, sa_type=Text)
    event_type: str | None = Field(default=None, sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    """Which rule made the state what it is, in plain words."""
    taken_at: datetime | None = optional_moment()
    """When RevenueCat, by its own clock, gave the snapshot this rests on."""


class Refresh(Base, table=True):
    """That a user's snapshot is to be read at ``due_at``: at most one row a user, whatever asks for it.

    Whoever reads holds a lease under a token; ``version`` tells whether somebody asked again meanwhile.
    """

    __tablename__ = "refresh"
    __table_args__ = (Index("ix_refresh_rank_due_at", "rank", "due_at"),)

    user_id: str = Field(primary_key=True, sa_type=Text)
    due_at: datetime = moment()
    rank: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default=text("0")))
    """Which of the readings due come first: see ``settling.Rank``."""
    version: int = Field(default=1, sa_type=BigInteger)
    attempts: int = 0
    """Failed readings in a row."""
    readings_again: int = 0
    """Readings in a row that contradicted a fresh notice."""
    cause_kind: str = Field(sa_type=Text)
    cause: str = Field(sa_type=Text)
    event_id: str | None = Field(default=None, sa_type=Text)
    event_type: str | None = Field(default=None, sa_type=Text)
    traceparent: str | None = Field(default=None, sa_type=Text)
    correlation_id: str | None = Field(default=None, sa_type=Text)
    """Of the request that asked for it last."""
    lease_token: UUID | None = None
    lease_until: datetime | None = optional_moment()


class SubscriberRemoval(Base, table=True):
    """A deleted user's customers at RevenueCat, until they are deleted there too."""

    __tablename__ = "subscriber_removal"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(), primary_key=True))
    user_id: str = Field(sa_type=Text)
    deletion_id: str | None = Field(default=None, sa_type=Text)
    app_user_ids: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    """Those still to be deleted."""
    asked: str | None = Field(default=None, sa_type=Text)
    """The id whose deletion was asked for and not answered."""
    removed: int = 0
    attempts: int = 0
    """Failed ones in a row."""
    due_at: datetime = moment(index=True)
