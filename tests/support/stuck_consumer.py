"""A process that takes one message, says its id and never finishes: ``stuck_consumer TRANSPORT URL QUEUE TYPE``."""

import asyncio
import sys

from common.messaging.bus import Binding
from common.messaging.envelope import Envelope
from common.messaging.postgres import PostgresBus
from common.messaging.rabbit import RabbitBus


async def take(envelope: Envelope) -> None:
    print(envelope.id, flush=True)
    await asyncio.Event().wait()


async def main(transport: str, url: str, queue: str, kind: str) -> None:
    bus = RabbitBus(url, name="stuck") if transport == "rabbitmq" else PostgresBus(url)
    await bus.start()
    await bus.consume(Binding(queue, (kind,)), take)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
