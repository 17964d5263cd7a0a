"""A small service of the tests: an outbox, an inbox, and a table in which every effect leaves a row.

The table has no unique key, so an event that took effect twice shows.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Column, Identity, MetaData, Table, Text, insert, text
from sqlalchemy.ext.asyncio import create_async_engine

from common.contracts.identity import UserChanged
from common.db.engine import REACHING_FAILED, Database
from common.db.tables import inbox_table, outbox_table
from common.db.uow import UnitOfWork
from common.messaging.consumers import Subscription
from common.messaging.envelope import Envelope
from common.messaging.outbox import Outbox, Relay
from common.settings import DatabaseSettings
from tests.support.ways import way_to

T = TypeVar("T")
SCHEMA = "ledger"
QUEUE = "ledger.users"
METADATA = MetaData(schema=SCHEMA)
outbox_table(METADATA)
inbox_table(METADATA)
EFFECT = Table(
    "effect",
    METADATA,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
)


@asynccontextmanager
async def ledger(url: str, *, pool_size: int = 10, way: Mapping[str, Any] | None = None) -> AsyncIterator[Database]:
    """The ledger's database, its tables made where they are not; ``way`` are the settings of how to get there."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as session:
        await session.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        await session.run_sync(METADATA.create_all)
    await engine.dispose()
    settings = DatabaseSettings(**{**way_to(url), "database_pool_size": pool_size, **(way or {})})
    database = Database.of(settings, Outbox(SCHEMA))
    yield database
    await database.close()


def relay_of(database: Database, bus: object, *, window: int = 256, poll_seconds: float = 0.05) -> Relay:
    return Relay(Outbox(SCHEMA), database.direct_url, bus, window=window, poll_seconds=poll_seconds)  # type: ignore[arg-type]


@asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[list[asyncio.Task[None]]]:
    """The relays at work, ended with the block."""
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def change(user: str, sequence: int) -> UserChanged:
    return UserChanged(user_id=user, issuer="https://issuer", sequence=sequence)


async def emit(database: Database, *events: UserChanged) -> None:
    """One transaction that emits the events."""
    async with database.transaction() as uow:
        uow.emit(*events)


async def record(uow: UnitOfWork, event: UserChanged) -> None:
    """A handler with an effect that can be counted."""
    await uow.session.execute(insert(EFFECT).values(subject=event.subject, sequence=event.sequence))


def recorder(queue: str = QUEUE) -> Subscription:
    subscription = Subscription(queue)
    subscription.on(UserChanged)(record)
    return subscription


async def effects(database: Database) -> list[tuple[str, int]]:
    """Every effect as (subject, sequence), oldest first."""
    async with database.engine.connect() as session:
        rows = await session.execute(text(f"SELECT subject, sequence FROM {SCHEMA}.effect ORDER BY id"))
        return [(row.subject, row.sequence) for row in rows]


async def count(database: Database, what: str) -> int:
    """Rows of ``ledger.<what>``, which may carry a condition."""
    async with database.engine.connect() as session:
        return int((await session.execute(text(f"SELECT count(*) FROM {SCHEMA}.{what}"))).scalar_one())


def by_subject(facts: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = defaultdict(list)
    for subject, sequence in facts:
        grouped[subject].append(sequence)
    return dict(grouped)


async def until(condition: Callable[[], Awaitable[T]], seconds: float = 20) -> T:
    """The first true value of an awaitable condition; an unreachable database counts as not yet."""
    async with asyncio.timeout(seconds):
        while True:
            with suppress(*REACHING_FAILED):
                if value := await condition():
                    return value
            await asyncio.sleep(0.02)


class WatchedBus:
    """A bus that only publishes: remembers what it took and fails or waits as it is told."""

    def __init__(self) -> None:
        self.published: list[Envelope] = []
        self.in_flight: list[str] = []
        self.most_in_flight = 0
        self.failing: set[str] = set()
        self.failures = 0
        self.refuses_all = False
        self.open = asyncio.Event()
        self.open.set()

    async def publish(self, envelope: Envelope) -> None:
        self.in_flight.append(envelope.subject)
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        try:
            assert self.in_flight.count(envelope.subject) == 1, "two events of one subject in flight"
            await self.open.wait()
            await asyncio.sleep(0)
            if self.refuses_all or envelope.subject in self.failing:
                self.failures += 1
                raise ConnectionError("the broker refuses")
            self.published.append(envelope)
        finally:
            self.in_flight.remove(envelope.subject)

    def order(self) -> dict[str, list[int]]:
        """The sequences published, by subject."""
        return by_subject((envelope.subject, envelope.sequence) for envelope in self.published)

    async def took(self, number: int, seconds: float = 20) -> None:
        """Returns when ``number`` events have been published in all."""

        async def enough() -> bool:
            return len(self.published) >= number

        await until(enough, seconds)
