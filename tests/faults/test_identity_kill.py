"""Identity's worker is killed at each step of a deletion; what was begun is finished by the next one, once."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from common.clock import utc_now
from common.contracts import billing, media
from common.contracts.event import Event
from common.messaging.envelope import Envelope
from common.messaging.rabbit import RabbitBus
from common.tracing import current_trace
from embedded.clerk import ClerkStandIn
from embedded.processes import LOOPBACK, free_ports
from tests.support.callers import NOBODY, Api
from tests.support.event_ledger import until
from tests.support.identity import NOWHERE, identity
from tests.support.schemas import rows
from tests.support.ways import variables_to

READY_SECONDS = 40
LEASE_SECONDS = 40
"""A killed worker's lease runs out in half of this."""


class Workers:
    """Starts ``python -m identity worker``; every process still running is killed at the end."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._started: list[asyncio.subprocess.Process] = []

    async def start(self) -> asyncio.subprocess.Process:
        """Returns when the worker says it is ready."""
        (port,) = free_ports(1)
        log = self._folder / f"worker-{len(self._started)}.log"
        with log.open("wb") as output:
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "identity", "worker", "--port", str(port),
                env=self._environment, stdout=output, stderr=output,
            )  # fmt: skip
        self._started.append(worker)

        async def ready() -> bool:
            assert worker.returncode is None, log.read_text()
            with contextlib.suppress(aiohttp.ClientConnectionError):
                url = f"http://{LOOPBACK}:{port}/health/ready"
                async with aiohttp.ClientSession() as http, http.get(url) as answer:
                    return answer.status == 200
            return False

        await until(ready, READY_SECONDS)
        return worker

    async def end(self) -> None:
        for worker in self._started:
            await kill(worker)


async def kill(worker: asyncio.subprocess.Process) -> None:
    """SIGKILL: nothing is tidied up."""
    if worker.returncode is None:
        worker.kill()
    await worker.wait()


class World:
    def __init__(self, api: Api, clerk: ClerkStandIn, workers: Workers, bus: RabbitBus, database_url: str) -> None:
        self.api, self.clerk, self.workers, self.bus, self.database_url = api, clerk, workers, bus, database_url

    async def delete(self) -> str:
        answer = await self.api.delete("/me")
        assert answer.status == 202, answer.text
        return str(answer.json["deletionId"])

    async def follow(self, deletion_id: str) -> dict[str, Any]:
        document: dict[str, Any] = (await self.api.signed_in_as(NOBODY).get(f"/me/deletions/{deletion_id}")).json
        return document

    async def receipt(self, deletion_id: str, store: str) -> dict[str, Any]:
        [found] = [one for one in (await self.follow(deletion_id))["receipts"] if one["store"] == store]
        return dict(found)

    def becomes(self, deletion_id: str, store: str, status: str) -> Callable[[], Awaitable[bool]]:
        async def it_is() -> bool:
            return bool((await self.receipt(deletion_id, store))["status"] == status)

        return it_is

    async def publish(self, event: Event) -> None:
        await self.bus.publish(Envelope.of(event, at=utc_now(), trace=current_trace()))

    async def published(self) -> bool:
        return not await rows(self.database_url, "SELECT 1 FROM identity.outbox WHERE published_at IS NULL")


@pytest.fixture
async def world(tmp_path: Path, database_url: str, rabbitmq_url: str) -> AsyncIterator[World]:
    async with ClerkStandIn() as clerk, RabbitBus(rabbitmq_url, name="test") as bus:
        clerk.sign_up("user_1")
        settings: dict[str, Any] = {"clerk_secret_key": clerk.secret_key, "clerk_api_url": clerk.url}
        environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")},
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables_to(database_url),
            "RABBITMQ_URL": rabbitmq_url,
            "GATEWAY_JWKS_URL": f"{NOWHERE}/.well-known/jwks.json",
            "CLERK_SECRET_KEY": clerk.secret_key,
            "CLERK_API_URL": clerk.url,
        }
        workers = Workers(environment, tmp_path)
        async with identity(database_url, **settings) as api, ended(workers):
            yield World(api, clerk, workers, bus, database_url)


@asynccontextmanager
async def ended(workers: Workers) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await workers.end()


def erased(deletion_id: str) -> list[Event]:
    about: dict[str, Any] = {"user_id": "user_1", "deletion_id": deletion_id, "counts": {"rows": 1}}
    return [
        billing.UserDataErased(store="billing", **about),
        billing.UserDataErased(store="revenuecat", **about),
        media.UserDataErased(store="media", **about),
        media.UserDataErased(store="storage", **about),
    ]


@pytest.mark.timeout(240)
async def test_a_deletion_survives_a_kill_at_every_step(world: World) -> None:
    """Before anything was announced, while Clerk is asked, after it has answered, and between two reports."""
    deletion_id = await world.delete()
    assert not await world.published()

    world.clerk.faults.fail_next("slow", where="/v1/users")
    asking = await world.workers.start()
    await until(world.published, READY_SECONDS)

    async def asked() -> bool:
        return world.clerk.faults.calls["/v1/users/user_1"] == 1

    await until(asked, READY_SECONDS)
    await kill(asking)
    assert (await world.receipt(deletion_id, "clerk"))["status"] == "pending"
    assert world.clerk.users.get("user_1") is not None

    # Clerk carries out what the dead worker had asked for: the answer reaches nobody
    world.clerk.faults.release()

    async def gone_at_clerk() -> bool:
        return world.clerk.users.get("user_1") is None

    await until(gone_at_clerk)
    assert (await world.receipt(deletion_id, "clerk"))["status"] == "pending"

    second = await world.workers.start()
    await until(world.becomes(deletion_id, "clerk", "completed"), LEASE_SECONDS)
    assert (await world.receipt(deletion_id, "clerk"))["counts"] == {"users": 0}

    first, *others = erased(deletion_id)
    await world.publish(first)
    await until(world.becomes(deletion_id, "billing", "completed"))
    await kill(second)
    for event in [first, *others]:
        await world.publish(event)
    assert (await world.receipt(deletion_id, "media"))["status"] == "pending"

    await world.workers.start()

    async def completed() -> bool:
        return bool((await world.follow(deletion_id))["status"] == "completed")

    await until(completed, READY_SECONDS)
    assert await rows(world.database_url, "SELECT count(*) FROM identity.deletion") == [{"count": 1}]


@pytest.mark.timeout(120)
async def test_clerk_is_asked_again_while_it_is_down(world: World) -> None:
    world.clerk.faults.fail_next("unavailable", 2, where="/v1/users")
    deletion_id = await world.delete()
    await world.workers.start()
    await until(world.becomes(deletion_id, "clerk", "completed"), LEASE_SECONDS)
    assert world.clerk.users.get("user_1") is None
    assert world.clerk.faults.calls["/v1/users/user_1"] == 3
