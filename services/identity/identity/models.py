"""What identity remembers of a user."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import BigInteger, Column, ForeignKey, Text
from sqlmodel import Field, SQLModel

from common.contracts.identity import UserRegistered
from common.db.tables import moment, schema_registry


class Base(SQLModel, registry=schema_registry("identity")):
    """Identity's tables."""


RANKED_UNASKED = 3
"""How many values get a rank from their position when the user gave them none."""


class User(Base, table=True):
    __tablename__ = "user"

    id: str = Field(primary_key=True, sa_type=Text)
    issuer: str = Field(sa_type=Text)
    email: str | None = Field(default=None, sa_type=Text)
    """Absent until the identity provider has told us."""
    struggle: str | None = Field(default=None, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    """Grows with every event about the user; nothing else changes it."""
    created_at: datetime = moment()
    updated_at: datetime = moment()

    @classmethod
    def first_seen(cls, user_id: str, issuer: str, at: datetime) -> "User":
        return cls(id=user_id, issuer=issuer, created_at=at, updated_at=at)

    def registered(self) -> UserRegistered:
        return UserRegistered(user_id=self.id, issuer=self.issuer, email=self.email, sequence=self.version)

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
