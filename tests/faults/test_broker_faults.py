"""Whatever happens to the broker or the bus's database, every committed event takes effect exactly once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import pytest

from common.clock import utc_now
from common.contracts.identity import UserChanged
from common.db.engine import REACHING_FAILED, Database
from common.errors import PermanentError
from common.messaging.bus import Binding, RetryPolicy
from common.messaging.envelope import Envelope
from common.messaging.postgres import PostgresBus
from common.messaging.rabbit import PUBLISH_SECONDS, RabbitBus
from common.tracing import current_trace
from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from tests.support.event_ledger import (
    QUEUE,
    SCHEMA,
    by_subject,
    change,
    count,
    effects,
    emit,
    ledger,
    recorder,
    relay_of,
    running,
    until,
)
from tests.support.fault_proxy import FaultProxy
from tests.support.rabbitmq import PrivateRabbitMQ

POLICY = RetryPolicy(attempts=6, delay=0.2)
USERS = [f"user_{number}" for number in range(20)]
CHANGES = list(range(1, 31))
ALL = len(USERS) * len(CHANGES)
REMEMBERED_SECONDS = 2.0
"""Seen on RabbitMQ 3.10: killed within a second of making a quorum queue, it brings the queue back leaderless."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with ledger(database_url) as opened:
        yield opened


@pytest.fixture
async def proxy(rabbitmq_url: str) -> AsyncIterator[FaultProxy]:
    parts = urlsplit(rabbitmq_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with FaultProxy(parts.hostname, parts.port) as opened:
        yield opened


@asynccontextmanager
async def traffic(database: Database, bus: Any) -> AsyncIterator[Any]:
    """Relay and consumer at work, every change being emitted; leaving the block waits for all effects."""

    async def emit_everything() -> None:
        for sequence in CHANGES:
            await until(partial(emitted, database, sequence), 60)

    async def complete() -> bool:
        return await count(database, "effect") >= ALL

    consumption = await recorder().start(bus, database, SCHEMA)
    async with running(relay_of(database, bus)):
        emitting = asyncio.create_task(emit_everything())
        yield consumption
        await emitting
        await until(complete, 60)
    await holds(consumption.attached)
    await consumption.stop()


async def emitted(database: Database, sequence: int) -> bool:
    """Whether one change of every user is committed; emits it where it is not, so a commit of unknown fate is safe."""
    try:
        if not await count(database, f"outbox WHERE (body::json->>'sequence')::int = {sequence}"):
            await emit(database, *(change(user, sequence) for user in USERS))
    except REACHING_FAILED:
        return False
    return True


async def handled(database: Database, number: int) -> None:
    async def enough() -> bool:
        return await count(database, "effect") >= number

    await until(enough, 60)


async def expect_each_effect_once(database: Database) -> None:
    got = by_subject(await effects(database))
    assert {user: sorted(sequences) for user, sequences in got.items()} == dict.fromkeys(USERS, CHANGES)
    assert await count(database, "inbox") == ALL
    assert await count(database, "outbox WHERE published_at IS NULL") == 0


def fresh(user: str = "user_1") -> Envelope:
    return Envelope.of(change(user, 1), at=utc_now(), trace=current_trace())


async def holds(condition: Callable[[], bool]) -> None:
    async def now() -> bool:
        return condition()

    await until(now)


async def test_a_broker_killed_and_restarted_mid_traffic(database: Database, tmp_path: Path) -> None:
    broker, loop = PrivateRabbitMQ(), asyncio.get_running_loop()
    await broker.start(tmp_path)
    try:
        async with RabbitBus(broker.url(), name="test", retry=POLICY) as bus:
            await bus.declare(recorder().binding)
            declared = loop.time()
            await holds(lambda: loop.time() > declared + REMEMBERED_SECONDS)
            async with traffic(database, bus) as consumption:
                await handled(database, ALL // 6)
                await broker.kill()
                await holds(lambda: not consumption.attached())
                assert await until(bus.check) == "no session with the broker"
                await broker.start(tmp_path)
        await expect_each_effect_once(database)
    finally:
        await broker.kill()


async def test_a_session_cut_again_and_again_mid_traffic(
    database: Database, rabbitmq_url: str, proxy: FaultProxy
) -> None:
    async with (
        RabbitBus(proxy.in_front_of(rabbitmq_url), name="test", retry=POLICY) as bus,
        traffic(database, bus) as consumption,
    ):
        for part in (1, 2, 3):
            await handled(database, part * ALL // 6)
            proxy.cut()
            await holds(lambda: not consumption.attached())
            await holds(consumption.attached)
    await expect_each_effect_once(database)


async def test_a_network_that_falls_silent_mid_traffic(
    database: Database, rabbitmq_url: str, proxy: FaultProxy
) -> None:
    url = proxy.in_front_of(rabbitmq_url)
    async with RabbitBus(url, name="test", retry=POLICY, heartbeat=1) as bus, traffic(database, bus) as consumption:
        await handled(database, ALL // 6)
        proxy.stall()
        await holds(lambda: not consumption.attached())  # without a word from the broker, by missing heartbeats alone
        proxy.cut()
        proxy.flow()
    await expect_each_effect_once(database)


async def test_a_publish_without_a_broker_fails_in_bounded_time_and_all_is_back_later(
    rabbitmq_url: str, proxy: FaultProxy
) -> None:
    got: list[str] = []

    async def deliver(envelope: Envelope) -> None:
        got.append(envelope.subject)

    async with RabbitBus(proxy.in_front_of(rabbitmq_url), name="test", retry=POLICY) as bus:
        binding = Binding(QUEUE, (UserChanged.type,))
        consumption = await bus.consume(binding, deliver)
        broadcast = await bus.consume(Binding("ledger.all", binding.types, broadcast=True), deliver)
        await proxy.refuse()
        async with asyncio.timeout(3 * PUBLISH_SECONDS):
            with pytest.raises((OSError, RuntimeError, TimeoutError, aio_pika.exceptions.AMQPError)):
                await bus.publish(fresh())
        await holds(lambda: not consumption.attached() and not broadcast.attached())
        assert await until(bus.check) == "no session with the broker"
        await proxy.accept()
        await holds(lambda: consumption.attached() and broadcast.attached())

        async def well() -> bool:
            return await bus.check() is None

        await until(well)  # channels come back one by one
        await bus.publish(fresh("user_back"))
        await holds(lambda: got.count("user_back") == 2)
        for running_consumption in (consumption, broadcast):
            await running_consumption.stop()


async def test_closing_a_bus_whose_broker_is_silent_takes_bounded_time(rabbitmq_url: str, proxy: FaultProxy) -> None:
    bus = RabbitBus(proxy.in_front_of(rabbitmq_url), name="test", retry=POLICY)
    await bus.start()
    consumption = await bus.consume(Binding(QUEUE, (UserChanged.type,)), recorderless)
    proxy.stall()
    async with asyncio.timeout(60):
        await consumption.stop()
        await bus.close()
    proxy.flow()


async def recorderless(_: Envelope) -> None:
    """Handles nothing."""


async def delete_queue(url: str, *names: str) -> None:
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        for name in names:
            await channel.queue_delete(name)


async def test_a_queue_deleted_under_its_consumer_is_made_again(database: Database, rabbitmq_url: str) -> None:
    async with RabbitBus(rabbitmq_url, name="test", retry=POLICY) as bus:
        consumption = await recorder().start(bus, database, SCHEMA)
        await delete_queue(rabbitmq_url, QUEUE)
        await holds(lambda: not consumption.attached())
        await holds(consumption.attached)
        await bus.publish(fresh())
        assert await until(lambda: effects(database)) == [("user_1", 1)]
        await consumption.stop()


async def test_a_message_that_cannot_be_set_aside_is_kept_and_its_place_made_again(rabbitmq_url: str) -> None:
    """Somebody deleted the neighbouring queues: a failing message must neither vanish nor hold its place for ever."""
    seen: list[str] = []

    async def deliver(envelope: Envelope) -> None:
        seen.append(envelope.subject)
        if seen.count(envelope.subject) <= 3:
            raise RuntimeError("not yet")

    async with RabbitBus(rabbitmq_url, name="test", retry=POLICY) as bus:
        consumption = await bus.consume(Binding(QUEUE, (UserChanged.type,)), deliver, prefetch=1)
        await delete_queue(rabbitmq_url, f"{QUEUE}.retry", f"{QUEUE}.parked")
        await bus.publish(fresh("user_1"))
        await holds(lambda: seen.count("user_1") == 4)
        await consumption.stop()


async def test_a_handler_outlives_the_session_its_message_came_by(
    rabbitmq_url: str, proxy: FaultProxy, database: Database
) -> None:
    begun, may_end, calls = asyncio.Event(), asyncio.Event(), 0
    handle = recorder().deliver_to(database, SCHEMA)

    async def deliver(envelope: Envelope) -> None:
        nonlocal calls
        calls += 1
        begun.set()
        await may_end.wait()
        await handle(envelope)

    async with RabbitBus(proxy.in_front_of(rabbitmq_url), name="test", retry=POLICY) as bus:
        consumption = await bus.consume(Binding(QUEUE, (UserChanged.type,)), deliver)
        await bus.publish(fresh())
        await begun.wait()
        proxy.cut()
        await holds(lambda: calls == 2)  # delivered again while the first is still at work
        may_end.set()
        await until(lambda: effects(database))
        await consumption.stop()
    assert await effects(database) == [("user_1", 1)]


@pytest.fixture
async def own_postgres(tmp_path: Path) -> AsyncIterator[tuple[PrivatePostgres, Callable[[], Awaitable[None]]]]:
    """A PostgreSQL of this test's own, and what restarts it on the same port and data."""
    server = PrivatePostgres()
    [port] = free_ports(1)
    await server.start(tmp_path, port, durable=False)

    async def restart() -> None:
        await server.stop()
        await server.start(tmp_path, port, durable=False)

    yield server, restart
    await server.stop()


async def test_postgres_restarted_under_its_bus_mid_traffic(
    own_postgres: tuple[PrivatePostgres, Callable[[], Awaitable[None]]],
) -> None:
    server, restart = own_postgres
    async with ledger(server.url()) as database:
        async with PostgresBus(server.url(), retry=POLICY) as bus, traffic(database, bus):
            for part in (1, 2):
                await handled(database, part * ALL // 6)
                await restart()
        await expect_each_effect_once(database)


async def test_a_bus_that_lost_its_session_keeps_what_it_has_in_hand(database: Database) -> None:
    """Its claims name a session that is gone: neither it nor another process may take them while they are worked on."""
    begun, may_end = asyncio.Event(), asyncio.Event()
    calls: list[str] = []

    async def slow(envelope: Envelope) -> None:
        calls.append("slow")
        begun.set()
        await may_end.wait()

    async def other(envelope: Envelope) -> None:
        calls.append(envelope.subject)

    binding = Binding(QUEUE, (UserChanged.type,))
    async with PostgresBus(database.direct_url) as bus, PostgresBus(database.direct_url) as second:
        consumption = await bus.consume(binding, slow)
        await bus.publish(fresh())
        await begun.wait()
        lost = bus.session_id
        await second.pool.fetchval("SELECT pg_terminate_backend($1)", lost)
        await holds(lambda: bus.session_id not in (None, lost))

        async def claimed_anew() -> bool:
            return bool(await bus.pool.fetchval("SELECT claimed_by = $1 FROM bus.message", bus.session_id))

        await until(claimed_anew)
        await second.consume(binding, other)
        await second.publish(fresh("user_2"))
        await holds(lambda: "user_2" in calls or len(calls) > 1)
        may_end.set()
        await consumption.stop()
    assert sorted(calls) in (["slow", "user_2"], ["slow", "slow"])


async def test_a_broadcast_survives_the_loss_of_its_session(database: Database) -> None:
    got: list[str] = []

    async def deliver(envelope: Envelope) -> None:
        got.append(envelope.subject)

    binding = Binding("ledger.all", (UserChanged.type,), broadcast=True)
    async with PostgresBus(database.direct_url) as bus, PostgresBus(database.direct_url) as second:
        await bus.consume(binding, deliver)
        lost = bus.session_id
        await second.pool.fetchval("SELECT pg_terminate_backend($1)", lost)
        await holds(lambda: bus.session_id not in (None, lost))
        await second.consume(binding, recorderless)  # sweeps what belongs to sessions that are gone

        async def rebound() -> bool:
            return bool(await bus.pool.fetchval("SELECT 1 FROM bus.binding WHERE broadcast_pid = $1", bus.session_id))

        await until(rebound)
        await second.publish(fresh())
        await holds(lambda: got == ["user_1"])


async def test_a_permanent_error_is_parked_even_right_after_a_cut(rabbitmq_url: str, proxy: FaultProxy) -> None:
    times = 0

    async def refuse(_: Envelope) -> None:
        nonlocal times
        times += 1
        if times == 1:
            proxy.cut()
        raise PermanentError("no use")

    async with (
        RabbitBus(proxy.in_front_of(rabbitmq_url), name="test", retry=POLICY) as bus,
        RabbitBus(rabbitmq_url, name="other", retry=POLICY) as other,
    ):
        consumption = await bus.consume(Binding(QUEUE, (UserChanged.type,)), refuse)
        await other.publish(fresh())
        await until(lambda: parked_somewhere(rabbitmq_url))
        await consumption.stop()


async def parked_somewhere(url: str) -> int:
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(f"{QUEUE}.parked", passive=True)
        return declared.declaration_result.message_count or 0
