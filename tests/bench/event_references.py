"""What the same work costs without us: bare aio-pika and bare asyncpg, timed in events per second."""

import asyncio
import time
from collections.abc import Sequence

import aio_pika
import asyncpg
from aio_pika.abc import AbstractIncomingMessage

from common.messaging.rabbit import quorum

QUEUE = "bench.reference"


async def bare_publish(url: str, bodies: Sequence[bytes], window: int) -> float:
    """Confirmed, persistent publishes to a quorum queue over one channel, ``window`` of them in flight."""
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("bench", aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(QUEUE, durable=True, arguments=quorum(QUEUE, dead_letter_to="none"))
        await queue.bind(exchange, routing_key="bench.event.v1")
        waiting = iter(bodies)

        async def publish_on() -> None:
            for body in waiting:
                message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await exchange.publish(message, "bench.event.v1")

        started = time.perf_counter()
        await asyncio.gather(*(publish_on() for _ in range(window)))
        return len(bodies) / (time.perf_counter() - started)


async def bare_consume(url: str, count: int, prefetch: int) -> float:
    """Takes and acknowledges ``count`` messages that ``bare_publish`` left."""
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=prefetch)
        queue = await channel.declare_queue(QUEUE, passive=True)
        taken, done = 0, asyncio.Event()

        async def take(message: AbstractIncomingMessage) -> None:
            nonlocal taken
            await message.ack()
            taken += 1
            if taken == count:
                done.set()

        started = time.perf_counter()
        await queue.consume(take)
        await done.wait()
        return count / (time.perf_counter() - started)


async def bare_commits(url: str, bodies: Sequence[bytes], sessions: int) -> float:
    """One row inserted and committed at a time, on as many sessions as given side by side."""
    pool = await asyncpg.create_pool(url, min_size=sessions, max_size=sessions)
    await pool.execute(
        "CREATE TABLE IF NOT EXISTS bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)"
    )
    waiting = iter(bodies)

    async def insert_on() -> None:
        async with pool.acquire() as session:
            for body in waiting:
                async with session.transaction():
                    await session.execute("INSERT INTO bare (body) VALUES ($1)", body.decode())

    started = time.perf_counter()
    await asyncio.gather(*(insert_on() for _ in range(sessions)))
    rate = len(bodies) / (time.perf_counter() - started)
    await pool.close()
    return rate
