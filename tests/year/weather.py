"""What goes wrong in a simulated year: webhooks lost, doubled and late, an API that fails, a worker that dies."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import unquote

from sqlalchemy.ext.asyncio import AsyncSession

from common.clock import Clock
from common.contracts.event import Event
from common.db.uow import EventSink
from common.web.client import Answer, HttpClient, ServerFailed, Throttled, Unreachable
from embedded.revenuecat import RevenueCatStandIn

LOST, DOUBLED, FAILED = 0.20, 0.10, 0.02
"""Shares of webhooks, and of calls of the API."""
BEHIND = timedelta(minutes=2)
"""How long the API may not know yet what its webhooks tell."""


@dataclass(frozen=True)
class Outage:
    begins: datetime
    ends: datetime

    def covers(self, now: datetime) -> bool:
        return self.begins <= now < self.ends


@dataclass
class Weather:
    """``api`` and ``ours``: outages of the provider's API, and of billing itself. From ``calm_at`` on all is well."""

    seed: int
    clock: Clock
    calm_at: datetime
    api: Sequence[Outage] = ()
    ours: Sequence[Outage] = ()
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._chance = random.Random(f"weather {self.seed}")

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def calm(self) -> bool:
        return self.clock() >= self.calm_at

    def we_are_down(self) -> bool:
        return any(outage.covers(self.clock()) for outage in self.ours)

    def api_is_down(self) -> bool:
        return any(outage.covers(self.clock()) for outage in self.api)

    def delays(self) -> list[timedelta]:
        """After how long each copy of a webhook comes; none for a lost one."""
        self.count("webhooks")
        if self.calm():
            return [timedelta()]
        if self._chance.random() < LOST:
            self.count("webhooks lost")
            return []
        copies = 2 if self._chance.random() < DOUBLED else 1
        if copies == 2:
            self.count("webhooks doubled")
        return [self._delay() for _ in range(copies)]

    def _delay(self) -> timedelta:
        kind = self._chance.random()
        if kind < 0.85:
            return timedelta(seconds=self._chance.randint(0, 60))
        return timedelta(minutes=self._chance.randint(1, 60 if kind < 0.97 else 360))

    def of_call(self, app_user_id: str, number: int) -> str | None:
        """What befalls a call of the API, however calls that are made side by side come in."""
        now = self.clock()
        if self.api_is_down():
            return "down"
        told = hashlib.sha256(f"{self.seed} {app_user_id} {now} {number}".encode()).digest()
        if self.calm() or told[0] >= FAILED * 256:
            return None
        return ("throttled", "error", "cut", "stale")[told[1] % 4]


class WorkerKilled(BaseException):
    """The process is gone: nothing may catch this and go on."""


class Killer:
    """Kills the worker at the ``armed``-th of its dangerous moments: before and after a call, before a commit."""

    def __init__(self) -> None:
        self._left: int | None = None
        self.dead = False

    def arm(self, moments: int) -> None:
        self._left, self.dead = moments, False

    def disarm(self) -> None:
        self._left, self.dead = None, False

    def moment(self) -> None:
        if self._left is not None:
            self._left -= 1
            self.dead = self.dead or self._left < 0
        if self.dead:
            raise WorkerKilled


class FragileSink:
    """The outbox of a process that may be killed with everything written and nothing committed."""

    def __init__(self, outbox: EventSink, killer: Killer) -> None:
        self._outbox, self._killer = outbox, killer

    async def write(self, session: AsyncSession, events: Sequence[Event], at: datetime) -> None:
        await self._outbox.write(session, events, at)
        self._killer.moment()


class NearbyApi(HttpClient):
    """The provider's API without a network: what the stand-in answers, or what the weather makes of it."""

    def __init__(self, store: RevenueCatStandIn, weather: Weather, killer: Killer) -> None:
        super().__init__("revenuecat", retries=0)
        self._store, self._weather, self._killer = store, weather, killer
        self._calls: dict[str, int] = {}

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        repeatable: bool | None = None,
    ) -> Answer:
        """A reading; nobody is deleted in this year."""
        assert method == "GET"
        self._killer.moment()
        app_user_id = unquote(url.rpartition("/")[2])
        self._calls[app_user_id] = self._calls.get(app_user_id, 0) + 1
        self._weather.count("calls of the API")
        befalls = self._weather.of_call(app_user_id, self._calls[app_user_id])
        if befalls:
            self._weather.count(f"calls {befalls}")
        status, document = self._answer(app_user_id, befalls)
        self._killer.moment()
        return Answer("revenuecat", status, {}, document)

    def _answer(self, app_user_id: str, befalls: str | None) -> tuple[int, bytes]:
        failures: dict[str, Callable[[], Exception]] = {
            "down": lambda: Unreachable("revenuecat", "no route"),
            "cut": lambda: Unreachable("revenuecat", "cut off"),
            "error": lambda: ServerFailed("revenuecat", "status 500"),
            "throttled": lambda: Throttled("revenuecat", "asked us to slow down", retry_after=20.0),
        }
        if befalls in failures:
            raise failures[befalls]()
        customer, _ = self._store.ledger.customer(app_user_id)
        fresh = self._weather.clock() - customer.last_seen <= BEHIND
        if befalls == "stale" and fresh and customer.before is not None:
            self._store.stale_reads(1)
        status, document = self._store.answer(app_user_id)
        return status, json.dumps(document).encode()


def spread(chance: random.Random, start: datetime, days: float, hours: Sequence[float]) -> Iterator[Outage]:
    """Outages of so many hours, each somewhere in its own part of the time."""
    part = days / len(hours)
    for number, length in enumerate(hours):
        begins = start + timedelta(days=part * (number + chance.uniform(0.1, 0.6)))
        yield Outage(begins, begins + timedelta(hours=length))
