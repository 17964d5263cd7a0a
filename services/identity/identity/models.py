"""What identity remembers of a user."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import uuid4

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from common.contracts.identity import SessionEnded, UserChanged, UserDeleted, UserRegistered
from common.db.tables import moment, optional_moment, schema_registry


class Base(SQLModel, registry=schema_registry("identity")):
    """Identity's tables."""


RANKED_UNASKED = 3
"""How many values get a rank from their position when the user gave them none."""
DEVELOPMENT_ISSUER = "development"
"""Stands for the issuer of a caller that no issuer named: the gateway's development user."""
CLERK_UNNAMED = "clerk"
"""Stands for the issuer of a user that only webhooks have told of: the first token names it."""
CLOCKS_APART = timedelta(minutes=5)
"""How far ahead of ours the provider's clock may count: one absurd time must not outrank every later change."""
TIME_FOR_WEBHOOK = timedelta(seconds=10)
"""How long after the first sight of a user the provider's webhook may take before it is asked."""
_CLERK_ID = re.compile(r"user_[A-Za-z0-9_-]{1,122}")


def is_clerks(user_id: str, issuer: str) -> bool:
    """Whether Clerk keeps the user: its ids have a form that no other issuer's have."""
    return issuer != DEVELOPMENT_ISSUER and _CLERK_ID.fullmatch(user_id) is not None


class Profile(NamedTuple):
    """A user as the identity provider describes them. ``email`` is a verified address, or None."""

    user_id: str
    email: str | None
    changed_at: datetime


class User(Base, table=True):
    """Someone who was seen or told of, what they struggle with, and how new what we know of them is."""

    __tablename__ = "user"
    __table_args__ = (Index("ix_user_lookup_at", "lookup_at", postgresql_where=text("lookup_at IS NOT NULL")),)

    id: str = Field(primary_key=True, sa_type=Text)
    issuer: str = Field(sa_type=Text)
    email: str | None = Field(default=None, sa_type=Text)
    """Absent until the identity provider has told us. Not unique: whoever signs up again is another user."""
    struggle: str | None = Field(default=None, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    """Grows with every event about the user; nothing else changes it."""
    described_at: datetime | None = optional_moment()
    """The provider's time of the newest description we hold; an older one changes nothing."""
    lookup_at: datetime | None = optional_moment()
    """When to ask the provider about the user; absent once it has told us, or cannot."""
    lookup_attempts: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})
    created_at: datetime = moment()
    updated_at: datetime = moment()

    @classmethod
    def first_seen(cls, user_id: str, issuer: str, at: datetime) -> "User":
        lookup_at = at + TIME_FOR_WEBHOOK if is_clerks(user_id, issuer) else None
        return cls(id=user_id, issuer=issuer, lookup_at=lookup_at, created_at=at, updated_at=at)

    @classmethod
    def described(cls, profile: Profile, at: datetime) -> "User":
        described_at = min(profile.changed_at, at + CLOCKS_APART)
        return cls(
            id=profile.user_id,
            issuer=CLERK_UNNAMED,
            email=profile.email,
            described_at=described_at,
            created_at=at,
            updated_at=at,
        )

    def registered(self) -> UserRegistered:
        return UserRegistered(user_id=self.id, issuer=self.issuer, email=self.email, sequence=self.version)

    def take_profile(self, profile: Profile, at: datetime) -> UserChanged | None:
        """Becomes what the provider says, unless it said something newer before. The event, if others can notice."""
        self.lookup_at = None
        if self.described_at is not None and profile.changed_at <= self.described_at:
            return None
        self.described_at = min(profile.changed_at, at + CLOCKS_APART)
        if profile.email == self.email:
            return None
        self.email = profile.email
        return self._changed(at)

    def name_issuer(self, issuer: str, at: datetime) -> UserChanged:
        self.issuer = issuer
        return self._changed(at)

    def _changed(self, at: datetime) -> UserChanged:
        self.version, self.updated_at = self.version + 1, at
        return UserChanged(user_id=self.id, issuer=self.issuer, email=self.email, sequence=self.version)

    def set_struggle(self, struggle: str | None, at: datetime) -> None:
        """None forgets it."""
        self.struggle = struggle
        self.updated_at = at


class ChosenValue(NamedTuple):
    value_id: str
    value_text: str
    rank: int | None


class UserValue(Base, table=True):
    """One thing a user values. A user's values are always replaced as a whole."""

    __tablename__ = "user_value"

    id: str = Field(default_factory=lambda: str(uuid4()), primary_key=True, sa_type=Text)
    user_id: str = Field(
        sa_column=Column(Text, ForeignKey("identity.user.id", ondelete="CASCADE"), nullable=False, index=True)
    )
    value_id: str = Field(sa_type=Text)
    value_text: str = Field(sa_type=Text)
    rank: int | None = Field(default=None, sa_type=BigInteger)
    position: int = Field(sa_type=BigInteger)
    """Where the user put it: values chosen together were created at the same instant."""
    created_at: datetime = moment()
    updated_at: datetime = moment()

    @classmethod
    def chosen_together(cls, user_id: str, chosen: Sequence[ChosenValue], at: datetime) -> "list[UserValue]":
        """The rows of one choice; the first three get their position as rank unless they bring one."""
        return [
            cls(
                user_id=user_id,
                value_id=value.value_id,
                value_text=value.value_text,
                rank=value.rank if value.rank is not None else _rank_at(position),
                position=position,
                created_at=at,
                updated_at=at,
            )
            for position, value in enumerate(chosen)
        ]


def _rank_at(position: int) -> int | None:
    return position + 1 if position < RANKED_UNASKED else None


class StoredPreferences(Base, table=True):
    """A preferences document as it was sent, whatever its version: JSON text, never rewritten by the database."""

    __tablename__ = "preferences"

    user_id: str = Field(sa_column=Column(Text, ForeignKey("identity.user.id", ondelete="CASCADE"), primary_key=True))
    schema_version: int = Field(sa_type=BigInteger)
    document: str = Field(sa_type=Text)
    created_at: datetime = moment()
    updated_at: datetime = moment()


class Link(Base, table=True):
    """A subject of another issuer that is one of our users. It outlives the user: the subject stays theirs."""

    __tablename__ = "link"

    issuer: str = Field(primary_key=True, sa_type=Text)
    subject: str = Field(primary_key=True, sa_type=Text, index=True)
    user_id: str = Field(sa_type=Text, index=True)
    created_at: datetime = moment()


class WebhookSeen(Base, table=True):
    """A webhook that has taken effect. Who it was about is not kept."""

    __tablename__ = "webhook_seen"

    id: str = Field(primary_key=True, sa_type=Text)
    type: str = Field(sa_type=Text)
    received_at: datetime = moment(index=True)


class EndedSession(Base, table=True):
    """A session that the provider ended while its tokens may still be about."""

    __tablename__ = "ended_session"

    session_id: str = Field(primary_key=True, sa_type=Text)
    user_id: str = Field(sa_type=Text, index=True)
    ended_at: datetime = moment()
    recorded_at: datetime = moment(index=True)

    def ended(self) -> SessionEnded:
        return SessionEnded(session_id=self.session_id, user_id=self.user_id, ended_at=self.ended_at, sequence=1)


class Tombstone(Base, table=True):
    """A user who was deleted. It stays for years: whatever tells of them later is late."""

    __tablename__ = "tombstone"

    user_id: str = Field(primary_key=True, sa_type=Text)
    deleted_at: datetime = moment(index=True)


Store = Literal["identity", "billing", "revenuecat", "media", "storage", "clerk"]
STORES: tuple[Store, ...] = ("identity", "billing", "revenuecat", "media", "storage", "clerk")
"""Where something of a user is held, each with a receipt of its own."""
ReceiptStatus = Literal["pending", "completed", "not_applicable"]


class Deletion(Base, table=True):
    """The erasing of one user everywhere. Whoever knows the id may follow it: it cannot be guessed."""

    __tablename__ = "deletion"
    __table_args__ = (Index("ix_deletion_open", "requested_at", postgresql_where=text("completed_at IS NULL")),)

    id: str = Field(primary_key=True, sa_type=Text)
    user_id: str = Field(sa_type=Text, unique=True)
    issuer: str = Field(sa_type=Text)
    requested_at: datetime = moment()
    completed_at: datetime | None = optional_moment()

    @property
    def status(self) -> Literal["pending", "completed"]:
        return "completed" if self.completed_at else "pending"

    def announced(self, sequence: int) -> UserDeleted:
        return UserDeleted(user_id=self.user_id, issuer=self.issuer, deletion_id=self.id, sequence=sequence)


class Receipt(Base, table=True):
    """That one store holds nothing of the user any more, and how much it held; or what still stands in the way."""

    __tablename__ = "receipt"
    __table_args__ = (Index("ix_receipt_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),)

    deletion_id: str = Field(
        sa_column=Column(Text, ForeignKey("identity.deletion.id", ondelete="CASCADE"), primary_key=True)
    )
    store: str = Field(primary_key=True, sa_type=Text)
    status: str = Field(sa_type=Text)
    counts: dict[str, int] = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False))
    due_at: datetime | None = optional_moment()
    """When our own worker tries next; absent where another service does the work, or nothing is left to do."""
    attempts: int = Field(default=0, sa_type=BigInteger)
    problem: str | None = Field(default=None, sa_type=Text)
    completed_at: datetime | None = optional_moment()

    def complete(self, counts: Mapping[str, int], at: datetime) -> None:
        self.status, self.counts, self.completed_at = "completed", dict(counts), at
        self.due_at = self.problem = None

    def postpone(self, problem: str, until: datetime) -> None:
        self.problem, self.due_at = problem, until
