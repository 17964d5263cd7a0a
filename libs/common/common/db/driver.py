"""The driver without SQLAlchemy: how it takes a URL, and what it raises when the database is away."""

import re

import asyncpg

LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a plain session raises when PostgreSQL is down, full or restarting; the last when it ends amid an exchange."""
_SCHEME = re.compile(r"^postgres(ql)?(\+\w+)?://")


def plain_url(url: str) -> str:
    """The URL as asyncpg takes it, without SQLAlchemy's driver name."""
    return _SCHEME.sub("postgresql://", url)
