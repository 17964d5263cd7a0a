"""The broker's users and policies: deploy/rabbitmq put into a real broker by its own command, and tried with real code.

What a service needs it may do: the queues its code declares, the events it handles and publishes, retry and parking.
Everything of another service is refused.
"""

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

import billing.consumers
import identity.consumers
import media.consumers
from common.contracts.asyncapi import EVENTS
from common.messaging.bus import UNROUTED, Binding, RetryPolicy
from common.messaging.envelope import Envelope
from common.messaging.rabbit import EXCHANGE, RabbitBus, ready_in
from common.messaging.replay import RabbitParked
from gateway.sign_out_feed import QUEUE as SIGN_OUTS
from tests.support.docker_files import REPOSITORY
from tests.support.event_ledger import until
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.servers import run

FOLDER = REPOSITORY / "deploy" / "rabbitmq"
DEFINITIONS: dict[str, Any] = json.loads((FOLDER / "definitions.json").read_text())
EXAMPLES = REPOSITORY / "libs/common/common/contracts/golden"
BINDINGS: dict[str, tuple[Binding, ...]] = {
    "gateway": (SIGN_OUTS,),
    "identity": (identity.consumers.deletions.binding,),
    "billing": (billing.consumers.users.binding,),
    "media": (media.consumers.entitlements.binding, media.consumers.users.binding),
}
OWNERS = tuple(name for name in BINDINGS if name != "gateway")
ONCE_MORE = RetryPolicy(attempts=2, delay=0.1)
TYPES = sorted(event.type for event in EVENTS)


@dataclass(frozen=True)
class Broker:
    """One virtual host of the suite's broker, with the users of the definitions."""

    server: PrivateRabbitMQ
    vhost: str
    passwords: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        given = {f"{user.upper()}_RABBITMQ_PASSWORD": password for user, password in self.passwords.items()}
        return {"PATH": os.defpath, "RABBITMQ_VHOST": self.vhost, **self.server.administrator, **given}

    def url(self, user: str) -> str:
        return self.server.url(self.vhost, user=user, password=self.passwords[user])

    def bus(self, user: str) -> RabbitBus:
        return RabbitBus(self.url(user), name=user, retry=ONCE_MORE)

    async def queues(self) -> dict[str, dict[str, Any]]:
        found = await self.server.api("GET", f"queues/{quote(self.vhost, safe='')}")
        return {queue["name"]: queue for queue in found}


def apply(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "apply_definitions.py")]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def broker(rabbitmq: PrivateRabbitMQ) -> Iterator[Broker]:
    """With the definitions applied twice, and every queue that the services' code declares."""
    vhost = f"test-{secrets.token_hex(6)}"
    made = Broker(rabbitmq, vhost, {user: secrets.token_hex(24) for user in BINDINGS})
    run(rabbitmq.create_vhost(vhost))
    for _ in range(2):
        applied = apply(made.environment)
        assert applied.returncode == 0, applied.stderr
    run(declare_everything(made))
    yield made
    run(rabbitmq.delete_vhost(vhost))
    for user in BINDINGS:
        run(rabbitmq.api("DELETE", f"users/{user}"))


async def declare_everything(broker: Broker) -> None:
    for user in OWNERS:
        async with broker.bus(user) as bus:
            for binding in BINDINGS[user]:
                await bus.declare(binding)


def example(event_type: str) -> Envelope:
    return Envelope.from_json((EXAMPLES / f"{event_type}.example.json").read_bytes())


@asynccontextmanager
async def channel_of(broker: Broker, user: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(broker.url(user), timeout=10) as connection:
        yield await connection.channel()


@pytest.mark.parametrize("listener", sorted(BINDINGS))
async def test_a_service_is_told_of_every_event_it_handles_by_whoever_may_publish_it(
    listener: str, broker: Broker
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def hear(envelope: Envelope) -> None:
        heard.put_nowait(envelope.type)

    async with broker.bus(listener) as bus:
        for binding in BINDINGS[listener]:
            consumption = await bus.consume(binding, hear)
            for event_type in binding.types:
                async with broker.bus(event_type.partition(".")[0]) as publisher:
                    await publisher.publish(example(event_type))
                async with asyncio.timeout(10):
                    assert await heard.get() == event_type
            await consumption.stop()


@pytest.mark.parametrize("owner", OWNERS)
async def test_a_message_that_cannot_be_handled_is_retried_parked_put_back_and_dropped(
    owner: str, broker: Broker
) -> None:
    binding = BINDINGS[owner][-1]
    sent = example(binding.types[0])

    async def fail(_: Envelope) -> None:
        raise RuntimeError("no")

    async with channel_of(broker, owner) as channel:
        await _purge(channel, binding.queue)
    async with broker.bus(owner) as bus, broker.bus(sent.type.partition(".")[0]) as publisher:
        consumption = await bus.consume(binding, fail)
        parked = RabbitParked(bus, broker.url(owner), [binding.queue])
        await publisher.publish(sent)
        await until(lambda: counted(parked, binding, 1), 15)
        assert await consumption.parked() == 1
        assert await parked.replay(binding.queue, [sent.id]) == 1
        await until(lambda: counted(parked, binding, 1), 15)
        await consumption.stop()
        assert await parked.drop(binding.queue) == 1


async def counted(parked: RabbitParked, binding: Binding, count: int) -> bool:
    return await parked.queues() == {binding.queue: count}


async def test_what_nobody_handles_is_kept_for_a_while(broker: Broker) -> None:
    async with broker.bus("media") as bus:
        await bus.publish(example("media.session_created.v1"))
    async with channel_of(broker, "media") as channel:
        assert await ready_in(await channel.declare_queue(UNROUTED, passive=True)) == 1


Act = Callable[[AbstractChannel, str], Awaitable[object]]


async def _consume(channel: AbstractChannel, queue: str) -> None:
    await (await channel.get_queue(queue, ensure=False)).consume(_ignore)


async def _take(channel: AbstractChannel, queue: str) -> None:
    await (await channel.get_queue(queue, ensure=False)).get(fail=False)


async def _purge(channel: AbstractChannel, queue: str) -> None:
    await (await channel.get_queue(queue, ensure=False)).purge()


async def _delete(channel: AbstractChannel, queue: str) -> None:
    await channel.queue_delete(queue)


async def _declare(channel: AbstractChannel, queue: str) -> None:
    await channel.declare_queue(queue, durable=True)


async def _bind(channel: AbstractChannel, queue: str) -> None:
    await (await channel.get_queue(queue, ensure=False)).bind(EXCHANGE, "identity.user_deleted.v1")


async def _ignore(_: object) -> None: ...


ACTS: tuple[Act, ...] = (_consume, _take, _purge, _delete, _declare, _bind)


@pytest.mark.parametrize("user", sorted(BINDINGS))
async def test_a_service_is_refused_every_queue_of_the_others(user: str, broker: Broker) -> None:
    foreign = [name for name in await broker.queues() if not name.startswith((f"{user}.", "events."))]
    foreign += [] if user == "gateway" else [f"{SIGN_OUTS.queue}@another"]
    assert len(foreign) >= 6

    async with await aio_pika.connect(broker.url(user), timeout=10) as connection:
        for queue in foreign:
            for act in ACTS:
                channel = await connection.channel()
                with pytest.raises(ChannelAccessRefused):
                    await act(channel, queue)
    assert foreign[0] in await broker.queues()


@pytest.mark.parametrize("user", sorted(BINDINGS))
async def test_a_service_publishes_in_its_own_name_only(user: str, broker: Broker) -> None:
    async with await aio_pika.connect(broker.url(user), timeout=10) as connection:
        for event_type in TYPES:
            channel = await connection.channel()
            exchange = await channel.get_exchange(EXCHANGE, ensure=False)
            sent = exchange.publish(aio_pika.Message(b"{}", expiration=0.001), event_type)
            if event_type.startswith(f"{user}."):
                await sent
            else:
                with pytest.raises(ChannelAccessRefused):
                    await sent


async def test_a_gateway_cannot_put_a_message_into_any_queue(broker: Broker) -> None:
    async with channel_of(broker, "gateway") as channel:
        with pytest.raises(ChannelAccessRefused):
            await channel.default_exchange.publish(aio_pika.Message(b"{}"), "media.users")


@pytest.mark.parametrize("user", sorted(BINDINGS))
async def test_a_service_cannot_listen_to_what_it_does_not_handle(user: str, broker: Broker) -> None:
    handled = {event_type for binding in BINDINGS[user] for event_type in binding.types}
    own = f"{SIGN_OUTS.queue}@curious" if user == "gateway" else f"{user}.curious"
    async with await aio_pika.connect(broker.url(user), timeout=10) as connection:
        for event_type in {*TYPES, "#"} - handled:
            channel = await connection.channel()
            queue = await channel.declare_queue(own, durable=True, auto_delete=True)
            with pytest.raises(ChannelAccessRefused):
                await queue.bind(EXCHANGE, event_type)
    await broker.server.api("DELETE", f"queues/{quote(broker.vhost, safe='')}/{own}")


async def test_every_queue_has_its_policy_and_unhandled_events_come_to_an_end(broker: Broker) -> None:
    expected = {UNROUTED: "unrouted"}
    for binding in (binding for owner in OWNERS for binding in BINDINGS[owner]):
        expected |= {binding.queue: "handled", f"{binding.queue}.retry": "waiting", f"{binding.queue}.parked": "parked"}

    async def reported() -> dict[str, dict[str, Any]]:  # the broker takes some seconds to gather what it tells
        found = await broker.queues()
        return found if all("effective_policy_definition" in queue for queue in found.values()) else {}

    queues = await until(reported)
    assert {name: queue["policy"] for name, queue in queues.items()} == expected
    limits = queues[UNROUTED]["effective_policy_definition"]
    assert limits == {"max-length": 100_000, "message-ttl": 14 * 86_400_000, "overflow": "drop-head"}


async def test_users_have_no_say_over_the_broker(broker: Broker) -> None:
    for user in BINDINGS:
        assert (await broker.server.api("GET", f"users/{user}"))["tags"] == []


def test_the_definitions_hold_no_password_and_name_every_service() -> None:
    assert {user["name"] for user in DEFINITIONS["users"]} == set(BINDINGS)
    assert not re.search(r"password", json.dumps(DEFINITIONS))


def test_a_missing_password_is_named(broker: Broker) -> None:
    incomplete = {name: value for name, value in broker.environment.items() if name != "MEDIA_RABBITMQ_PASSWORD"}

    applied = apply(incomplete)

    assert applied.returncode == 78
    assert applied.stderr == "broker: set MEDIA_RABBITMQ_PASSWORD; --help says what each is\n"


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"RABBITMQ_API_PASSWORD": "wrong"}, "RABBITMQ_API_USER and RABBITMQ_API_PASSWORD must be those"),
        ({"RABBITMQ_API_URL": "http://127.0.0.1:1"}, "is it RABBITMQ_API_URL"),
    ],
)
def test_a_broker_that_does_not_take_them_is_told_of_with_what_to_do(
    changed: dict[str, str], said: str, broker: Broker
) -> None:
    applied = apply(broker.environment | changed)

    assert applied.returncode == 1
    assert said in applied.stderr
    assert "Traceback" not in applied.stderr
    assert not any(password in applied.stderr for password in broker.passwords.values())
