"""What billing's worker does all the time."""

import asyncio
from datetime import timedelta

from prometheus_client import Gauge

from billing import queries
from billing.commands import announce_again, let_time_pass
from billing.entitlement import Rules
from billing.models import REFRESH_CHANNEL
from billing.refreshing import Refresher
from billing.removing import SubscriberRemover
from common.db.batches import until_none_is_left
from common.db.engine import Database
from common.db.wakeup import WakeUp

TICK_SECONDS = 1.0
MEASURE_SECONDS = 10.0
RETELL_SECONDS, RETOLD_AT_ONCE = 60.0, 20
TOLD_BY_THEN = timedelta(minutes=5)
"""A change that is younger may still be on its way: told again it could come first, and look like one that was lost."""
READINGS_DUE = Gauge("billing_readings_due", "Customers waiting to be read at RevenueCat")
READINGS_LATE = Gauge("billing_readings_oldest_seconds", "How long the first of them has been due")
REMOVALS_WAITING = Gauge("billing_removals_waiting", "Deleted users whom RevenueCat still knows")
LAST_WEBHOOK = Gauge("billing_webhook_last_received_timestamp_seconds", "When the last webhook came; 0: none is kept")


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


async def retell_for_ever(database: Database) -> None:
    """Tells everybody's subscription again, some a minute: whoever keeps a copy sees whether it is right."""
    last = ""
    while True:
        await asyncio.sleep(RETELL_SECONDS)
        last = await retell(database, last)


async def retell(database: Database, last: str) -> str:
    """Tells those who follow ``last``; the last one told, or "" at the end."""
    async with database.transaction() as uow:
        found = await queries.customers_after(uow, last, RETOLD_AT_ONCE)
        await announce_again(uow, [known for known in found if known.updated_at < uow.now - TOLD_BY_THEN])
    return found[-1].user_id if found else ""


async def measure_for_ever(database: Database) -> None:
    """Keeps the gauges of waiting work true."""
    while True:
        await measure(database)
        await asyncio.sleep(MEASURE_SECONDS)


async def measure(database: Database) -> None:
    async with database.transaction() as uow:
        due, oldest = await queries.overdue_readings(uow)
        REMOVALS_WAITING.set(await queries.waiting_removals(uow))
        LAST_WEBHOOK.set(await queries.last_webhook_at(uow))
    READINGS_DUE.set(due)
    READINGS_LATE.set(oldest)
