"""An event is published if and only if its transaction committed, in order per subject, by one relay at a time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from common.contracts.identity import UserChanged
from common.db.engine import Database
from common.messaging.bus import Binding
from common.messaging.envelope import MAXIMUM_BYTES, Envelope
from common.messaging.postgres import PostgresBus
from tests.support.event_ledger import (
    QUEUE,
    WatchedBus,
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
from tests.support.servers import both_ways

pytestmark = both_ways
_END_LEADER = """
    SELECT bool_and(pg_terminate_backend(pid, 10000)) FROM pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""True once the sessions are gone, null where there are none."""


@pytest.fixture
async def database(database_url: str, way: dict[str, Any]) -> AsyncIterator[Database]:
    async with ledger(database_url, way=way) as opened:
        yield opened


async def all_marked(database: Database) -> bool:
    return await count(database, "outbox WHERE published_at IS NULL") == 0


async def end_session_of_leader(database: Database) -> None:
    """As soon as one leads: the lock tells, while a relay that has just lost its session may not know it yet."""
    session = await asyncpg.connect(database.direct_url)

    async def ended() -> bool:
        return bool(await session.fetchval(_END_LEADER))

    await until(ended)
    await session.close()


class Undone(Exception):
    """Ends a transaction of a test."""


async def emit_and_fail(database: Database, event: UserChanged) -> None:
    async with database.transaction() as uow:
        uow.emit(event)
        await uow.flush()
        raise Undone


async def test_a_committed_event_is_published_and_a_rolled_back_one_never(database: Database) -> None:
    bus = WatchedBus()
    async with running(relay_of(database, bus)):
        with pytest.raises(Undone):
            await emit_and_fail(database, change("user_undone", 1))
        await emit(database, change("user_done", 1))
        await bus.took(1)
        await until(lambda: all_marked(database))
    assert bus.order() == {"user_done": [1]}


async def test_an_event_carries_the_state_and_its_place_in_the_chain(database: Database) -> None:
    bus = WatchedBus()
    await emit(database, change("user_1", 7))
    async with running(relay_of(database, bus)):
        await bus.took(1)
    [envelope] = bus.published
    assert (envelope.type, envelope.subject, envelope.sequence) == (UserChanged.type, "user_1", 7)
    assert envelope.source == "/identity"
    assert envelope.data["userId"] == "user_1"


async def test_idle_relays_publish_at_once_by_notification(database: Database) -> None:
    """The poll is out of reach here, so only the notification can wake the relay."""
    bus = WatchedBus()
    relay = relay_of(database, bus, poll_seconds=3600)

    async def leads() -> bool:
        return relay.leading

    async with running(relay):
        await until(leads)
        await emit(database, change("user_1", 1))
        await bus.took(1)
        await emit(database, change("user_1", 2))
        await bus.took(2)


async def test_order_per_subject_survives_failures_that_touch_only_their_own_subject(database: Database) -> None:
    bus = WatchedBus()
    bus.failing = {"user_3", "user_7"}
    users, changes = [f"user_{number}" for number in range(20)], range(1, 16)
    for sequence in changes:
        await emit(database, *(change(user, sequence) for user in users))
    healthy = [user for user in users if user not in bus.failing]
    async with running(relay_of(database, bus, window=32)):
        await bus.took(len(healthy) * len(changes))
        assert bus.order() == {user: list(changes) for user in healthy}
        assert bus.failures > 0
        bus.failing = set()
        await bus.took(len(users) * len(changes))
        await until(lambda: all_marked(database))
    assert bus.order() == {user: list(changes) for user in users}


async def test_a_failure_midway_holds_what_follows_it_back(database: Database) -> None:
    class FailsOnce(WatchedBus):
        async def publish(self, envelope: Envelope) -> None:
            self.refuses_all = envelope.sequence == 2 and self.failures == 0
            await super().publish(envelope)

    bus = FailsOnce()
    await emit(database, *(change("user_1", sequence) for sequence in range(1, 6)))
    async with running(relay_of(database, bus)):
        await bus.took(5)
    assert bus.failures == 1
    assert bus.order() == {"user_1": [1, 2, 3, 4, 5]}


async def test_a_broker_that_refuses_everything_loses_and_reorders_nothing(database: Database) -> None:
    bus = WatchedBus()
    bus.refuses_all = True
    for sequence in range(1, 6):
        await emit(database, *(change(f"user_{number}", sequence) for number in range(10)))

    async def refused_for_a_while() -> bool:
        return bus.failures >= 30

    async with running(relay_of(database, bus, window=8)):
        await until(refused_for_a_while)
        assert bus.published == []
        bus.refuses_all = False
        await bus.took(50)
        await until(lambda: all_marked(database))
    assert bus.order() == {f"user_{number}": [1, 2, 3, 4, 5] for number in range(10)}


async def test_subjects_go_out_side_by_side_within_the_window(database: Database) -> None:
    bus = WatchedBus()
    bus.open.clear()
    await emit(database, *(change(f"user_{number % 40}", 1 + number // 40) for number in range(80)))

    async def full() -> bool:
        return len(bus.in_flight) == 24

    async with running(relay_of(database, bus, window=24)):
        await until(full)
        bus.open.set()
        await bus.took(80)
    assert bus.most_in_flight == 24
    assert bus.order() == {f"user_{number}": [1, 2] for number in range(40)}


async def test_rows_committed_out_of_id_order_are_all_published(database: Database) -> None:
    bus = WatchedBus()
    async with running(relay_of(database, bus)):
        async with database.transaction() as early:
            early.emit(change("user_early", 1))
            await early.flush()  # has its id, is not visible yet
            await emit(database, change("user_late", 1))
            await bus.took(1)
            assert bus.order() == {"user_late": [1]}
        await bus.took(2)
    assert bus.order() == {"user_late": [1], "user_early": [1]}


async def test_one_relay_leads_and_another_takes_over_when_it_ends(database: Database) -> None:
    first_bus, second_bus = WatchedBus(), WatchedBus()
    first, second = relay_of(database, first_bus), relay_of(database, second_bus)

    async def first_leads() -> bool:
        return first.leading

    async with running(first) as [task]:
        await until(first_leads)
        async with running(second):
            await emit(database, *(change("user_1", sequence) for sequence in range(1, 51)))
            await first_bus.took(50)
            await until(lambda: all_marked(database))
            assert (second.leading, second_bus.published) == (False, [])
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await emit(database, change("user_1", 51))
            await second_bus.took(1)
            assert second.leading
    assert second_bus.order() == {"user_1": [51]}


async def test_a_leader_that_loses_its_session_stops_leading_and_the_work_goes_on(database: Database) -> None:
    first_bus, second_bus = WatchedBus(), WatchedBus()
    relays = [relay_of(database, first_bus), relay_of(database, second_bus)]
    users, changes = [f"user_{number}" for number in range(10)], range(1, 41)

    async with running(*relays):
        for sequence in changes:
            await emit(database, *(change(user, sequence) for user in users))
            if sequence % 10 == 0:
                await end_session_of_leader(database)
        await until(lambda: all_marked(database))
    first_times = list(dict.fromkeys((e.subject, e.sequence) for e in first_bus.published + second_bus.published))
    assert sorted(first_times) == sorted((user, sequence) for user in users for sequence in changes)
    for bus in (first_bus, second_bus):  # each alone may repeat after a loss, and never skips ahead of itself
        for sequences in bus.order().values():
            assert list(dict.fromkeys(sequences)) == sorted(set(sequences))


async def test_what_was_published_and_not_marked_goes_out_again_and_takes_effect_once(database: Database) -> None:
    async with PostgresBus(database.direct_url) as bus:
        deliveries: list[str] = []
        handle = recorder().deliver_to(database, "ledger")

        async def deliver(envelope: Envelope) -> None:
            await handle(envelope)
            deliveries.append(envelope.id)

        class StopsAfterPublishing(WatchedBus):
            async def publish(self, envelope: Envelope) -> None:
                await bus.publish(envelope)
                self.published.append(envelope)
                await asyncio.Event().wait()

        async def twice() -> bool:
            return len(deliveries) == 2

        await bus.consume(Binding(QUEUE, (UserChanged.type,)), deliver)
        crashing = StopsAfterPublishing()
        async with running(relay_of(database, crashing)):
            await emit(database, change("user_1", 1))
            await crashing.took(1)
        assert not await all_marked(database)
        async with running(relay_of(database, bus)):
            await until(lambda: all_marked(database))
            await until(twice)
    assert len(set(deliveries)) == 1
    assert await effects(database) == [("user_1", 1)]


async def test_an_event_too_large_to_be_read_again_undoes_its_transaction(database: Database) -> None:
    huge = UserChanged(user_id="user_1", issuer="x" * MAXIMUM_BYTES)
    with pytest.raises(ValueError, match="over"):
        await emit(database, huge)
    assert await count(database, "outbox") == 0
