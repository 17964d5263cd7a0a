"""The bus on RabbitMQ 3.10 and later.

Beside each quorum queue ``q`` stand ``q.retry`` (holds a message for the delay, then dead-letters it back) and
``q.parked``. A retry or a parking is a confirmed copy followed by the acknowledgement of the original: a crash in
between doubles a message and never loses one. Arguments of queues cannot change, so they state structure only; delays
and attempts are this code's.
"""

from typing import Any
from uuid import uuid4

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import (
    AbstractQueue,
    AbstractRobustChannel,
    AbstractRobustConnection,
    AbstractRobustExchange,
    AbstractRobustQueue,
)
from pamqp.common import FieldTable
from yarl import URL

from common.messaging.bus import UNROUTED, Binding, Deliver, RetryPolicy
from common.messaging.envelope import CONTENT_TYPE, Envelope
from common.messaging.rabbit_consumption import RabbitConsumption, answered_within, bounded

EXCHANGE = "events"
PUBLISH_SECONDS = 10.0
HEARTBEAT_SECONDS = 10
"""A session that falls silent is given up after three times as long."""
REDELIVERIES = 20
"""A message that kills its consumer this often is dead-lettered by the broker itself; ours parks it earlier."""
BROADCAST_MILLISECONDS = 60_000
"""How long a broadcast queue outlives its instance: long enough to come back after a short cut."""


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
    """``async with RabbitBus(url) as bus``. ``name`` shows in the broker's list of clients.

    Sessions, queues and consumers come back by themselves after the broker or the network did. Meanwhile ``publish``
    raises within ``PUBLISH_SECONDS``, ``check`` and the consumptions' ``attached`` say so.
    """

    def __init__(
        self, url: str, *, name: str, retry: RetryPolicy | None = None, heartbeat: int = HEARTBEAT_SECONDS
    ) -> None:
        address = URL(url)  # the client takes the heartbeat from there and nowhere else
        self._url = address.update_query(heartbeat=address.query.get("heartbeat", heartbeat))
        self._name = name
        self.retry = retry or RetryPolicy()
        self._connection: AbstractRobustConnection | None = None
        self._exchange: AbstractRobustExchange | None = None
        self._publishing: AbstractRobustChannel | None = None

    async def __aenter__(self) -> "RabbitBus":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Declares the exchanges, or fails fast."""
        properties: FieldTable = {"connection_name": self._name}
        self._connection = await aio_pika.connect_robust(
            self._url, timeout=10, reconnect_interval=1, client_properties=properties
        )
        try:
            async with answered_within(PUBLISH_SECONDS):
                await self._declare_exchanges()
        except BaseException:
            await self.close()
            raise

    async def _declare_exchanges(self) -> None:
        self._publishing = await self._channel()
        unrouted = await self._publishing.declare_exchange(UNROUTED, aio_pika.ExchangeType.FANOUT, durable=True)
        kept = await self._publishing.declare_queue(
            UNROUTED, durable=True, arguments={"x-queue-type": "quorum", "x-max-length": 100_000}
        )
        await kept.bind(unrouted)
        self._exchange = await self._publishing.declare_exchange(
            EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True, arguments={"alternate-exchange": UNROUTED}
        )

    async def close(self) -> None:
        if self._connection is not None:
            await bounded(self._connection.close())
            self._connection = None

    async def check(self) -> str | None:
        """Readiness: None while the broker answers."""
        connection, channel = self._connection, self._publishing
        ready = connection is not None and connection.connected.is_set()
        return None if ready and channel is not None and not channel.is_closed else "no session with the broker"

    async def publish(self, envelope: Envelope) -> None:
        assert self._exchange is not None, "start() first"
        message = Message(
            envelope.to_json().encode(),
            content_type=CONTENT_TYPE,
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=envelope.id,
            type=envelope.type,
        )
        async with answered_within(PUBLISH_SECONDS):  # the client's own timeout leaves out the wait for a session
            await self._exchange.publish(message, envelope.type, mandatory=True)

    async def declare(self, binding: Binding) -> None:
        """Makes a queue and its neighbours without consuming, so that nothing published from now on misses it."""
        channel = await self._channel()
        try:
            async with answered_within(PUBLISH_SECONDS):
                await self._declare(channel, binding)
        finally:
            await bounded(channel.close())

    async def consume(self, binding: Binding, deliver: Deliver, *, prefetch: int = 16) -> RabbitConsumption:
        channel = await self._channel()
        try:
            async with answered_within(PUBLISH_SECONDS):
                await channel.set_qos(prefetch_count=prefetch)
                queue = await self._declare(channel, binding)
                consumption = RabbitConsumption(self, channel, queue, binding, deliver)
                await consumption.start()
        except BaseException:
            await bounded(channel.close())
            raise
        return consumption

    async def _declare(self, channel: AbstractRobustChannel, binding: Binding) -> AbstractRobustQueue:
        exchange = await channel.get_exchange(EXCHANGE, ensure=False)
        name = binding.queue
        if binding.broadcast:
            # not exclusive: after a cut the broker may hold the old session's lock for long and refuse the new one
            fleeting = {"x-expires": BROADCAST_MILLISECONDS}
            queue = await channel.declare_queue(f"{name}@{uuid4()}", durable=True, arguments=fleeting)
        else:
            await channel.declare_queue(f"{name}.parked", durable=True, arguments=PARKED)
            waiting = quorum(f"{name}.retry", dead_letter_to=name)
            await channel.declare_queue(f"{name}.retry", durable=True, arguments=waiting)
            structure = quorum(name, dead_letter_to=f"{name}.parked")
            queue = await channel.declare_queue(name, durable=True, arguments=structure)
        for event_type in binding.types:
            await queue.bind(exchange, routing_key=event_type)
        assert isinstance(queue, AbstractRobustQueue)
        return queue

    async def put(self, queue: str, body: bytes, headers: dict[str, Any], *, delay: float | None = None) -> None:
        """A confirmed copy straight into a queue; with ``delay``, into one that holds it for so many seconds."""
        assert self._publishing is not None, "start() first"
        message = Message(
            body, content_type=CONTENT_TYPE, delivery_mode=DeliveryMode.PERSISTENT, headers=headers, expiration=delay
        )
        async with answered_within(PUBLISH_SECONDS):
            await self._publishing.default_exchange.publish(message, queue, mandatory=True)

    async def parked(self, queue: str) -> int:
        """How many messages stand in ``<queue>.parked``."""
        channel = await self._channel()
        try:
            async with answered_within(PUBLISH_SECONDS):
                neighbour = await channel.declare_queue(f"{queue}.parked", durable=True, arguments=PARKED)
                return await ready_in(neighbour)
        finally:
            await bounded(channel.close())

    async def _channel(self) -> AbstractRobustChannel:
        assert self._connection is not None, "start() first"
        async with answered_within(PUBLISH_SECONDS):
            channel = await self._connection.channel(on_return_raises=True)
        assert isinstance(channel, AbstractRobustChannel)
        return channel


async def ready_in(declared: AbstractQueue) -> int:
    """How many messages stood in a queue and in nobody's hands when it was declared just now.

    Of a quorum queue that does not answer it within a quarter of a second the broker says that nothing is in it. So
    that is believed only when nothing can be taken out.
    """
    if declared.declaration_result.message_count:
        return declared.declaration_result.message_count
    message = await declared.get(fail=False)
    if message is None:
        return 0
    await message.nack()
    return 1 + (message.message_count or 0)
