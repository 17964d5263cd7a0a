"""The contract of the bus, kept by both transports."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import aio_pika
import pytest

from common.clock import utc_now
from common.contracts.identity import UserChanged, UserRegistered
from common.errors import PermanentError
from common.messaging.bus import UNROUTED, Binding, Bus, ParkedMessages, RetryPolicy
from common.messaging.consumers import UnknownType
from common.messaging.envelope import Envelope
from common.messaging.postgres import PostgresBus, PostgresParked
from common.messaging.rabbit import RabbitBus, ready_in
from common.messaging.replay import RabbitParked
from common.tracing import current_trace

POLICY = RetryPolicy(attempts=3, delay=0.2)
REGISTERED = UserRegistered.type


def registered(user: str = "user_1", sequence: int = 1) -> Envelope:
    event = UserRegistered(user_id=user, issuer="https://issuer", sequence=sequence)
    return Envelope.of(event, at=utc_now(), trace=current_trace())


class Received:
    """A handler that keeps what it got, and fails as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.envelopes: list[Envelope] = []
        self.times: list[float] = []
        self._failures = list(failures)
        self._arrived = asyncio.Condition()

    async def __call__(self, envelope: Envelope) -> None:
        async with self._arrived:
            self.envelopes.append(envelope)
            self.times.append(asyncio.get_running_loop().time())
            self._arrived.notify_all()
        if self._failures:
            raise self._failures.pop(0)

    async def wait_for(self, count: int, seconds: float = 20) -> list[Envelope]:
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.envelopes) >= count)
        return self.envelopes


class Transport:
    """One transport under test: buses that stop with the test, its parked messages, and a way in for raw bytes."""

    def __init__(self, name: str, url: str, stack: AsyncExitStack) -> None:
        self.name = name
        self.url = url
        self._stack = stack

    async def bus(self) -> Any:
        made = (
            RabbitBus(self.url, name="test", retry=POLICY)
            if self.name == "rabbitmq"
            else PostgresBus(self.url, retry=POLICY)
        )
        return await self._stack.enter_async_context(made)

    def parked(self, bus: Bus, queue: str) -> ParkedMessages:
        if isinstance(bus, RabbitBus):
            return RabbitParked(bus, self.url, [queue])
        assert isinstance(bus, PostgresBus)
        return PostgresParked(bus)

    async def inject(self, bus: Any, queue: str, body: bytes) -> None:
        """Puts bytes into the queue as no publisher of ours would."""
        if isinstance(bus, PostgresBus):
            await bus.pool.execute("INSERT INTO bus.message (queue, body) VALUES ($1, $2)", queue, body.decode())
        else:
            connection = await aio_pika.connect(self.url)
            async with connection:
                channel = await connection.channel()
                await channel.default_exchange.publish(aio_pika.Message(body), queue)

    async def depth(self, bus: Any, queue: str) -> int:
        if isinstance(bus, PostgresBus):
            return int(await bus.pool.fetchval("SELECT count(*) FROM bus.message WHERE queue = $1", queue))
        connection = await aio_pika.connect(self.url)
        async with connection:
            channel = await connection.channel()
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0


@pytest.fixture(params=["rabbitmq", "postgres"])
def server(request: pytest.FixtureRequest) -> tuple[str, str]:
    fixture = "rabbitmq_url" if request.param == "rabbitmq" else "database_url"
    return request.param, request.getfixturevalue(fixture)


@pytest.fixture
async def transport(server: tuple[str, str]) -> AsyncIterator[Transport]:
    async with AsyncExitStack() as stack:
        yield Transport(*server, stack)


async def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """The first true value of an awaitable condition, polled."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):
            await asyncio.sleep(0.05)
    return value


async def test_each_subscription_gets_its_own_copy(transport: Transport) -> None:
    bus = await transport.bus()
    first, second, other = Received(), Received(), Received()
    await bus.consume(Binding("a.users", (REGISTERED,)), first)
    await bus.consume(Binding("b.users", (REGISTERED,)), second)
    await bus.consume(Binding("c.changes", (UserChanged.type,)), other)
    sent = registered()
    await bus.publish(sent)
    assert await first.wait_for(1) == [sent]
    assert await second.wait_for(1) == [sent]
    assert other.envelopes == []


async def test_two_consumers_of_one_queue_share_its_messages(transport: Transport) -> None:
    one, two = Received(), Received()
    for received in (one, two):
        bus = await transport.bus()
        await bus.consume(Binding("a.users", (REGISTERED,)), received, prefetch=1)
    sent = [registered(f"user_{number}") for number in range(20)]
    for envelope in sent:
        await bus.publish(envelope)

    async def everything() -> bool:
        return len(one.envelopes) + len(two.envelopes) >= len(sent)

    await until(everything)
    assert sorted(e.id for e in one.envelopes + two.envelopes) == sorted(e.id for e in sent)


async def test_a_failed_message_comes_back_after_the_delay(transport: Transport) -> None:
    bus = await transport.bus()
    received = Received(RuntimeError("not now"))
    await bus.consume(Binding("a.users", (REGISTERED,)), received)
    sent = registered()
    await bus.publish(sent)
    assert await received.wait_for(2) == [sent, sent]
    assert received.times[1] - received.times[0] >= POLICY.delay * 0.9


async def test_a_message_is_parked_after_the_last_attempt_with_its_reason(transport: Transport) -> None:
    bus = await transport.bus()
    received = Received(*[RuntimeError(f"broken {number}") for number in range(1, 9)])
    await bus.consume(Binding("a.users", (REGISTERED,)), received)
    sent = registered()
    await bus.publish(sent)
    parked = transport.parked(bus, "a.users")
    [message] = await until(lambda: parked.list("a.users"))
    assert message.id == sent.id
    assert message.type == REGISTERED
    assert message.attempts == POLICY.attempts
    assert "broken 3" in message.reason
    assert message.first_seen
    assert len(received.envelopes) == POLICY.attempts


@pytest.mark.parametrize("error", [PermanentError("no use"), UnknownType("nobody takes it")])
async def test_an_error_no_retry_can_help_parks_at_once(transport: Transport, error: Exception) -> None:
    bus = await transport.bus()
    received = Received(error)
    await bus.consume(Binding("a.users", (REGISTERED,)), received)
    await bus.publish(registered())
    parked = transport.parked(bus, "a.users")
    [message] = await until(lambda: parked.list("a.users"))
    assert str(error) in message.reason
    assert len(received.envelopes) == 1


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"specversion":"1.0"}', b'{"specversion":"0.3","data":{}}'])
async def test_an_unreadable_body_parks_at_once_and_stops_nothing(transport: Transport, body: bytes) -> None:
    bus = await transport.bus()
    received = Received()
    await bus.consume(Binding("a.users", (REGISTERED,)), received)
    await transport.inject(bus, "a.users", body)
    parked = transport.parked(bus, "a.users")
    [message] = await until(lambda: parked.list("a.users"))
    assert message.body == body.decode()
    assert "unreadable" in message.reason
    sent = registered()
    await bus.publish(sent)
    assert await received.wait_for(1) == [sent]


async def test_messages_wait_for_a_consumer_that_is_down(transport: Transport) -> None:
    bus = await transport.bus()
    first = await bus.consume(Binding("a.users", (REGISTERED,)), Received())
    await first.stop()
    sent = [registered(f"user_{number}") for number in range(3)]
    for envelope in sent:
        await bus.publish(envelope)
    received = Received()
    await (await transport.bus()).consume(Binding("a.users", (REGISTERED,)), received)
    assert sorted(e.id for e in await received.wait_for(3)) == sorted(e.id for e in sent)


async def test_a_declared_queue_misses_nothing_before_its_first_consumer(transport: Transport) -> None:
    bus = await transport.bus()
    await bus.declare(Binding("a.users", (REGISTERED,)))
    sent = registered()
    await bus.publish(sent)
    received = Received()
    await bus.consume(Binding("a.users", (REGISTERED,)), received)
    assert await received.wait_for(1) == [sent]


async def test_what_no_queue_takes_is_kept(transport: Transport) -> None:
    bus = await transport.bus()
    await bus.publish(registered())

    async def kept() -> bool:
        return await transport.depth(bus, UNROUTED) == 1

    assert await until(kept)


async def test_a_handler_killed_midway_sees_the_message_again(transport: Transport) -> None:
    """A separate process takes the message and is killed with it in hand."""
    bus = await transport.bus()
    await bus.declare(Binding("a.users", (REGISTERED,)))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.stuck_consumer", transport.name, transport.url, "a.users", REGISTERED,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    sent = registered()
    await bus.publish(sent)
    assert child.stdout is not None
    async with asyncio.timeout(20):
        assert (await child.stdout.readline()).decode().strip() == sent.id
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    received = Received()
    await bus.consume(Binding("a.users", (REGISTERED,)), received)
    assert await received.wait_for(1) == [sent]


async def test_replay_puts_a_parked_message_back_with_fresh_attempts(transport: Transport) -> None:
    bus = await transport.bus()
    received = Received(PermanentError("bug of yesterday"))
    await bus.consume(Binding("a.users", (REGISTERED,)), received)
    sent = registered()
    await bus.publish(sent)
    parked = transport.parked(bus, "a.users")
    await until(lambda: parked.list("a.users"))
    assert await parked.queues() == {"a.users": 1}
    assert await parked.replay("a.users", [str(uuid4())]) == 0
    assert await parked.replay("a.users", [sent.id]) == 1
    assert await received.wait_for(2) == [sent, sent]
    assert await parked.queues() == {"a.users": 0}


async def test_dropping_removes_only_what_is_named(transport: Transport) -> None:
    bus = await transport.bus()
    failing = Received(PermanentError("1"), PermanentError("2"))
    consumption = await bus.consume(Binding("a.users", (REGISTERED,)), failing)
    sent = [registered("user_1"), registered("user_2")]
    for envelope in sent:
        await bus.publish(envelope)
    parked = transport.parked(bus, "a.users")

    async def both() -> bool:
        return await parked.queues() == {"a.users": 2}

    await until(both)
    assert await consumption.parked() == 2
    assert await parked.drop("a.users", [sent[0].id]) == 1
    assert [message.id for message in await parked.list("a.users")] == [sent[1].id]


async def test_what_a_busy_broker_takes_for_empty_is_counted_all_the_same(rabbitmq_url: str) -> None:
    """RabbitMQ says of a quorum queue that does not answer in time that nothing is in it."""
    async with RabbitBus(rabbitmq_url, name="test") as bus:
        await bus.declare(Binding("a.users", (REGISTERED,)))
        connection = await aio_pika.connect(rabbitmq_url)
        async with connection:
            queue = await (await connection.channel()).get_queue("a.users.parked")

            async def counted(*, told: int) -> int:
                queue.declaration_result.message_count = told
                return await ready_in(queue)

            assert await counted(told=0) == 0
            for number in range(3):
                await bus.put("a.users.parked", str(number).encode(), {})
            assert await counted(told=0) == 3
            assert await counted(told=7) == 7
        parked = RabbitParked(bus, rabbitmq_url, ["a.users"])
        assert sorted(message.body for message in await parked.list("a.users")) == ["0", "1", "2"]


async def test_every_running_instance_gets_a_broadcast_and_nothing_is_kept(transport: Transport) -> None:
    one, two = Received(RuntimeError("dropped, not retried")), Received()
    consumptions = []
    for received in (one, two):
        bus = await transport.bus()
        consumptions.append(await bus.consume(Binding("gateway.endings", (REGISTERED,), broadcast=True), received))
    await bus.publish(registered("user_1"))
    await one.wait_for(1)
    await two.wait_for(1)
    await consumptions[0].stop()
    await bus.publish(registered("user_2"))
    assert [e.subject for e in await two.wait_for(2)] == ["user_1", "user_2"]
    late = Received()
    await bus.consume(Binding("gateway.endings", (REGISTERED,), broadcast=True), late)
    await bus.publish(registered("user_3"))
    assert [e.subject for e in await late.wait_for(1)] == ["user_3"]
    assert [e.subject for e in one.envelopes] == ["user_1"]


async def test_a_consumption_says_whether_it_is_attached(transport: Transport) -> None:
    bus = await transport.bus()
    consumption = await bus.consume(Binding("a.users", (REGISTERED,)), Received())
    assert consumption.attached()
    assert await consumption.parked() == 0
    await consumption.stop()
    assert not consumption.attached()


async def test_published_in_parallel_every_message_arrives_once(transport: Transport) -> None:
    bus = await transport.bus()
    received = Received()
    await bus.consume(Binding("a.users", (REGISTERED,)), received)
    sent = [registered(f"user_{number}") for number in range(300)]
    await asyncio.gather(*(bus.publish(envelope) for envelope in sent))
    assert sorted(e.id for e in await received.wait_for(300)) == sorted(e.id for e in sent)
