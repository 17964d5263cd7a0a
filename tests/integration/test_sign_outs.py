"""Who signs out, or is deleted, is refused at once: by event on either bus, and by asking identity what was missed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pytest

from common.clock import utc_now
from common.contracts.event import Event
from common.contracts.identity import SessionEnded, UserDeleted
from common.messaging.bus import Bus
from common.messaging.envelope import Envelope
from common.messaging.postgres import PostgresBus
from common.messaging.rabbit import RabbitBus
from common.tracing import current_trace
from embedded.processes import free_ports
from gateway.sign_out_feed import QUEUE
from tests.support.event_ledger import until
from tests.support.fake_identity import MOST, FakeIdentity
from tests.support.fault_proxy import FaultProxy
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.running_gateway import RunningGateway, envelope, running_gateway


def ended(session_id: str, at: datetime | None = None) -> SessionEnded:
    return SessionEnded(session_id=session_id, user_id="user_2abc", ended_at=at or utc_now(), sequence=1)


def deleted(user_id: str) -> UserDeleted:
    return UserDeleted(user_id=user_id, issuer="https://clerk.test", deletion_id="d", sequence=2)


async def tell(bus: Bus, event: Event) -> None:
    await bus.publish(Envelope.of(event, at=utc_now(), trace=current_trace()))


async def hears(gateway: RunningGateway) -> bool:
    """Whether the gateway's queue is attached and nothing before it can be missing."""
    return "impaired" not in await gateway.health()


def refused(gateway: RunningGateway, token: str) -> Callable[[], Awaitable[bool]]:
    async def is_refused() -> bool:
        return await gateway.status_of(token) == 401

    return is_refused


@asynccontextmanager
async def hearing(bus: Bus, **settings: Any) -> AsyncIterator[tuple[RunningGateway, FakeIdentity]]:
    """A gateway that hears of sign-outs on a bus that runs already."""
    async with (
        FakeIdentity() as identity,
        running_gateway(bus=lambda: nullcontext(bus), identity_url=identity.url, **settings) as gateway,
    ):
        await until(lambda: hears(gateway))
        yield gateway, identity


@pytest.fixture(params=["rabbitmq", "postgres"])
def stopped(request: pytest.FixtureRequest) -> RabbitBus | PostgresBus:
    if request.param == "rabbitmq":
        return RabbitBus(request.getfixturevalue("rabbitmq_url"), name="test")
    return PostgresBus(request.getfixturevalue("database_url"))


@pytest.fixture
async def bus(stopped: RabbitBus | PostgresBus) -> AsyncIterator[Bus]:
    async with stopped as started:
        yield started


async def test_an_ended_session_is_refused_at_once_and_no_other(bus: Bus) -> None:
    async with hearing(bus) as (gateway, _):
        token, other = gateway.forge.token(), gateway.forge.token(sid="sess_other")
        assert [await gateway.status_of(token), await gateway.status_of(other)] == [200, 200]

        await tell(bus, ended("sess_2abc"))

        assert await until(refused(gateway, token))
        assert await gateway.status_of(gateway.forge.token()) == 401
        assert [await gateway.status_of(other) for _ in range(3)] == [200] * 3
        status, answer = await gateway.get_raw("/voices", f"Authorization: Bearer {token}")
        assert (status, envelope(answer)["code"]) == (401, "UNAUTHORIZED")


async def test_a_deleted_user_is_refused_in_every_session(bus: Bus) -> None:
    async with hearing(bus) as (gateway, _):
        sessions = [gateway.forge.token(sid=f"sess_{number}") for number in range(3)]
        other = gateway.forge.token(sub="user_other")
        assert [await gateway.status_of(token) for token in [*sessions, other]] == [200] * 4

        await tell(bus, deleted("user_2abc"))

        assert await until(refused(gateway, sessions[0]))
        assert [await gateway.status_of(token) for token in [*sessions, other]] == [401, 401, 401, 200]


async def test_every_running_gateway_hears_of_it(bus: Bus) -> None:
    async with hearing(bus) as (first, _), hearing(bus) as (second, _):
        tokens = [(gateway, gateway.forge.token()) for gateway in (first, second)]
        assert [await gateway.status_of(token) for gateway, token in tokens] == [200, 200]
        await tell(bus, ended("sess_2abc"))
        for gateway, token in tokens:
            assert await until(refused(gateway, token))


async def test_what_cannot_be_read_harms_nothing(bus: Bus) -> None:
    async with hearing(bus) as (gateway, _):
        trace = current_trace()
        broken = Envelope.of(ended("sess_other"), at=utc_now(), trace=trace)
        object.__setattr__(broken, "data", {"sessionId": 5})
        await bus.publish(broken)
        await tell(bus, ended("sess_2abc"))
        assert await until(refused(gateway, gateway.forge.token()))
        assert await gateway.status_of(gateway.forge.token(sid="sess_other")) == 200


async def test_what_happened_before_the_start_is_asked_of_identity() -> None:
    async with PausedBus() as bus, FakeIdentity() as identity:
        now = utc_now()
        for number in range(MOST):
            identity.ended[f"sess_{number}"] = now - timedelta(seconds=number)
        identity.ended["sess_long_ago"] = now - timedelta(days=1)
        identity.deleted["user_gone"] = now - timedelta(seconds=30)
        async with running_gateway(bus=lambda: nullcontext(bus), identity_url=identity.url) as gateway:
            await until(lambda: hears(gateway))
            signed_out = ["sess_0", f"sess_{MOST - 1}"]
            assert [await gateway.status_of(gateway.forge.token(sid=name)) for name in signed_out] == [401, 401]
            assert await gateway.status_of(gateway.forge.token(sub="user_gone")) == 401
            assert await gateway.status_of(gateway.forge.token(sid="sess_long_ago")) == 200
            since = datetime.fromisoformat(identity.asked_since[0])
            assert timedelta(hours=1) <= datetime.now(UTC) - since < timedelta(hours=1, minutes=5)


async def test_identity_being_away_holds_up_nobody_and_is_asked_again() -> None:
    async with PausedBus() as bus, FakeIdentity() as identity:
        identity.down = True
        identity.ended["sess_2abc"] = utc_now()
        async with running_gateway(bus=lambda: nullcontext(bus), identity_url=identity.url) as gateway:
            assert await gateway.status_of(gateway.forge.token(), "/voices") == 200
            said = await gateway.health()
            assert (said["ok"], list(said["impaired"])) == (True, ["sign_outs"])
            identity.down = False
            await until(lambda: hears(gateway))
            assert await gateway.status_of(gateway.forge.token(), "/voices") == 401


async def test_while_the_broker_is_away_sign_outs_are_asked_for(rabbitmq: PrivateRabbitMQ, rabbitmq_url: str) -> None:
    async with FaultProxy("127.0.0.1", rabbitmq.port) as proxy, FakeIdentity() as identity:
        address = proxy.in_front_of(rabbitmq_url)
        async with running_gateway(rabbitmq_url=address, identity_url=identity.url) as gateway:
            await until(lambda: hears(gateway))
            await proxy.refuse()

            async def named() -> bool:
                said = await gateway.health()
                return bool(said["ok"]) and QUEUE.queue in said.get("impaired", {}).get("sign_outs", "")

            assert await until(named)
            identity.ended["sess_2abc"] = utc_now()
            assert await until(refused(gateway, gateway.forge.token()))
            assert await gateway.status_of(gateway.forge.token(sid="sess_other")) == 200

            identity.ended["sess_late"] = utc_now()
            await proxy.accept()
            await until(lambda: hears(gateway))
            assert await gateway.status_of(gateway.forge.token(sid="sess_late")) == 401
            async with RabbitBus(rabbitmq_url, name="test") as bus:
                await tell(bus, ended("sess_other"))
                assert await until(refused(gateway, gateway.forge.token(sid="sess_other")))


async def test_a_queue_that_someone_deleted_is_made_again(rabbitmq: PrivateRabbitMQ, rabbitmq_url: str) -> None:
    async with (
        FakeIdentity() as identity,
        RabbitBus(rabbitmq_url, name="test") as bus,
        running_gateway(rabbitmq_url=rabbitmq_url, identity_url=identity.url) as gateway,
    ):
        await until(lambda: hears(gateway))
        session = await aio_pika.connect(rabbitmq_url)
        async with session:
            channel = await session.channel()
            for name in await queues_of(rabbitmq, rabbitmq_url):
                await channel.queue_delete(name)
        await until(lambda: _not(hears(gateway)))
        await until(lambda: hears(gateway), 60)
        await tell(bus, ended("sess_2abc"))
        assert await until(refused(gateway, gateway.forge.token()))


async def test_it_starts_before_the_broker_does() -> None:
    (port,) = free_ports(1)
    async with FakeIdentity() as identity:
        url = f"amqp://nobody:nothing@127.0.0.1:{port}/"
        async with running_gateway(rabbitmq_url=url, identity_url=identity.url) as gateway:
            assert await gateway.status_of(gateway.forge.token()) == 200
            said = await gateway.health()
            assert (said["ok"], QUEUE.queue in said["impaired"]["sign_outs"]) == (True, True)


async def test_without_a_broker_nothing_is_missing_and_nobody_is_asked() -> None:
    async with FakeIdentity() as identity, running_gateway(identity_url=identity.url) as gateway:
        assert await gateway.status_of(gateway.forge.token()) == 200
        assert await gateway.health() == {"ok": True, "missing": {}}
        assert identity.asked_since == []


async def queues_of(rabbitmq: PrivateRabbitMQ, url: str) -> list[str]:
    vhost = url.rpartition("/")[2]
    return [queue["name"] for queue in await rabbitmq.api("GET", f"queues/{vhost}") if "sign_outs" in queue["name"]]


async def _not(answer: Awaitable[bool]) -> bool:
    return not await answer


class PausedBus:
    """A bus on which nothing ever happens."""

    async def __aenter__(self) -> "PausedBus":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def publish(self, envelope: Envelope) -> None:
        raise AssertionError("nothing is published here")

    async def consume(self, *_: Any, **__: Any) -> "PausedBus":
        return self

    def attached(self) -> bool:
        return True

    async def stop(self) -> None:
        await asyncio.sleep(0)

    async def parked(self) -> int:
        return 0
