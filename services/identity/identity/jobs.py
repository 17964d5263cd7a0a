"""What identity's worker does all the time."""

import asyncio

from prometheus_client import Counter, Gauge

from common.db.engine import Database
from common.db.wakeup import WakeUp
from common.observability import logger
from common.tracing import job
from identity import commands, queries
from identity.clerk import HoldOff, IdentityProvider, ProviderFailed
from identity.deletions import (
    PROVIDER_CHANNEL,
    ProviderDeletion,
    claim_provider_deletion,
    complete_receipt,
    postpone_provider_deletion,
)
from identity.lookups import Lookup, claim_lookup, give_up_lookup, postpone_lookup

BETWEEN_CALLS = 0.2
"""Seconds: half of what the provider allows its smallest instances, so that two workers fit."""
LONGEST_PAUSE = 300.0
POLL_SECONDS = 5.0
MEASURE_SECONDS = 10.0
OPEN_DELETIONS = Gauge("identity_deletions_open", "Deletions of accounts that are not complete")
OLDEST_DELETION = Gauge("identity_deletions_oldest_seconds", "How long the oldest of them has been going on")
LAST_WEBHOOK = Gauge("identity_webhook_last_received_timestamp_seconds", "When the last webhook came; 0: none is kept")
LOOKUPS_GIVEN_UP = Counter("identity_lookups_given_up_total", "Users the provider was asked about in vain", ["reason"])
log = logger("jobs")


class ProviderWork:
    """What is to be done at the identity provider, one call at a time: deletions first, then questions about users.

    Claim in one transaction, call in none, settle in another. A process that dies holds only a lease.
    """

    def __init__(self, database: Database, provider: IdentityProvider) -> None:
        self._database = database
        self._provider = provider

    async def run(self) -> None:
        """Looks users up at Clerk and deletes them there, when woken and every POLL_SECONDS."""
        async with WakeUp(self._database.direct_url, PROVIDER_CHANNEL) as wake:
            while True:
                pause = await self.step()
                await (wake.wait(POLL_SECONDS) if pause is None else asyncio.sleep(pause))

    async def step(self) -> float | None:
        """Makes one call; for how many seconds none may follow, or None when nothing was due."""
        async with self._database.transaction() as uow:
            work: ProviderDeletion | Lookup | None = await claim_provider_deletion(uow) or await claim_lookup(uow)
        if work is None:
            return None
        name = "delete user" if isinstance(work, ProviderDeletion) else "look up user"
        with job(name, None, None, user_id=work.user_id):
            return await self._carry_out(work)

    async def _carry_out(self, work: ProviderDeletion | Lookup) -> float:
        try:
            await (self._delete(work) if isinstance(work, ProviderDeletion) else self._look_up(work))
        except ProviderFailed as error:
            await self._postpone(work, error)
            return min(error.pause, LONGEST_PAUSE) if isinstance(error, HoldOff) else BETWEEN_CALLS
        return BETWEEN_CALLS

    async def _delete(self, work: ProviderDeletion) -> None:
        was_there = await self._provider.delete(work.user_id)
        async with self._database.transaction() as uow:
            await complete_receipt(uow, work.deletion_id, work.user_id, "clerk", {"users": int(was_there)})

    async def _look_up(self, work: Lookup) -> None:
        profile = await self._provider.profile(work.user_id)
        async with self._database.transaction() as uow:
            if profile is not None:
                await commands.take_profile(uow, profile)
                return
            # no reason to delete anybody: with the key of another instance everybody would be absent
            await give_up_lookup(uow, work.user_id)
        LOOKUPS_GIVEN_UP.labels("absent").inc()
        log.warning("user_unknown_to_provider")

    async def _postpone(self, work: ProviderDeletion | Lookup, error: ProviderFailed) -> None:
        async with self._database.transaction() as uow:
            if isinstance(work, ProviderDeletion):
                await postpone_provider_deletion(uow, work, error.problem, error.retry_after)
            elif not await postpone_lookup(uow, work, error.retry_after):
                LOOKUPS_GIVEN_UP.labels("failed").inc()
        log.warning("provider_failed", problem=error.problem, attempts=work.attempts)


async def measure_for_ever(database: Database) -> None:
    """Keeps the gauges of open deletions true."""
    while True:
        await measure(database)
        await asyncio.sleep(MEASURE_SECONDS)


async def measure(database: Database) -> None:
    async with database.transaction() as uow:
        count, oldest = await queries.open_deletions(uow)
        LAST_WEBHOOK.set(await queries.last_webhook_at(uow))
    OPEN_DELETIONS.set(count)
    OLDEST_DELETION.set(oldest)
