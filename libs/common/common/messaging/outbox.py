"""The outbox and its relay: an event is published if and only if the transaction that caused it committed.

One relay per schema leads by an advisory lock on a direct session. It finds work by state, never by a cursor, because
rows commit in another order than their ids. Events of one subject go out one after another; subjects go out side by
side.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from common.contracts.event import Event
from common.db.driver import LOST
from common.db.tables import outbox_of
from common.messaging.bus import Bus
from common.messaging.envelope import MAXIMUM_BYTES, Envelope
from common.observability import OUTBOX_AGE, OUTBOX_LEADING, OUTBOX_PENDING, OUTBOX_PUBLISHED, logger
from common.tracing import current_trace, span_under

log = logger("outbox")

_TRY_TO_LEAD = "SELECT pg_try_advisory_lock(hashtext($1))"
_FETCH = """
    SELECT id, subject, body FROM {schema}.outbox
    WHERE published_at IS NULL AND id <> ALL($1::bigint[]) AND subject <> ALL($2::text[])
    ORDER BY id LIMIT $3
"""
_MARK = "UPDATE {schema}.outbox SET published_at = now() WHERE id = ANY($1::bigint[])"
_MEASURE = """
    SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)
    FROM {schema}.outbox WHERE published_at IS NULL
"""
_KEEPALIVE = """
    SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '3', false)
"""
"""A leader that vanished without a word loses its lock within half a minute instead of two hours."""


class Outbox:
    """Writes events into a schema's outbox within the caller's transaction."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.channel = f"outbox_{schema}"
        self._insert = insert(outbox_of(schema))
        self._notify = text("SELECT pg_notify(:channel, '')")

    async def write(self, session: AsyncSession, events: Sequence[Event], at: datetime) -> None:
        """Raises ValueError for an event that is too large to be read again: it would stop its subject for ever."""
        envelopes = [Envelope.of(event, at=at, trace=current_trace()) for event in events]
        rows: list[dict[str, Any]] = [
            {"message_id": e.message_id, "type": e.type, "subject": e.subject, "body": e.to_json()} for e in envelopes
        ]
        if any(len(row["body"]) > MAXIMUM_BYTES for row in rows):
            raise ValueError(f"an event of {self.schema} is over {MAXIMUM_BYTES} bytes")
        await session.execute(self._insert, rows)
        await session.execute(self._notify, {"channel": self.channel})


class Relay:
    """Publishes one schema's outbox. Run it in every worker: one leads, the others stand by."""

    def __init__(
        self, outbox: Outbox, direct_url: str, bus: Bus, *, window: int = 256, poll_seconds: float = 1.0
    ) -> None:
        self._outbox = outbox
        self._schema = outbox.schema
        self._url = direct_url
        self._bus = bus
        self._window = window
        self._poll = poll_seconds
        self._wake = asyncio.Event()
        self._in_flight: set[int] = set()
        self._done: list[int] = []
        self._chains: dict[str, deque[tuple[int, str]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._blocked: dict[str, float] = {}
        self._warn_at = 0.0
        self.leading = False

    async def run(self) -> None:
        """Leads whenever it can, for ever; a lost session or broker is waited out. Ends by cancellation."""
        while True:
            try:
                await self._lead()
            except LOST as error:
                log.warning("relay_interrupted", schema=self._schema, error=f"{type(error).__name__}: {error}")
            finally:
                self._led(False)
                await self._abandon()
            await asyncio.sleep(self._poll)

    def _led(self, leading: bool) -> None:
        """Only who leads knows how the outbox stands: what it measured goes with the lead."""
        self.leading = leading
        OUTBOX_LEADING.labels(self._schema).set(leading)
        if not leading:
            OUTBOX_PENDING.remove(self._schema)
            OUTBOX_AGE.remove(self._schema)

    async def _lead(self) -> None:
        session = await asyncpg.connect(self._url, timeout=5, command_timeout=30)
        try:
            await session.execute(_KEEPALIVE)
            session.add_termination_listener(lambda _: self._wake.set())
            while not self.leading:
                self._led(await session.fetchval(_TRY_TO_LEAD, self._outbox.channel))
                if not self.leading:
                    await asyncio.sleep(self._poll)
            log.info("relay_leads", schema=self._schema)
            await session.add_listener(self._outbox.channel, lambda *_: self._wake.set())
            await self._publish_while_leading(session)
        finally:
            with contextlib.suppress(*LOST):
                await session.close(timeout=2)

    async def _publish_while_leading(self, session: "asyncpg.Connection[asyncpg.Record]") -> None:
        loop = asyncio.get_running_loop()
        measured = 0.0
        while True:
            self._wake.clear()
            await self._mark(session)
            fetched = await self._fetch(session, loop.time())
            if loop.time() - measured > 10 * self._poll:
                measured = loop.time()
                await self._measure(session)
            if fetched == 0 or len(self._in_flight) >= self._window // 2:
                with contextlib.suppress(TimeoutError):
                    # not wait_for: on Python 3.11 it can swallow a cancellation that meets the wake-up
                    async with asyncio.timeout(self._poll):
                        await self._wake.wait()

    async def _fetch(self, session: "asyncpg.Connection[asyncpg.Record]", now: float) -> int:
        room = self._window - len(self._in_flight)
        if room <= 0:
            return 0
        self._blocked = {subject: until for subject, until in self._blocked.items() if until > now}
        query = _FETCH.format(schema=self._schema)
        rows = await session.fetch(query, list(self._in_flight), list(self._blocked), room)
        for row in rows:
            self._in_flight.add(row["id"])
            chain = self._chains.get(row["subject"])
            if chain is None:
                chain = self._chains[row["subject"]] = deque()
                self._start(self._publish_chain(row["subject"], chain))
            chain.append((row["id"], row["body"]))
        return len(rows)

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _publish_chain(self, subject: str, chain: deque[tuple[int, str]]) -> None:
        """One subject's events in order. A failure stops what follows it for this subject only, for a while."""
        try:
            while chain:
                row, body = chain[0]
                await self._send(Envelope.from_json(body))
                chain.popleft()
                self._done.append(row)
                if len(self._done) >= self._window // 4:  # under load a statement marks and fetches many rows
                    self._wake.set()
        except Exception as error:  # whatever the cause, the rows stay unpublished and are tried again
            self._failed(subject, error)
        finally:
            self._in_flight.difference_update(row for row, _ in chain)
            self._chains.pop(subject, None)
            if not self._chains:
                self._wake.set()

    async def _send(self, envelope: Envelope) -> None:
        attributes = {
            "messaging.system": "rabbitmq",
            "messaging.operation.type": "send",
            "messaging.operation.name": "publish",
            "messaging.destination.name": "events",
            "messaging.message.id": envelope.id,
            "cloudevents.event_type": envelope.type,
        }
        with span_under(envelope.traceparent, f"publish {envelope.type}", "producer", attributes) as step:
            await self._bus.publish(envelope.sent_in(step.traceparent))

    def _failed(self, subject: str, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        self._blocked[subject] = now + self._poll
        if now >= self._warn_at:  # a broker that is down fails a whole window at once: one line says it
            self._warn_at = now + self._poll
            reason = f"{type(error).__name__}: {error}"
            log.warning(
                "publish_failed", schema=self._schema, subject=subject, waiting=len(self._blocked), error=reason
            )

    async def _mark(self, session: "asyncpg.Connection[asyncpg.Record]") -> None:
        if not self._done:
            return
        done, self._done = self._done, []
        try:
            await session.execute(_MARK.format(schema=self._schema), done)
        finally:
            self._in_flight.difference_update(done)
        OUTBOX_PUBLISHED.labels(self._schema).inc(len(done))

    async def _measure(self, session: "asyncpg.Connection[asyncpg.Record]") -> None:
        pending, age = await session.fetchrow(_MEASURE.format(schema=self._schema)) or (0, 0)
        OUTBOX_PENDING.labels(self._schema).set(pending)
        OUTBOX_AGE.labels(self._schema).set(float(age))

    async def _abandon(self) -> None:
        """Forgets the window. What was published and not marked goes out again; consumers do not mind."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._in_flight.clear()
        self._done.clear()
        self._chains.clear()
        self._blocked.clear()
