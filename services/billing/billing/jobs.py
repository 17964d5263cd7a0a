"""What billing's worker does all the time."""

import asyncio

from prometheus_client import Gauge

from billing import queries
from billing.commands import let_time_pass
from billing.entitlement import Rules
from billing.models import REFRESH_CHANNEL
from billing.refreshing import Refresher
from billing.removing import SubscriberRemover
from common.db.batches import until_none_is_left
from common.db.engine import Database
from common.db.wakeup import WakeUp

TICK_SECONDS = 1.0
MEASURE_SECONDS = 10.0
READINGS_DUE = Gauge("billing_readings_due", "Customers waiting to be read at RevenueCat")
READINGS_LATE = Gauge("billing_readings_oldest_seconds", "How long the first of them has been due")
REMOVALS_WAITING = Gauge("billing_removals_waiting", "Deleted users whom RevenueCat still knows")


async def refresh_for_ever(refresher: Refresher, database: Database) -> None:
    """Makes readings as webhooks and plans ask for them."""
    async with WakeUp(database.direct_url, REFRESH_CHANNEL) as wake:
        await refresher.run(wake)


async def remove_for_ever(remover: SubscriberRemover) -> None:
    """Deletes at RevenueCat, within a second when it answers, who was deleted here."""
    while True:
        await remover.work_off()
        await asyncio.sleep(TICK_SECONDS)


async def expire_for_ever(database: Database, rules: Rules) -> None:
    """Announces, within a second, what has ended without anybody saying so."""
    while True:
        await expire_due(database, rules)
        await asyncio.sleep(TICK_SECONDS)


async def expire_due(database: Database, rules: Rules) -> int:
    """Everything time has changed until now; returns how many users it looked at."""
    return await until_none_is_left(database, lambda uow: let_time_pass(uow, rules))


async def measure_for_ever(database: Database) -> None:
    """Keeps the gauges of waiting work true."""
    while True:
        async with database.transaction() as uow:
            due, oldest = await queries.overdue_readings(uow)
            REMOVALS_WAITING.set(await queries.waiting_removals(uow))
        READINGS_DUE.set(due)
        READINGS_LATE.set(oldest)
        await asyncio.sleep(MEASURE_SECONDS)
