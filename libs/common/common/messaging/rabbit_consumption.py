"""One consumer of a RabbitMQ queue: takes messages, hands them to a handler, retries, parks, acknowledges.

Handlers run in tasks of our own. A lost session with the broker does not cut them off: they finish, their
acknowledgement goes nowhere, the message comes again and the inbox knows it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel, AbstractRobustQueue
from aio_pika.exceptions import AMQPError
from aiormq.abc import AbstractChannel as UnderlayChannel

from common.clock import wire_time
from common.db.engine import is_outage
from common.errors import PermanentError
from common.messaging.bus import Binding, Deliver, RetryPolicy
from common.messaging.envelope import Envelope
from common.observability import MESSAGES_HANDLED, logger

CLOSE_SECONDS = 5.0
DRAIN_SECONDS = 20.0
REACHING_FAILED = (AMQPError, OSError, TimeoutError, RuntimeError, asyncio.InvalidStateError)
"""What an operation on a lost, closed or refusing session raises."""

log = logger("rabbit")


class QueueWriter(Protocol):
    """What a consumer needs of its bus."""

    retry: RetryPolicy

    async def put(self, queue: str, body: bytes, headers: dict[str, Any], *, delay: float | None = None) -> None: ...

    async def declare(self, binding: Binding) -> None: ...

    async def parked(self, queue: str) -> int: ...


class RabbitConsumption:
    """One consumer on a channel of its own."""

    def __init__(
        self, bus: QueueWriter, channel: AbstractRobustChannel, queue: AbstractRobustQueue, binding: Binding,
        deliver: Deliver,
    ) -> None:  # fmt: skip
        self._bus = bus
        self._channel = channel
        self._queue = queue
        self._binding = binding
        self._deliver = deliver
        self._tag = ""
        self._underlay: UnderlayChannel | None = None
        self._stopping = asyncio.Event()
        self._in_hand: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._channel.reopen_callbacks.add(self._reopened)
        await self._reopened()
        self._tag = await self._queue.consume(self._receive)

    async def _reopened(self, *_: object) -> None:
        self._underlay = await self._channel.get_underlay_channel()

    def attached(self) -> bool:
        """Whether the broker knows this consumer: it forgets it with the session, and when the queue is deleted."""
        underlay = self._underlay
        return not self._stopping.is_set() and underlay is not None and self._known_to(underlay)

    def _known_to(self, underlay: UnderlayChannel) -> bool:
        return not underlay.is_closed and self._tag in underlay.consumers  # type: ignore[attr-defined]

    async def stop(self) -> None:
        self._stopping.set()
        if not self._channel.is_closed:
            await bounded(self._queue.cancel(self._tag))
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=DRAIN_SECONDS)
        for task in self._in_hand:  # too slow: the closing channel gives their messages back
            task.cancel()
        await asyncio.gather(*self._in_hand, return_exceptions=True)
        if self._binding.broadcast and not self._channel.is_closed:
            await bounded(self._queue.delete(if_unused=False, if_empty=False))
        await bounded(self._channel.close())

    async def parked(self) -> int:
        return 0 if self._binding.broadcast else await self._bus.parked(self._binding.queue)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        task = asyncio.create_task(self._handle(message))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        kind = message.type or "unknown"
        try:
            envelope = Envelope.from_json(message.body)
            kind = envelope.type
            await self._deliver(envelope)
            outcome = "handled"
        except Exception as error:  # the reason travels with the message
            outcome = await self._failed(message, error)
        MESSAGES_HANDLED.labels(self._binding.queue, kind, outcome).inc()
        if outcome != "returned":
            await self._acknowledge(message)

    async def _acknowledge(self, message: AbstractIncomingMessage) -> None:
        try:
            async with answered_within(CLOSE_SECONDS):
                await message.ack()
        except REACHING_FAILED as error:
            log.info("acknowledgement_lost", queue=self._binding.queue, error=f"{type(error).__name__}: {error}")

    async def _failed(self, message: AbstractIncomingMessage, error: Exception) -> str:
        """Sets the message aside; what cannot be set aside goes back to the broker after the delay."""
        reason = f"{type(error).__name__}: {error}"
        if self._binding.broadcast:  # nothing is kept of a broadcast: the next one carries the whole state again
            log.warning("broadcast_failed", queue=self._binding.queue, error=reason)
            return "dropped"
        try:
            return await self._set_aside(message, error, trail(message, reason))
        except Exception as refusal:  # a message neither handled nor set aside must not be held for ever
            log.error("not_set_aside", queue=self._binding.queue, reason=reason, error=f"{refusal!r}"[:300])
        await self._give_back(message)
        return "returned"

    async def _set_aside(self, message: AbstractIncomingMessage, error: Exception, headers: dict[str, Any]) -> str:
        queue, policy = self._binding.queue, self._bus.retry
        if not is_outage(error):
            headers["x-attempts"] += 1
        crashes = int(str(message.headers.get("x-delivery-count") or 0))
        attempts = headers["x-attempts"] + crashes
        if isinstance(error, PermanentError) or attempts >= policy.attempts:
            headers["x-attempts"] = attempts
            await self._bus.put(f"{queue}.parked", message.body, headers)
            log.error("parked", queue=queue, attempts=attempts, reason=headers["x-reason"])
            return "parked"
        await self._bus.put(f"{queue}.retry", message.body, headers, delay=policy.delay)
        log.warning("will_retry", queue=queue, attempts=attempts, reason=headers["x-reason"])
        return "retried"

    async def _give_back(self, message: AbstractIncomingMessage) -> None:
        """Without the wait a refused message would spin; a neighbouring queue that someone deleted is made again."""
        try:
            async with asyncio.timeout(self._bus.retry.delay):
                await self._stopping.wait()
        except TimeoutError:
            await bounded(self._bus.declare(self._binding))
        await bounded(message.reject(requeue=True))


def trail(message: AbstractIncomingMessage, reason: str) -> dict[str, Any]:
    """What travels with a message that failed: attempts so far, first seen, why."""
    first_seen = message.headers.get("x-first-seen") or wire_time(datetime.now(UTC))
    return {
        "x-attempts": int(str(message.headers.get("x-attempts") or 0)),
        "x-first-seen": str(first_seen),
        "x-reason": reason[:1000],
    }


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError after ``seconds``, and ConnectionError where the client reports a lost session as if this
    task had been cancelled: nobody above would take that for a failure. A cancellation that the client keeps to itself,
    as it may while a channel closes, is raised all the same: a loop would go on for ever, and its worker never end."""
    task = asyncio.current_task()
    assert task is not None
    cancellations = task.cancelling()
    try:
        async with asyncio.timeout(seconds):
            yield
    except asyncio.CancelledError:
        if task.cancelling():
            raise
        raise ConnectionError("the session with the broker ended") from None
    finally:
        if task.cancelling() > cancellations:
            raise asyncio.CancelledError


async def bounded(work: Awaitable[object]) -> None:
    """Closing after a failed declare can hang, and a lost socket is already closed."""
    try:
        async with answered_within(CLOSE_SECONDS):
            await work
    except REACHING_FAILED as error:
        log.info("close_incomplete", error=f"{type(error).__name__}: {error}")
