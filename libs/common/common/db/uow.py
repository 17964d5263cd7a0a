"""The unit of work: one transaction, and the events that are true once it commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from common.clock import Clock
from common.contracts.event import Event


class EventSink(Protocol):
    async def write(self, session: AsyncSession, events: Sequence[Event], at: datetime) -> None:
        """Makes the events part of the session's transaction."""
        ...


class UnitOfWork:
    """One open transaction. Opened and committed at the edge; commands and queries only use it."""

    def __init__(self, session: AsyncSession, outbox: EventSink, clock: Clock) -> None:
        self.session = session
        self._outbox = outbox
        self._clock = clock
        self._emitted: list[Event] = []

    @property
    def now(self) -> datetime:
        return self._clock()

    def emit(self, *events: Event) -> None:
        """Makes the events part of this transaction; the relay publishes them after the commit."""
        self._emitted.extend(events)

    async def flush(self) -> None:
        """Writes what was emitted. Called once, by the transaction's edge."""
        if self._emitted:
            await self.session.flush()
            await self._outbox.write(self.session, self._emitted, self.now)
            self._emitted = []
