"""What waits for a person is a number that operators can be woken by."""

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from common.contracts.identity import UserChanged
from common.messaging.bus import Binding
from common.messaging.postgres import PostgresBus
from common.observability import CONSUMER_ATTACHED, MESSAGES_PARKED
from common.service import Worker
from tests.support.event_ledger import QUEUE, ledger, until
from tests.support.small_service import LedgerSettings, build
from tests.support.ways import way_to


async def test_a_worker_shows_how_many_messages_are_parked(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for gauge in (CONSUMER_ATTACHED, MESSAGES_PARKED):
        gauge.clear()  # an earlier test's figures are those of the whole process
    service = build(LedgerSettings(**way_to(database_url)))

    async def shown() -> bool:
        attached = REGISTRY.get_sample_value("consumer_attached", {"queue": QUEUE})
        return attached == 1 and REGISTRY.get_sample_value("messages_parked", {"queue": QUEUE}) == 2

    async with ledger(database_url), PostgresBus(database_url) as bus:
        await bus.declare(Binding(QUEUE, (UserChanged.type,)))
        parked = "INSERT INTO bus.message (queue, body, parked) VALUES ($1, '{}', true)"
        await bus.pool.executemany(parked, [(QUEUE,), (QUEUE,)])
        async with service.opened(), Worker(service, bus):
            await until(shown)
