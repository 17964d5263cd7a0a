"""Parked messages of every service at once: listed, shown, put back or dropped."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from common.messaging.bus import ParkedMessage
from common.messaging.parking import manage_parked
from common.messaging.rabbit import RabbitBus
from common.messaging.replay import RabbitParked
from entrain.checks.broker import QUEUES
from entrain.deployment import Deployment


class AllParked:
    """Each queue through the broker's user of the service that takes from it."""

    def __init__(self, owners: dict[str, RabbitParked]) -> None:
        self._owners = owners
        """By queue."""

    async def queues(self) -> dict[str, int]:
        return {queue: (await owner.queues())[queue] for queue, owner in self._owners.items()}

    async def list(self, queue: str, limit: int = 100) -> list[ParkedMessage]:
        return await self._owners[queue].list(queue, limit)

    async def replay(self, queue: str, ids: Sequence[str] | None = None) -> int:
        return await self._owners[queue].replay(queue, ids)

    async def drop(self, queue: str, ids: Sequence[str] | None = None) -> int:
        return await self._owners[queue].drop(queue, ids)


async def parked(deployment: Deployment, arguments: argparse.Namespace) -> int:
    """Runs ``parked``; the exit code. Raises NotConfigured, and what an unreachable broker raises."""
    async with AsyncExitStack() as stack:
        owners = {}
        for queue, service in QUEUES.items():
            url = deployment.broker_url(service)
            if url is None:
                print("no RABBITMQ_URL here: beside `make run` ask `python -m embedded parked`", file=sys.stderr)
                return 1
            bus = await stack.enter_async_context(RabbitBus(url, name="operator"))
            owners[queue] = RabbitParked(bus, url, [queue])
        return await manage_parked(AllParked(owners), list(owners), arguments)
