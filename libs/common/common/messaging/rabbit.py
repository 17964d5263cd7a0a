"""The bus on RabbitMQ 3.10 and later.

Beside each quorum queue ``q`` stand ``q.retry`` (holds a message for the delay, then dead-letters it back) and
``q.parked``. A retry or a parking is a confirmed copy followed by the acknowledgement of the original: a crash in
between doubles a message and never loses one. Arguments of queues cannot change, so they state structure only; delays
and attempts are this code's.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import (
    AbstractIncomingMessage,
    AbstractQueue,
    AbstractRobustChannel,
    AbstractRobustConnection,
    AbstractRobustExchange,
    AbstractRobustQueue,
)
from aio_pika.exceptions import AMQPError
from pamqp.common import FieldTable

from common.clock import wire_time
from common.db.engine import is_outage
from common.errors import PermanentError
from common.messaging.bus import UNROUTED, Binding, Deliver, RetryPolicy
from common.messaging.envelope import CONTENT_TYPE, Envelope
from common.observability import MESSAGES_HANDLED, logger

EXCHANGE = "events"
PUBLISH_SECONDS = 10.0
CLOSE_SECONDS = 5.0
REDELIVERIES = 20
"""A message that kills its consumer this often is dead-lettered by the broker itself; ours parks it earlier."""

log = logger("rabbit")


def quorum(queue: str, *, dead_letter_to: str) -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": REDELIVERIES,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead_letter_to,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


PARKED = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
"""A person may look at a parked message many times; looking counts as a delivery."""


class RabbitBus:
    """``async with RabbitBus(url) as bus``. ``name`` shows in the broker's list of clients."""

    def __init__(self, url: str, *, name: str, retry: RetryPolicy | None = None) -> None:
        self._url = url
        self._name = name
        self.retry = retry or RetryPolicy()
        self._connection: AbstractRobustConnection | None = None
        self._exchange: AbstractRobustExchange | None = None
        self._publishing: AbstractRobustChannel | None = None
        self._keep: list[object] = []

    async def __aenter__(self) -> "RabbitBus":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Declares the exchanges, or fails fast."""
        properties: FieldTable = {"connection_name": self._name}
        self._connection = await aio_pika.connect_robust(
            self._url, timeout=10, heartbeat=20, reconnect_interval=1, client_properties=properties
        )
        self._publishing = await self._channel()
        unrouted = await self._publishing.declare_exchange(UNROUTED, aio_pika.ExchangeType.FANOUT, durable=True)
        kept = await self._publishing.declare_queue(
            UNROUTED, durable=True, arguments={"x-queue-type": "quorum", "x-max-length": 100_000}
        )
        await kept.bind(unrouted)
        self._exchange = await self._publishing.declare_exchange(
            EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True, arguments={"alternate-exchange": UNROUTED}
        )
        self._keep += [unrouted, kept]

    async def close(self) -> None:
        if self._connection is not None:
            await _bounded(self._connection.close())
            self._connection = None

    async def check(self) -> str | None:
        """Readiness: None while the broker answers."""
        connection = self._connection
        ready = connection is not None and connection.connected.is_set()
        return None if ready else "no session with the broker"

    async def publish(self, envelope: Envelope) -> None:
        assert self._exchange is not None, "start() first"
        message = Message(
            envelope.to_json().encode(),
            content_type=CONTENT_TYPE,
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=envelope.id,
            type=envelope.type,
        )
        await self._exchange.publish(message, envelope.type, mandatory=True, timeout=PUBLISH_SECONDS)

    async def declare(self, binding: Binding) -> None:
        """Makes a queue and its neighbours without consuming, so that nothing published from now on misses it."""
        channel = await self._channel()
        try:
            await self._declare(channel, binding)
        finally:
            await _bounded(channel.close())

    async def consume(self, binding: Binding, deliver: Deliver, *, prefetch: int = 16) -> "RabbitConsumption":
        channel = await self._channel()
        await channel.set_qos(prefetch_count=prefetch)
        queue = await self._declare(channel, binding)
        consumption = RabbitConsumption(self, channel, queue, binding, deliver)
        await consumption.start()
        return consumption

    async def _declare(self, channel: AbstractRobustChannel, binding: Binding) -> AbstractRobustQueue:
        exchange = await channel.get_exchange(EXCHANGE, ensure=False)
        if binding.broadcast:
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
        else:
            name = binding.queue
            parked = await channel.declare_queue(f"{name}.parked", durable=True, arguments=PARKED)
            waiting = quorum(f"{name}.retry", dead_letter_to=name)
            retry = await channel.declare_queue(f"{name}.retry", durable=True, arguments=waiting)
            structure = quorum(name, dead_letter_to=f"{name}.parked")
            queue = await channel.declare_queue(name, durable=True, arguments=structure)
            self._keep += [parked, retry]
        for event_type in binding.types:
            await queue.bind(exchange, routing_key=event_type)
        self._keep.append(queue)
        return queue

    async def put(self, queue: str, body: bytes, headers: dict[str, Any], *, delay: float | None = None) -> None:
        """A confirmed copy straight into a queue; with ``delay``, into one that holds it for so many seconds."""
        assert self._publishing is not None, "start() first"
        message = Message(
            body, content_type=CONTENT_TYPE, delivery_mode=DeliveryMode.PERSISTENT, headers=headers, expiration=delay
        )
        await self._publishing.default_exchange.publish(message, queue, mandatory=True, timeout=PUBLISH_SECONDS)

    async def _channel(self) -> AbstractRobustChannel:
        assert self._connection is not None, "start() first"
        async with asyncio.timeout(PUBLISH_SECONDS):
            channel = await self._connection.channel(on_return_raises=True)
        assert isinstance(channel, AbstractRobustChannel)
        return channel


class RabbitConsumption:
    """One consumer on a channel of its own."""

    def __init__(
        self, bus: RabbitBus, channel: AbstractRobustChannel, queue: AbstractQueue, binding: Binding, deliver: Deliver
    ) -> None:
        self._bus = bus
        self._channel = channel
        self._queue = queue
        self._binding = binding
        self._deliver = deliver
        self._tag: str | None = None
        self._cancelled = False
        self._in_hand: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        self._tag = await self._queue.consume(self._receive, no_ack=self._binding.broadcast)

    def attached(self) -> bool:
        return self._tag is not None and not self._cancelled and not self._channel.is_closed

    async def stop(self) -> None:
        self._cancelled = True
        if self._tag is not None and not self._channel.is_closed:
            await _bounded(self._queue.cancel(self._tag))
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=25)
        await _bounded(self._channel.close())

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._in_hand.add(task)
        try:
            await self._handle(message)
        finally:
            self._in_hand.discard(task)

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        kind = message.type or "unknown"
        if self._binding.broadcast:
            await self._deliver_broadcast(message)
            return
        try:
            envelope = Envelope.from_json(message.body)
            kind = envelope.type
            await self._deliver(envelope)
            outcome = "handled"
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):  # a closing channel gives the message back by itself
                await message.nack(requeue=True)
            raise
        except PermanentError as error:
            outcome = await self._park(message, f"{type(error).__name__}: {error}")
        except Exception as error:  # the reason travels with the message
            outcome = await self._try_again(message, error)
        MESSAGES_HANDLED.labels(self._binding.queue, kind, outcome).inc()
        await message.ack()

    async def _deliver_broadcast(self, message: AbstractIncomingMessage) -> None:
        try:
            await self._deliver(Envelope.from_json(message.body))
        except Exception as error:  # nothing is kept of a broadcast: the next one carries the whole state again
            log.warning("broadcast_failed", queue=self._binding.queue, error=f"{type(error).__name__}: {error}")

    async def _try_again(self, message: AbstractIncomingMessage, error: Exception) -> str:
        headers = trail(message, f"{type(error).__name__}: {error}")
        if not is_outage(error):
            headers["x-attempts"] += 1
        crashes = int(str(message.headers.get("x-delivery-count", 0) or 0))
        if headers["x-attempts"] + crashes >= self._bus.retry.attempts:
            return await self._park(message, headers["x-reason"], attempts=headers["x-attempts"] + crashes)
        log.warning("will_retry", queue=self._binding.queue, attempts=headers["x-attempts"], reason=headers["x-reason"])
        await self._bus.put(f"{self._binding.queue}.retry", message.body, headers, delay=self._bus.retry.delay)
        return "retried"

    async def _park(self, message: AbstractIncomingMessage, reason: str, *, attempts: int | None = None) -> str:
        headers = trail(message, reason)
        headers["x-attempts"] = attempts if attempts is not None else headers["x-attempts"] + 1
        log.error("parked", queue=self._binding.queue, message_id=message.message_id, reason=reason)
        await self._bus.put(f"{self._binding.queue}.parked", message.body, headers)
        return "parked"


def trail(message: AbstractIncomingMessage, reason: str) -> dict[str, Any]:
    """What travels with a message that failed: attempts so far, first seen, why."""
    first_seen = message.headers.get("x-first-seen") or wire_time(datetime.now(UTC))
    return {
        "x-attempts": int(str(message.headers.get("x-attempts", 0) or 0)),
        "x-first-seen": str(first_seen),
        "x-reason": reason[:1000],
    }


async def _bounded(work: Awaitable[object]) -> None:
    """Closing after a failed declare can hang, and a lost socket is already closed."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await work
    except (TimeoutError, AMQPError, ConnectionError, asyncio.InvalidStateError, RuntimeError) as error:
        log.info("close_incomplete", error=f"{type(error).__name__}: {error}")
