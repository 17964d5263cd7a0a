"""Parked messages on RabbitMQ: looked at, put back or dropped by a person.

Looking takes the messages out unacknowledged and hands them back, so a second person sees none of them meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from common.messaging.bus import ParkedMessage
from common.messaging.envelope import Envelope, UnreadableMessage
from common.messaging.rabbit import RabbitBus, ready_in

MOST = 10_000
MOST_LOOKS = 250
LOOK_AGAIN_SECONDS = 0.02


class RabbitParked:
    """The parked messages of the named queues."""

    def __init__(self, bus: RabbitBus, url: str, queues: Sequence[str]) -> None:
        self._bus = bus
        self._url = url
        self._names = tuple(queues)

    async def queues(self) -> dict[str, int]:
        async with self._open() as channel:
            return {name: await _ready(channel, name) for name in self._names}

    async def list(self, queue: str, limit: int = 100) -> list[ParkedMessage]:
        async with self._open() as channel:
            taken = [message async for message in _take(channel, queue, limit)]
            await _hand_back(channel, queue, taken)
            return [_parked(queue, message) for message in taken]

    async def replay(self, queue: str, ids: Sequence[str] | None = None) -> int:
        return await self._end(queue, ids, replayed=True)

    async def drop(self, queue: str, ids: Sequence[str] | None = None) -> int:
        return await self._end(queue, ids, replayed=False)

    async def _end(self, queue: str, ids: Sequence[str] | None, *, replayed: bool) -> int:
        count = 0
        kept: list[AbstractIncomingMessage] = []
        async with self._open() as channel:
            async for message in _take(channel, queue, MOST):
                if ids is not None and _parked(queue, message).id not in ids:
                    kept.append(message)
                    continue
                if replayed:
                    await self._bus.put(queue, message.body, {})
                await message.ack()
                count += 1
            await _hand_back(channel, queue, kept)
        return count

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
        """What was taken and neither acknowledged nor handed back returns to its queue some time after this closes."""
        connection = await aio_pika.connect(self._url, timeout=10)
        async with connection:
            yield await connection.channel()


async def _take(
    channel: aio_pika.abc.AbstractChannel, queue: str, limit: int
) -> AsyncIterator[AbstractIncomingMessage]:
    """What is parked now and no more: a message put back may be parked again before the last one is taken."""
    parked = await channel.get_queue(f"{queue}.parked", ensure=False)
    for _ in range(min(limit, await _ready(channel, queue))):
        message = await parked.get(fail=False)
        if message is None:
            return
        yield message


async def _hand_back(
    channel: aio_pika.abc.AbstractChannel, queue: str, taken: Sequence[AbstractIncomingMessage]
) -> None:
    """They are back when this returns, unless somebody else takes messages out at the same time.

    A quorum queue tells a channel that asks how many there are before it has written down what came back from it.
    """
    if not taken:
        return
    back = await _ready(channel, queue) + len(taken)
    await taken[-1].nack(multiple=True)
    for _ in range(MOST_LOOKS):
        if await _ready(channel, queue) >= back:
            return
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _ready(channel: aio_pika.abc.AbstractChannel, queue: str) -> int:
    """How many messages are parked and in nobody's hands."""
    return await ready_in(await channel.declare_queue(f"{queue}.parked", passive=True))


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
