"""A message takes effect once per consumer, however often and however simultaneously it arrives."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from common.clock import utc_now
from common.contracts.identity import UserChanged
from common.db.engine import Database
from common.db.uow import UnitOfWork
from common.messaging.consumers import Subscription
from common.messaging.envelope import Envelope
from common.tracing import current_trace
from tests.support.event_ledger import QUEUE, SCHEMA, change, count, effects, ledger, record, recorder
from tests.support.servers import both_ways

pytestmark = both_ways


@pytest.fixture
async def database(database_url: str, way: dict[str, Any]) -> AsyncIterator[Database]:
    async with ledger(database_url, way=way) as opened:
        yield opened


def message(sequence: int = 1) -> Envelope:
    return Envelope.of(change("user_1", sequence), at=utc_now(), trace=current_trace())


async def test_a_message_delivered_again_changes_nothing(database: Database) -> None:
    deliver = recorder().deliver_to(database, SCHEMA)
    sent = message()
    await deliver(sent)
    await deliver(sent)
    await deliver(message(sequence=2))
    assert await effects(database) == [("user_1", 1), ("user_1", 2)]


async def test_a_message_delivered_many_times_at_once_takes_effect_once(database: Database) -> None:
    deliver = recorder().deliver_to(database, SCHEMA)
    sent = message()
    await asyncio.gather(*(deliver(sent) for _ in range(8)))
    assert await effects(database) == [("user_1", 1)]


async def test_each_consumer_has_its_own_memory(database: Database) -> None:
    sent = message()
    for queue in ("ledger.users", "ledger.other"):
        await recorder(queue).deliver_to(database, SCHEMA)(sent)
    assert await effects(database) == [("user_1", 1), ("user_1", 1)]
    assert await count(database, "inbox") == 2


async def test_a_second_delivery_waits_for_the_first_and_takes_over_when_that_fails(database: Database) -> None:
    """Two processes hold the same message; the first fails after the second has begun."""
    subscription = Subscription(QUEUE)
    first_holds, first_may_fail, calls = asyncio.Event(), asyncio.Event(), 0

    @subscription.on(UserChanged)
    async def fail_first(uow: UnitOfWork, event: UserChanged) -> None:
        nonlocal calls
        calls += 1
        await record(uow, event)
        if calls == 1:
            first_holds.set()
            await first_may_fail.wait()
            raise RuntimeError("the first fails late")

    deliver = subscription.deliver_to(database, SCHEMA)
    sent = message()
    first = asyncio.ensure_future(deliver(sent))
    await first_holds.wait()
    second = asyncio.ensure_future(deliver(sent))
    first_may_fail.set()
    with pytest.raises(RuntimeError, match="fails late"):
        await first
    await second
    assert calls == 2
    assert await effects(database) == [("user_1", 1)]


async def test_a_handler_that_fails_midway_leaves_no_trace(database: Database) -> None:
    subscription = Subscription(QUEUE)
    broken = True

    @subscription.on(UserChanged)
    async def record_and_fail(uow: UnitOfWork, event: UserChanged) -> None:
        await record(uow, event)
        uow.emit(change("user_2", 1))
        await uow.flush()
        if broken:
            raise RuntimeError("midway")

    deliver = subscription.deliver_to(database, SCHEMA)
    sent = message()
    with pytest.raises(RuntimeError, match="midway"):
        await deliver(sent)
    assert [await count(database, table) for table in ("effect", "inbox", "outbox")] == [0, 0, 0]
    broken = False
    await deliver(sent)
    assert [await count(database, table) for table in ("effect", "inbox", "outbox")] == [1, 1, 1]


async def test_what_a_consumer_emits_commits_with_its_inbox_row_and_names_its_cause(database: Database) -> None:
    subscription = Subscription(QUEUE)

    @subscription.on(UserChanged)
    async def answer(uow: UnitOfWork, event: UserChanged) -> None:
        uow.emit(change("user_2", event.sequence + 1))

    sent = message()
    deliver = subscription.deliver_to(database, SCHEMA)
    await deliver(sent)
    await deliver(sent)
    async with database.engine.connect() as session:
        [body] = (await session.execute(text(f"SELECT body FROM {SCHEMA}.outbox"))).scalars()
    emitted = json.loads(body)
    assert emitted["causationid"] == sent.id
    assert emitted["correlationid"] == sent.correlationid
    assert emitted["traceparent"].split("-")[1] == sent.traceparent.split("-")[1]
    assert emitted["id"] != sent.id
