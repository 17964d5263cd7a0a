"""What must be true of the stored data at every moment, looked at again and again while the product runs.

Each worker looks for itself: two who look see the same, and nothing is changed by looking.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import Gauge
from sqlalchemy import text

from common.db.engine import Database
from common.db.uow import UnitOfWork
from common.observability import logger

EVERY_SECONDS = 60.0
STATEMENT_SECONDS = 10.0
MOST_FINDINGS = 100
"""One look names no more, so that a large fault costs no more than a small one."""
_BOUNDED = text(
    "SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', :milliseconds, true)"
)
VIOLATIONS = Gauge("invariant_violations", f"Findings of the last look, {MOST_FINDINGS} at most", ["service", "name"])
LAST_RUN = Gauge(
    "invariant_last_run_timestamp_seconds",
    "When it was last looked at to the end; before that, when the process began to look",
    ["service", "name"],
)
log = logger("invariants")


@dataclass(frozen=True, slots=True)
class Invariant:
    """``rule`` says what must be true, ``remedy`` what a person does about a finding; ``find`` returns the findings."""

    name: str
    rule: str
    remedy: str
    find: Callable[[], Awaitable[Sequence[str]]]


@asynccontextmanager
async def looking(database: Database) -> AsyncIterator[UnitOfWork]:
    """A transaction that can change nothing, and whose statements end by themselves."""
    async with database.transaction() as uow:
        await uow.session.execute(_BOUNDED, {"milliseconds": str(int(STATEMENT_SECONDS * 1000))})
        yield uow


def by_query(
    database: Database, query: str, **values: Callable[[UnitOfWork], Any]
) -> Callable[[], Awaitable[Sequence[str]]]:
    """Finds what an SQL query returns, one text a row. ``values`` give its parameters at the time of the look."""
    statement = text(f"{query} LIMIT {MOST_FINDINGS}")

    async def find() -> Sequence[str]:
        async with looking(database) as uow:
            asked = {name: value(uow) for name, value in values.items()}
            return [str(found) for found in await uow.session.scalars(statement, asked)]

    return find


def outbox_published(database: Database, schema: str) -> Invariant:
    """Of every service: what has happened is told."""
    query = f"""
        SELECT 'event ' || id || ', ' || type || ', written at ' || created_at FROM {schema}.outbox
        WHERE published_at IS NULL AND created_at < now() - interval '1 minute' ORDER BY id
    """
    return Invariant(
        "outbox_published",
        "no event waits longer than a minute to be published",
        f"see that a worker of {schema} runs and reaches the broker; it publishes what waits by itself",
        by_query(database, query),
    )


class Invariants:
    """Those of one service. ``run`` is a loop of its worker."""

    def __init__(self, service: str, invariants: Sequence[Invariant]) -> None:
        self._service = service
        self.all = tuple(invariants)

    async def run(self) -> None:
        for invariant in self.all:  # one that can never be looked at shows by its age too
            LAST_RUN.labels(self._service, invariant.name).set(time.time())
        while True:
            for invariant in self.all:
                await self._look_or_report(invariant)
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self, invariant: Invariant) -> Sequence[str]:
        """Looks once and tells the metric; raises whatever keeps it from looking."""
        found = await invariant.find()
        VIOLATIONS.labels(self._service, invariant.name).set(len(found))
        LAST_RUN.labels(self._service, invariant.name).set(time.time())
        if found:
            log.error("invariant_violated", service=self._service, name=invariant.name, count=len(found))
        return found

    async def _look_or_report(self, invariant: Invariant) -> None:
        try:
            await self.look(invariant)
        except Exception as error:  # that nobody looked shows by the time of the last look
            reason = f"{type(error).__name__}: {error}"[:200]
            log.warning("invariant_not_looked_at", service=self._service, name=invariant.name, error=reason)

    async def report(self) -> int:
        """Looks at all once and prints what is found and what to do; 0 when everything holds."""
        well = True
        for invariant in self.all:
            print(f"{invariant.name}: {invariant.rule} ...", end=" ", flush=True)
            try:
                found = await self.look(invariant)
            except Exception as error:  # the others can be looked at all the same
                print(f"could not be looked at: {type(error).__name__}: {error}"[:300])
                print("  What to do: see that the database and the store can be reached from here, then look again")
                well = False
                continue
            print(f"{len(found)} violations" if found else "holds", flush=True)
            if found:
                print(*(f"  {finding}" for finding in found), f"  What to do: {invariant.remedy}", sep="\n")
                well = False
        return 0 if well else 1
