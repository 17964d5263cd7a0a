"""The database of one service: an engine, its transactions, and whether it answers."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from prometheus_client import Gauge
from sqlalchemy import event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from common.clock import Clock, utc_now
from common.db.driver import LOST, plain_url
from common.db.uow import EventSink, UnitOfWork
from common.settings import DatabaseSettings

STATEMENT_SECONDS = 30
TRUSTED_SECONDS = 15
"""A pooled session used this recently is not asked whether it lives: the question costs three round trips."""
POOL_SIZE = Gauge("database_pool_sessions_limit", "Database sessions the pool opens at most", ["service"])
POOL_IN_USE = Gauge("database_pool_sessions_in_use", "Database sessions in use", ["service"])


class Database:
    """One service's schema in PostgreSQL.

    ``pooler="transaction"`` is for a URL that goes through a transaction-mode pooler: prepared statements
    do not survive there.
    """

    def __init__(
        self, url: str, *, outbox: EventSink, direct_url: str | None = None, pool_size: int = 10, pooler: str = "none",
        clock: Clock = utc_now,
    ) -> None:  # fmt: skip
        self.outbox = outbox
        self.direct_url = plain_url(direct_url or url)
        self.clock = clock
        options: dict[str, Any] = {"timeout": 5, "command_timeout": STATEMENT_SECONDS}
        if pooler == "transaction":
            options |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        self.engine = engine_of(
            url, options, pool_size=pool_size, max_overflow=0, pool_timeout=5, pool_recycle=1800
        )  # fmt: skip
        event.listen(self.engine.sync_engine, "handle_error", _forget_values)
        event.listen(self.engine.sync_engine, "checkin", _note_checkin)
        event.listen(self.engine.sync_engine, "checkout", _replace_dead)
        self._sessions: sessionmaker[Any] = sessionmaker(self.engine, class_=AsyncSession, expire_on_commit=False)  # type: ignore[call-overload]

    @classmethod
    def of(cls, settings: DatabaseSettings, outbox: EventSink, clock: Clock = utc_now) -> "Database":
        database = cls(
            settings.database_url.get_secret_value(), outbox=outbox, direct_url=settings.direct_url,
            pool_size=settings.database_pool_size, pooler=settings.database_pooler, clock=clock,
        )  # fmt: skip
        pool = database.engine.pool
        assert isinstance(pool, QueuePool)
        POOL_SIZE.labels(settings.service).set(pool.size())
        POOL_IN_USE.labels(settings.service).set_function(pool.checkedout)
        return database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[UnitOfWork]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        session: AsyncSession = self._sessions()
        async with session, session.begin():
            uow = UnitOfWork(session, self.outbox, self.clock)
            yield uow
            await uow.flush()

    async def check(self) -> str | None:
        """Readiness: None when the database answers."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return None

    async def close(self) -> None:
        await self.engine.dispose()


def _note_checkin(_: Any, record: ConnectionPoolEntry) -> None:
    record.info["returned_at"] = time.monotonic()


def _replace_dead(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    """Has the pool open a new session in place of one that the server ended, or that went silent while unused."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server ended the session")
    returned_at = record.info.get("returned_at")
    if returned_at is not None and time.monotonic() - returned_at > TRUSTED_SECONDS:
        try:
            connection.ping()
        except Exception as error:  # whatever is wrong with it, another one is needed
            raise DisconnectionError("the session does not answer") from error


def _forget_values(context: ExceptionContext) -> None:
    """Errors name the rule that was broken and not the row, whose words would end in a log or on a parked message."""
    driver_error = context.original_exception
    told = driver_error.__cause__
    detail = getattr(told, "detail", None)
    if not detail:
        return
    for error in filter(None, (driver_error, context.sqlalchemy_exception)):
        error.args = tuple(one.replace(detail, "…") if isinstance(one, str) else one for one in error.args)
    told.detail = None  # type: ignore[union-attr]


def engine_of(url: str, options: Mapping[str, Any], **pool: Any) -> AsyncEngine:
    """An engine whose driver reads the URL itself: SQLAlchemy hands it `sslmode` under a name that it does not know."""
    return create_async_engine(
        "postgresql+asyncpg://", connect_args={"dsn": plain_url(url), **options}, hide_parameters=True, **pool
    )


REACHING_FAILED = (*LOST, PoolTimeout, DBAPIError)
"""Everything that a database which is down, full or restarting can make a statement raise."""

_LOCAL_FILES = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""Errors of the operating system that no network causes: faults of a program, not of the database."""


def is_outage(error: BaseException) -> bool:
    """Whether the database, not the statement, is at fault: a lost socket, or SQLSTATE classes 08, 53 and 57P."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and is_outage(error.orig))
    if isinstance(error, _LOCAL_FILES):
        return False
    if isinstance(error, OSError | TimeoutError | PoolTimeout | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return True
    return str(getattr(error, "sqlstate", None) or "").startswith(("08", "53", "57P"))
