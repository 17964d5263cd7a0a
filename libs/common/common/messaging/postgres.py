"""The bus on PostgreSQL: for a run without a broker. Durable, with the same retry and the same parking."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import asyncpg

from common.db.driver import LOST, plain_url
from common.db.engine import is_outage
from common.errors import PermanentError
from common.messaging import bus_statements as sql
from common.messaging.bus import Binding, Deliver, ParkedMessage, RetryPolicy
from common.messaging.envelope import Envelope
from common.observability import MESSAGES_HANDLED, logger

POLL_SECONDS = 1.0
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 30.0
DRAIN_SECONDS = 20.0
log = logger("postgres_bus")


class PostgresBus:
    """``async with PostgresBus(url) as bus``. The URL must be direct: it listens.

    After PostgreSQL restarted, everything goes on by itself. Meanwhile ``publish`` and ``check`` raise within
    ``STATEMENT_SECONDS`` and the consumptions' ``attached`` turns false.
    """

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
        """Makes the bus's schema if need be, or fails fast."""
        self._pool = await asyncpg.create_pool(
            self._url, min_size=2, max_size=self._pool_size, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS
        )
        try:
            async with self._pool.acquire() as session, session.transaction():
                await session.execute("SELECT pg_advisory_xact_lock(hashtext('bus_schema'))")
                await session.execute(sql.SCHEMA)
            await self._listen()
        except BaseException:
            await self.close()
            raise
        self._keeper = asyncio.create_task(self._keep_listening())

    async def close(self) -> None:
        await asyncio.gather(*(consumption.stop() for consumption in list(self._consumptions)))
        for task in (self._keeper, self._flusher):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._listener is not None and not self._listener.is_closed():
            with contextlib.suppress(*LOST):
                await self._listener.close(timeout=2)
        if self._pool is not None:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._pool.close()
            except LOST as error:
                log.info("close_incomplete", error=f"{type(error).__name__}: {error}")
                self._pool.terminate()

    async def check(self) -> str | None:
        """Readiness: None when PostgreSQL answers; raises otherwise."""
        await self.pool.fetchval("SELECT 1")
        return None

    @property
    def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        assert self._pool is not None, "start() first"
        return self._pool

    @property
    def session_id(self) -> int | None:
        """The listening session's process id: claims made in its name end with it. None while there is no session."""
        listener = self._listener
        return None if listener is None or listener.is_closed() else int(listener.get_server_pid())

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
            failure: BaseException | None = None
            try:
                await self.pool.fetch(sql.PUBLISH, [kind for kind, _, _ in batch], [body for _, body, _ in batch])
            except asyncio.CancelledError:  # the bus closes
                failure = ConnectionError("the bus is closed")
                raise
            except Exception as error:  # each publisher gets the error and decides
                failure = error
            finally:
                _settle_all(batch, failure)

    async def declare(self, binding: Binding) -> None:
        """Makes a queue without consuming, so that nothing published from now on misses it."""
        await self.pool.executemany(sql.BIND, [(binding.queue, kind) for kind in binding.types])

    async def consume(self, binding: Binding, deliver: Deliver, *, prefetch: int = 16) -> "PostgresConsumption":
        if binding.broadcast:
            binding = Binding(f"{binding.queue}@{uuid4()}", binding.types, broadcast=True)
            await self._sweep_broadcasts()
            await self._bind_broadcast(binding)
        else:
            await self.declare(binding)
        consumption = PostgresConsumption(self, binding, deliver, prefetch)
        self._consumptions.append(consumption)
        consumption.start()
        return consumption

    async def _sweep_broadcasts(self) -> None:
        """Removes the broadcast queues of instances that are gone."""
        async with self.pool.acquire() as session, session.transaction():
            gone = await session.fetch(sql.UNBIND_DEPARTED)
            await session.execute(sql.EMPTY, [row["queue"] for row in gone])

    async def _bind_broadcast(self, binding: Binding) -> None:
        rows = [(binding.queue, kind, self.session_id) for kind in binding.types]
        await self.pool.executemany(sql.BIND_BROADCAST, rows)

    async def forget(self, consumption: "PostgresConsumption") -> None:
        """Called by a consumption that has stopped."""
        self._consumptions.remove(consumption)
        if consumption.binding.broadcast:
            with contextlib.suppress(*LOST):
                await self.pool.execute(sql.UNBIND, consumption.binding.queue)
                await self.pool.execute(sql.EMPTY, [consumption.binding.queue])

    async def _listen(self) -> None:
        listener = await asyncpg.connect(self._url, timeout=CONNECT_SECONDS)
        await listener.add_listener(sql.CHANNEL, self._notified)
        self._listener = listener

    def _notified(self, *_: Any) -> None:
        for consumption in self._consumptions:
            consumption.wake.set()

    async def _keep_listening(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._notified()
            if self.session_id is None:
                try:
                    await self._listen()
                    for binding in [c.binding for c in self._consumptions if c.binding.broadcast]:
                        await self._bind_broadcast(binding)
                except LOST as error:
                    log.warning("bus_unreachable", error=f"{type(error).__name__}: {error}")


def _settle_all(batch: list[tuple[str, str, asyncio.Future[None]]], failure: BaseException | None) -> None:
    for _, _, settled in batch:
        if settled.done():
            continue
        if failure is None:
            settled.set_result(None)
        else:
            settled.set_exception(failure)


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
        self._claimant: int | None = None
        self._renew_at = 0.0
        self._healthy = False

    def start(self) -> None:
        self._loop = asyncio.create_task(self._take())
        self._healthy = True

    def attached(self) -> bool:
        return self._healthy and self._loop is not None and not self._loop.done()

    async def stop(self) -> None:
        if self._loop is None:
            return
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        self._loop = None
        if self._in_hand:
            await asyncio.wait(list(self._in_hand.values()), timeout=DRAIN_SECONDS)
        with contextlib.suppress(*LOST):  # what is not settled here is handed out again, and known
            await self._settle()
            await self._give_back()
        await self._bus.forget(self)

    async def parked(self) -> int:
        counted = "SELECT count(*) FROM bus.message WHERE queue = $1 AND parked"
        return int(await self._bus.pool.fetchval(counted, self.binding.queue))

    async def _give_back(self) -> None:
        """Cuts off handlers that are too slow for a stop and frees their messages."""
        slow = dict(self._in_hand)
        for task in slow.values():
            task.cancel()
        await asyncio.gather(*slow.values(), return_exceptions=True)
        if slow:
            await self._bus.pool.execute(sql.RELEASE, list(slow))

    async def _take(self) -> None:
        while True:
            self.wake.clear()
            taken = 0
            try:
                await self._settle()
                taken = await self._claim()
                self._healthy = True
            except Exception as error:  # whatever it is, a consumer that ended here would never come back
                self._healthy = False
                log.warning("bus_unreachable", queue=self.binding.queue, error=f"{type(error).__name__}: {error}")
            if not taken:
                with contextlib.suppress(TimeoutError):
                    # not wait_for: on Python 3.11 it can swallow a cancellation that meets the wake-up
                    async with asyncio.timeout(POLL_SECONDS):
                        await self.wake.wait()

    async def _claim(self) -> int:
        session_id = self._bus.session_id
        if session_id is None:
            raise ConnectionError("no listening session to claim messages for")
        await self._renew(session_id)
        room = self._prefetch - len(self._in_hand)
        if room <= 0:
            return 0
        known = [*self._in_hand, *self._handled]
        rows = await self._bus.pool.fetch(sql.CLAIM, self.binding.queue, session_id, room, known)
        for row in sorted(rows, key=lambda row: int(row["id"])):
            self._in_hand[row["id"]] = asyncio.create_task(self._handle(row["id"], row["body"], row["attempts"]))
        return len(rows)

    async def _renew(self, session_id: int) -> None:
        """Keeps the claims on what is in hand: before the lease ends, and when the session they name is another."""
        now = asyncio.get_running_loop().time()
        if session_id == self._claimant and now < self._renew_at:
            return
        if self._in_hand:
            await self._bus.pool.execute(sql.RENEW, list(self._in_hand), session_id)
        self._claimant, self._renew_at = session_id, now + sql.LEASE_SECONDS / 4

    async def _settle(self) -> None:
        """Deletes what was handled since the last look, in one statement."""
        if self._handled:
            handled = list(self._handled)
            await self._bus.pool.execute(sql.SETTLE, handled)
            del self._handled[: len(handled)]

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
                await self._bus.pool.execute(sql.PARK, row, attempts, reason)
            else:
                log.warning("will_retry", queue=self.binding.queue, attempts=attempts, reason=reason)
                await self._bus.pool.execute(sql.RETRY, row, attempts, reason, self._bus.retry.delay)
        except LOST as lost:
            log.warning("bus_unreachable", queue=self.binding.queue, error=f"{type(lost).__name__}: {lost}")
            return "left to its lease"
        return "parked" if parks else "retried"


class PostgresParked:
    """Parked messages on the PostgreSQL bus."""

    def __init__(self, bus: PostgresBus) -> None:
        self._bus = bus

    async def queues(self) -> dict[str, int]:
        rows = await self._bus.pool.fetch(sql.COUNT_PARKED)
        return {row["queue"]: row["parked"] for row in rows}

    async def list(self, queue: str, limit: int = 100) -> list[ParkedMessage]:
        rows = await self._bus.pool.fetch(sql.LIST_PARKED, queue, limit)
        return [_parked(queue, row) for row in rows]

    async def replay(self, queue: str, ids: Sequence[str] | None = None) -> int:
        rows = await self._rows(queue, ids)
        await self._bus.pool.execute(sql.REPLAY, rows)
        await self._bus.pool.execute(f"NOTIFY {sql.CHANNEL}")
        return len(rows)

    async def drop(self, queue: str, ids: Sequence[str] | None = None) -> int:
        rows = await self._rows(queue, ids)
        await self._bus.pool.execute(sql.SETTLE, rows)
        return len(rows)

    async def _rows(self, queue: str, ids: Sequence[str] | None) -> Sequence[int]:
        rows = await self._bus.pool.fetch(sql.LIST_PARKED, queue, None)
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
