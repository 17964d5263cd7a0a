"""The bus on PostgreSQL: for a run without a broker. Durable, with the same retry and the same parking.

Its own schema ``bus`` holds one row per message and queue. A claim names the claiming session; the rows of a session
that no longer exists are free again, so a killed process delays nothing.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import asyncpg

from common.db.engine import is_outage, plain_url
from common.errors import PermanentError
from common.messaging.bus import UNROUTED, Binding, Deliver, ParkedMessage, RetryPolicy
from common.messaging.envelope import Envelope
from common.observability import MESSAGES_HANDLED, logger

CHANNEL = "bus"
LEASE_SECONDS = 60
POLL_SECONDS = 1.0
LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
log = logger("postgres_bus")

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS bus;
CREATE TABLE IF NOT EXISTS bus.binding (
    queue text NOT NULL, type text NOT NULL, broadcast_pid int, PRIMARY KEY (queue, type)
);
CREATE TABLE IF NOT EXISTS bus.message (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL, body text NOT NULL, attempts int NOT NULL DEFAULT 0,
    first_seen timestamptz NOT NULL DEFAULT now(), available_at timestamptz NOT NULL DEFAULT now(),
    claimed_by int, claimed_until timestamptz, parked boolean NOT NULL DEFAULT false, reason text
);
CREATE INDEX IF NOT EXISTS ix_message_ready ON bus.message (queue, id) WHERE NOT parked;
CREATE INDEX IF NOT EXISTS ix_message_parked ON bus.message (queue, id) WHERE parked;
"""
_PUBLISH = f"""
    WITH sent AS (SELECT * FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t(type, body, place)),
    copies AS (
        INSERT INTO bus.message (queue, body)
        SELECT coalesce(b.queue, '{UNROUTED}'), sent.body
        FROM sent LEFT JOIN bus.binding b ON b.type = sent.type ORDER BY sent.place RETURNING 1)
    SELECT pg_notify('{CHANNEL}', ''), count(*) FROM copies
"""
_CLAIM = f"""
    UPDATE bus.message SET claimed_by = $2, claimed_until = now() + interval '{LEASE_SECONDS} seconds'
    WHERE id IN (
        SELECT id FROM bus.message
        WHERE queue = $1 AND NOT parked AND available_at <= now()
          AND (claimed_until IS NULL OR claimed_until < now()
               OR claimed_by NOT IN (SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL))
        ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)
    RETURNING id, body, attempts
"""
_RENEW = f"""
    UPDATE bus.message SET claimed_until = now() + interval '{LEASE_SECONDS} seconds'
    WHERE id = ANY($1::bigint[]) AND claimed_by = $2
"""
_RETRY = """
    UPDATE bus.message SET attempts = $2, reason = $3, claimed_by = NULL, claimed_until = NULL,
    available_at = now() + make_interval(secs => $4) WHERE id = $1
"""
_PARK = """
    UPDATE bus.message SET parked = true, attempts = $2, reason = $3, claimed_by = NULL, claimed_until = NULL
    WHERE id = $1
"""


class PostgresBus:
    """``async with PostgresBus(url) as bus``. The URL must be direct: it listens."""

    def __init__(self, url: str, *, retry: RetryPolicy | None = None, pool_size: int = 8) -> None:
        self._url = plain_url(url)
        self._pool_size = pool_size
        self.retry = retry or RetryPolicy()
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._listener: asyncpg.Connection[asyncpg.Record] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._pending: list[tuple[str, str, asyncio.Future[None]]] = []
        self._consumptions: list[PostgresConsumption] = []

    async def __aenter__(self) -> "PostgresBus":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        self._pool = await asyncpg.create_pool(self._url, min_size=2, max_size=self._pool_size, command_timeout=30)
        async with self._pool.acquire() as session, session.transaction():
            await session.execute("SELECT pg_advisory_xact_lock(hashtext('bus_schema'))")
            await session.execute(SCHEMA)
        await self._listen()
        self._keeper = asyncio.create_task(self._keep_listening())

    async def close(self) -> None:
        for consumption in list(self._consumptions):
            await consumption.stop()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._listener is not None and not self._listener.is_closed():
            await self._listener.close(timeout=2)
        if self._pool is not None:
            await asyncio.wait_for(self._pool.close(), 5)

    async def check(self) -> str | None:
        await self.pool.fetchval("SELECT 1")
        return None

    @property
    def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        assert self._pool is not None, "start() first"
        return self._pool

    @property
    def session_id(self) -> int:
        """The listening session's process id: claims made in its name end with it."""
        assert self._listener is not None, "start() first"
        return int(self._listener.get_server_pid())

    async def publish(self, envelope: Envelope) -> None:
        """Publishes of one moment share one statement; each returns when that has committed."""
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((envelope.type, envelope.to_json(), settled))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await settled

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                await self.pool.fetch(_PUBLISH, [kind for kind, _, _ in batch], [body for _, body, _ in batch])
            except Exception as error:  # each publisher gets the error and decides
                for _, _, settled in batch:
                    if not settled.done():
                        settled.set_exception(error)
            else:
                for _, _, settled in batch:
                    if not settled.done():
                        settled.set_result(None)

    async def declare(self, binding: Binding) -> None:
        rows = [(binding.queue, kind) for kind in binding.types]
        insert = "INSERT INTO bus.binding (queue, type) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        await self.pool.executemany(insert, rows)

    async def consume(self, binding: Binding, deliver: Deliver, *, prefetch: int = 16) -> "PostgresConsumption":
        if binding.broadcast:
            binding = Binding(f"{binding.queue}@{uuid4()}", binding.types, broadcast=True)
            await self._declare_broadcast(binding)
        else:
            await self.declare(binding)
        consumption = PostgresConsumption(self, binding, deliver, prefetch)
        self._consumptions.append(consumption)
        consumption.start()
        return consumption

    async def _declare_broadcast(self, binding: Binding) -> None:
        async with self.pool.acquire() as session, session.transaction():
            gone = await session.fetch(
                "DELETE FROM bus.binding WHERE broadcast_pid NOT IN"
                " (SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL) RETURNING queue"
            )
            await session.execute("DELETE FROM bus.message WHERE queue = ANY($1)", [row["queue"] for row in gone])
            await session.executemany(
                "INSERT INTO bus.binding (queue, type, broadcast_pid) VALUES ($1, $2, $3)",
                [(binding.queue, kind, self.session_id) for kind in binding.types],
            )

    async def forget(self, consumption: "PostgresConsumption") -> None:
        self._consumptions.remove(consumption)
        if consumption.binding.broadcast:
            with contextlib.suppress(*LOST):
                await self.pool.execute("DELETE FROM bus.binding WHERE queue = $1", consumption.binding.queue)
                await self.pool.execute("DELETE FROM bus.message WHERE queue = $1", consumption.binding.queue)

    async def _listen(self) -> None:
        self._listener = await asyncpg.connect(self._url, timeout=5)
        await self._listener.add_listener(CHANNEL, self._notified)

    def _notified(self, *_: Any) -> None:
        for consumption in self._consumptions:
            consumption.wake.set()

    async def _keep_listening(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._notified()
            if self._listener is None or self._listener.is_closed():
                with contextlib.suppress(*LOST):
                    await self._listen()


class PostgresConsumption:
    """One queue's consumer: claims, delivers, deletes, retries or parks."""

    def __init__(self, bus: PostgresBus, binding: Binding, deliver: Deliver, prefetch: int) -> None:
        self.binding = binding
        self.wake = asyncio.Event()
        self._bus = bus
        self._deliver = deliver
        self._prefetch = prefetch
        self._in_hand: dict[int, asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None
        self._handled: list[int] = []
        self._healthy = False

    def start(self) -> None:
        self._loop = asyncio.create_task(self._take())
        self._healthy = True

    def attached(self) -> bool:
        return self._healthy and self._loop is not None and not self._loop.done()

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None
        if self._in_hand:
            await asyncio.wait(list(self._in_hand.values()), timeout=25)
        with contextlib.suppress(*LOST):
            await self._settle()
        if self in self._bus._consumptions:
            await self._bus.forget(self)

    async def _take(self) -> None:
        renewed = 0.0
        loop = asyncio.get_running_loop()
        while True:
            self.wake.clear()
            taken = 0
            try:
                await self._settle()
                taken = await self._claim()
                if loop.time() - renewed > LEASE_SECONDS / 4:
                    renewed = loop.time()
                    await self._bus.pool.execute(_RENEW, list(self._in_hand), self._bus.session_id)
                self._healthy = True
            except LOST as error:
                self._healthy = False
                log.warning("bus_unreachable", queue=self.binding.queue, error=f"{type(error).__name__}: {error}")
            if not taken:
                with contextlib.suppress(TimeoutError):
                    # not wait_for: on Python 3.11 it can swallow a cancellation that meets the wake-up
                    async with asyncio.timeout(POLL_SECONDS):
                        await self.wake.wait()

    async def _claim(self) -> int:
        room = self._prefetch - len(self._in_hand)
        if room <= 0:
            return 0
        rows = await self._bus.pool.fetch(_CLAIM, self.binding.queue, self._bus.session_id, room)
        for row in sorted(rows, key=lambda row: int(row["id"])):
            if row["id"] not in self._in_hand:
                self._in_hand[row["id"]] = asyncio.create_task(self._handle(row["id"], row["body"], row["attempts"]))
        return len(rows)

    async def _settle(self) -> None:
        """Deletes what was handled since the last look, in one statement."""
        if self._handled:
            handled, self._handled = self._handled, []
            try:
                await self._bus.pool.execute("DELETE FROM bus.message WHERE id = ANY($1::bigint[])", handled)
            except BaseException:
                self._handled += handled
                raise

    async def _handle(self, row: int, body: str, attempts: int) -> None:
        kind = "unknown"
        try:
            envelope = Envelope.from_json(body)
            kind = envelope.type
            await self._deliver(envelope)
            self._handled.append(row)
            outcome = "handled"
        except Exception as error:  # the reason is kept with the message
            outcome = await self._failed(row, attempts, error)
        finally:
            self._in_hand.pop(row, None)
            self.wake.set()
        MESSAGES_HANDLED.labels(self.binding.queue.partition("@")[0], kind, outcome).inc()

    async def _failed(self, row: int, attempts: int, error: Exception) -> str:
        reason = f"{type(error).__name__}: {error}"[:1000]
        if self.binding.broadcast:
            log.warning("broadcast_failed", queue=self.binding.queue, error=reason)
            self._handled.append(row)
            return "dropped"
        attempts += 0 if is_outage(error) else 1
        parks = isinstance(error, PermanentError) or attempts >= self._bus.retry.attempts
        try:
            if parks:
                log.error("parked", queue=self.binding.queue, reason=reason)
                await self._bus.pool.execute(_PARK, row, attempts, reason)
            else:
                log.warning("will_retry", queue=self.binding.queue, attempts=attempts, reason=reason)
                await self._bus.pool.execute(_RETRY, row, attempts, reason, self._bus.retry.delay)
        except LOST as lost:
            log.warning("bus_unreachable", queue=self.binding.queue, error=f"{type(lost).__name__}: {lost}")
            return "left to its lease"
        return "parked" if parks else "retried"


class PostgresParked:
    """Parked messages on the PostgreSQL bus."""

    def __init__(self, bus: PostgresBus) -> None:
        self._bus = bus

    async def queues(self) -> dict[str, int]:
        rows = await self._bus.pool.fetch(
            "SELECT b.queue, count(m.id) AS parked"
            " FROM (SELECT DISTINCT queue FROM bus.binding WHERE broadcast_pid IS NULL) b"
            " LEFT JOIN bus.message m ON m.queue = b.queue AND m.parked GROUP BY b.queue ORDER BY b.queue"
        )
        return {row["queue"]: row["parked"] for row in rows}

    async def list(self, queue: str, limit: int = 100) -> list[ParkedMessage]:
        rows = await self._bus.pool.fetch(
            "SELECT id, body, reason, attempts, first_seen FROM bus.message"
            " WHERE queue = $1 AND parked ORDER BY id LIMIT $2",
            queue,
            limit,
        )
        return [_parked(queue, row) for row in rows]

    async def replay(self, queue: str, ids: Sequence[str] | None = None) -> int:
        rows = await self._rows(queue, ids)
        await self._bus.pool.execute(
            "UPDATE bus.message SET parked = false, attempts = 0, available_at = now() WHERE id = ANY($1::bigint[])",
            rows,
        )
        await self._bus.pool.execute(f"NOTIFY {CHANNEL}")
        return len(rows)

    async def drop(self, queue: str, ids: Sequence[str] | None = None) -> int:
        rows = await self._rows(queue, ids)
        await self._bus.pool.execute("DELETE FROM bus.message WHERE id = ANY($1::bigint[])", rows)
        return len(rows)

    async def _rows(self, queue: str, ids: Sequence[str] | None) -> Sequence[int]:
        rows = await self._bus.pool.fetch("SELECT * FROM bus.message WHERE queue = $1 AND parked", queue)
        return [row["id"] for row in rows if ids is None or _parked(queue, row).id in ids]


def _parked(queue: str, row: asyncpg.Record) -> ParkedMessage:
    try:
        envelope = Envelope.from_json(row["body"])
        identity, kind = envelope.id, envelope.type
    except PermanentError:
        identity, kind = f"unreadable-{row['id']}", "unreadable"
    return ParkedMessage(
        identity, queue, kind, row["reason"] or "", row["attempts"], row["first_seen"].isoformat(), row["body"]
    )
