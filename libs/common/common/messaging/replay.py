"""Parked messages on RabbitMQ: looked at, put back or dropped by a person.

Looking takes the messages out unacknowledged and hands them back, so a second person sees none of them meanwhile.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from common.messaging.bus import ParkedMessage
from common.messaging.envelope import Envelope, UnreadableMessage
from common.messaging.rabbit import RabbitBus

MOST = 10_000


class RabbitParked:
    """The parked messages of the named queues."""

    def __init__(self, bus: RabbitBus, url: str, queues: Sequence[str]) -> None:
        self._bus = bus
        self._url = url
        self._names = tuple(queues)

    async def queues(self) -> dict[str, int]:
        async with self._open() as channel:
            counts = {}
            for name in self._names:
                queue = await channel.declare_queue(f"{name}.parked", passive=True)
                counts[name] = queue.declaration_result.message_count or 0
            return counts

    async def list(self, queue: str, limit: int = 100) -> list[ParkedMessage]:
        async with self._open() as channel:
            return [_parked(queue, message) async for message in _take(channel, queue, limit)]

    async def replay(self, queue: str, ids: Sequence[str] | None = None) -> int:
        count = 0
        async with self._open() as channel:
            async for message in _take(channel, queue, MOST):
                if ids is None or _parked(queue, message).id in ids:
                    await self._bus.put(queue, message.body, {})
                    await message.ack()
                    count += 1
        return count

    async def drop(self, queue: str, ids: Sequence[str] | None = None) -> int:
        count = 0
        async with self._open() as channel:
            async for message in _take(channel, queue, MOST):
                if ids is None or _parked(queue, message).id in ids:
                    await message.ack()
                    count += 1
        return count

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
        """Whatever was taken and not acknowledged returns to its queue when this closes."""
        connection = await aio_pika.connect(self._url, timeout=10)
        async with connection:
            yield await connection.channel()


async def _take(
    channel: aio_pika.abc.AbstractChannel, queue: str, limit: int
) -> AsyncIterator[AbstractIncomingMessage]:
    """What is parked now and no more: a message put back may be parked again before the last one is taken."""
    parked = await channel.declare_queue(f"{queue}.parked", passive=True)
    for _ in range(min(limit, parked.declaration_result.message_count or 0)):
        message = await parked.get(fail=False)
        if message is None:
            return
        yield message


def _parked(queue: str, message: AbstractIncomingMessage) -> ParkedMessage:
    try:
        envelope = Envelope.from_json(message.body)
        identity, kind = envelope.id, envelope.type
    except UnreadableMessage:
        identity, kind = "unreadable", "unreadable"
    headers = message.headers
    return ParkedMessage(
        id=identity,
        queue=queue,
        type=kind,
        reason=str(headers.get("x-reason") or "the broker gave up: too many deliveries without an answer"),
        attempts=int(str(headers.get("x-attempts") or headers.get("x-delivery-count") or 0)),
        first_seen=str(headers.get("x-first-seen") or ""),
        body=message.body.decode("utf-8", "replace"),
    )
