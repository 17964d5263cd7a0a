"""From an emitted event to a handler's row over a real bus, and what happens to messages nobody can handle."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import aio_pika
import pytest

from common.clock import utc_now
from common.contracts.billing import SubscriptionChanged
from common.contracts.identity import UserChanged, UserDeleted
from common.db.engine import Database
from common.messaging.bus import Binding, ParkedMessage, ParkedMessages, RetryPolicy
from common.messaging.envelope import Envelope
from common.messaging.outbox import Outbox
from common.messaging.postgres import PostgresBus, PostgresParked
from common.messaging.rabbit import RabbitBus
from common.messaging.replay import RabbitParked
from common.tracing import current_trace
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

POLICY = RetryPolicy(attempts=3, delay=0.1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with ledger(database_url) as opened:
        yield opened


class Transport:
    """A started bus, a way to put raw bytes into a queue of its, and the messages it parked."""

    def __init__(self, name: str, url: str) -> None:
        self.bus: Any = (
            RabbitBus(url, name="test", retry=POLICY) if name == "rabbitmq" else PostgresBus(url, retry=POLICY)
        )
        self._url = url

    async def inject(self, body: bytes) -> None:
        if isinstance(self.bus, PostgresBus):
            await self.bus.pool.execute("INSERT INTO bus.message (queue, body) VALUES ($1, $2)", QUEUE, body.decode())
            return
        connection = await aio_pika.connect(self._url)
        async with connection:
            channel = await connection.channel()
            await channel.default_exchange.publish(aio_pika.Message(body), QUEUE)

    async def parked(self) -> list[ParkedMessage]:
        found: ParkedMessages
        if isinstance(self.bus, PostgresBus):
            found = PostgresParked(self.bus)
        else:
            found = RabbitParked(self.bus, self._url, [QUEUE])
        return list(await found.list(QUEUE))


@pytest.fixture(params=["rabbitmq", "postgres"])
def address(request: pytest.FixtureRequest) -> tuple[str, str]:
    fixture = "rabbitmq_url" if request.param == "rabbitmq" else "database_url"
    return request.param, request.getfixturevalue(fixture)


@pytest.fixture
async def transport(address: tuple[str, str], database: Database) -> AsyncIterator[Transport]:
    made = Transport(*address)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(made.bus)
        yield made


def document(**changes: Any) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(
        Envelope.of(change("user_1", 1), at=utc_now(), trace=current_trace()).to_json()
    )
    return envelope | changes


async def test_every_emitted_event_reaches_the_handler_once(database: Database, transport: Transport) -> None:
    users, changes = [f"user_{number}" for number in range(15)], list(range(1, 11))
    consumption = await recorder().start(transport.bus, database, SCHEMA)

    async def complete() -> bool:
        return await count(database, "effect") >= len(users) * len(changes)

    async with running(relay_of(database, transport.bus)):
        for sequence in changes:
            await emit(database, *(change(user, sequence) for user in users))
        await until(complete)
    await consumption.stop()
    got = by_subject(await effects(database))
    assert {user: sorted(sequences) for user, sequences in got.items()} == dict.fromkeys(users, changes)


async def test_one_message_at_a_time_keeps_a_subjects_order(database: Database, transport: Transport) -> None:
    consumption = await recorder().start(transport.bus, database, SCHEMA, prefetch=1)

    async def complete() -> bool:
        return await count(database, "effect") >= 60

    async with running(relay_of(database, transport.bus)):
        for sequence in range(1, 21):
            await emit(database, *(change(user, sequence) for user in ("user_1", "user_2", "user_3")))
        await until(complete)
    await consumption.stop()
    got = by_subject(await effects(database))
    assert got == {user: list(range(1, 21)) for user in ("user_1", "user_2", "user_3")}


@pytest.mark.parametrize(
    "body, reason",
    [
        (document(type=SubscriptionChanged.type), "UnknownType: no handler of ledger.users takes"),
        (document(type="identity.user_changed.v2"), "UnknownType"),
        (document(data={"issuer": "https://secret.example"}), "not a valid identity.user_changed.v1"),
        (document(data={"userId": "u", "issuer": ["https://secret.example"]}), "not a valid identity.user_changed.v1"),
        (document(id="not-a-uuid"), "unreadable body"),
    ],
)
async def test_what_no_handler_can_take_is_parked_at_once_with_the_reason(
    database: Database, transport: Transport, body: dict[str, Any], reason: str
) -> None:
    consumption = await recorder().start(transport.bus, database, SCHEMA)
    await transport.inject(json.dumps(body).encode())
    [parked] = await until(transport.parked)
    await consumption.stop()
    assert reason in parked.reason
    assert "secret.example" not in parked.reason
    assert parked.attempts == 1
    assert await count(database, "inbox") == 0


async def test_fields_of_a_newer_publisher_are_ignored(database: Database, transport: Transport) -> None:
    consumption = await recorder().start(transport.bus, database, SCHEMA)
    newer = document(
        id=str(uuid4()), newattribute="x", data={"userId": "user_1", "issuer": "i", "nickname": "n", "sequence": 4}
    )
    await transport.inject(json.dumps(newer).encode())
    assert await until(lambda: effects(database)) == [("user_1", 4)]
    await consumption.stop()


async def test_an_outage_of_the_consumers_database_uses_up_no_attempts(
    database: Database, transport: Transport
) -> None:
    [port] = free_ports(1)
    unreachable = Database(f"postgresql://nobody:nothing@127.0.0.1:{port}/none", outbox=Outbox(SCHEMA))
    down, up = (recorder().deliver_to(place, SCHEMA) for place in (unreachable, database))
    tried = 0

    async def deliver(envelope: Envelope) -> None:
        nonlocal tried
        tried += 1
        await (down if tried <= 2 * POLICY.attempts else up)(envelope)

    consumption = await transport.bus.consume(Binding(QUEUE, (UserChanged.type,)), deliver)
    await transport.inject(json.dumps(document()).encode())
    assert await until(lambda: effects(database)) == [("user_1", 1)]
    assert await transport.parked() == []
    await consumption.stop()
    await unreachable.close()


async def test_a_subscription_binds_exactly_the_types_it_handles(database: Database, transport: Transport) -> None:
    subscription = recorder()
    assert subscription.binding == Binding(QUEUE, (UserChanged.type,))
    consumption = await subscription.start(transport.bus, database, SCHEMA)
    deleted = UserDeleted(user_id="user_1", issuer="i", sequence=2)
    await transport.bus.publish(Envelope.of(deleted, at=utc_now(), trace=current_trace()))
    await transport.bus.publish(Envelope.of(change("user_1", 1), at=utc_now(), trace=current_trace()))
    assert await until(lambda: effects(database)) == [("user_1", 1)]
    await consumption.stop()
    assert await transport.parked() == []
