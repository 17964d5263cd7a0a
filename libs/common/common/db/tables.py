"""Each schema has its own MetaData and registry, so that two services' tables can live in one process."""

from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, MetaData, Table, Text, func, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import registry
from sqlmodel import Field

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def schema_registry(schema: str) -> registry:
    """The registry of one service's tables; its MetaData already holds the schema's outbox and inbox.

    >>> class Base(SQLModel, registry=schema_registry("media")):
    ...     "Media's tables."
    """
    metadata = MetaData(schema=schema, naming_convention=NAMING)
    outbox_table(metadata)
    inbox_table(metadata)
    return registry(metadata=metadata)


def outbox_table(metadata: MetaData) -> Table:
    """Events committed with the state that caused them, until the relay has published them."""
    return Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("message_id", postgresql.UUID(as_uuid=True), nullable=False, unique=True),
        Column("type", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("body", Text, nullable=False, comment="the CloudEvents envelope as JSON"),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("published_at", DateTime(timezone=True)),
        Index("ix_outbox_unpublished", "id", postgresql_where=text("published_at IS NULL")),
        Index("ix_outbox_published_at", "published_at", postgresql_where=text("published_at IS NOT NULL")),
    )


def inbox_table(metadata: MetaData) -> Table:
    """Which messages each consumer has handled."""
    return Table(
        "inbox",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("message_id", postgresql.UUID(as_uuid=True), primary_key=True),
        Column("handled_at", DateTime(timezone=True), nullable=False, server_default=func.now(), index=True),
    )


def erased_user_table(metadata: MetaData) -> Table:
    """Whose account was deleted: kept long after everything else is gone, so that nothing late brings a person back."""
    return Table(
        "erased_user",
        metadata,
        Column("user_id", Text, primary_key=True),
        Column("deletion_id", Text),
        Column("erased_at", DateTime(timezone=True), nullable=False),
    )


@cache
def outbox_of(schema: str) -> Table:
    """The outbox of any schema, for statements."""
    return outbox_table(MetaData(schema=schema))


@cache
def inbox_of(schema: str) -> Table:
    return inbox_table(MetaData(schema=schema))


@cache
def erased_user_of(schema: str) -> Table:
    return erased_user_table(MetaData(schema=schema))


def moment(**options: Any) -> Any:
    """A column of aware UTC instants."""
    return Field(sa_type=DateTime(timezone=True), **options)


def optional_moment(**options: Any) -> Any:
    return Field(default=None, nullable=True, sa_type=DateTime(timezone=True), **options)
