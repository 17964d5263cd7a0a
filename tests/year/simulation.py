"""Plays a year: moves the clock from one thing that happens to the next, and compares at each day's end."""

import heapq
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import structlog

from billing import support
from billing.jobs import expire_due
from billing.pacing import RequestBudget
from billing.refreshing import Refresher
from billing.revenuecat import RevenueCatApi
from billing.settling import RARER
from common.errors import DomainError
from tests.support.billing import NOWHERE, Billing, billing
from tests.support.hand_clock import HandClock
from tests.year.people import Life, Person, Sync, life
from tests.year.truth import Standing, announced, everybody
from tests.year.weather import FragileSink, Killer, NearbyApi, Weather, WorkerKilled, spread

BOUND = timedelta(hours=25)
"""Within this everybody is right again, whatever was lost: a day's sweep, and what its reading may have to wait for.
Who has had nothing for months is read more rarely: see `Year._bound`.
"""
HEARD = timedelta(hours=1)
"""The same, counted from the arrival of a webhook that was not lost."""
POLL = timedelta(minutes=10)
"""The simulated worker looks for work so often, and whenever a webhook comes."""
KILLED = 0.02
TOLD_EVERY = 30
"""Days between two signs of progress."""
QUIET_DAYS = 3
"""So long before the end nothing goes wrong any more, and nobody does anything in the last BOUND."""


class Diverged(AssertionError):
    """Somebody has what they should not, or lacks what they should have, for longer than they may."""


@dataclass
class Report:
    seed: int
    people: int
    days: int
    accounts: int = 0
    compared: int = 0
    within_bound: int = 0
    lagging: int = 0
    divergence: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        what = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
        return f"seed {self.seed}, {self.compared} comparisons, divergence {self.divergence}; {what}"


@dataclass(order=True)
class Turn:
    at: datetime
    number: int
    play: Callable[[], Any] = field(compare=False)


class Year:
    """``people`` of them for ``days``; ``run`` raises Diverged with the seed and the person's history."""

    def __init__(self, world: Billing, seed: int, people: int, days: int, tell: Callable[[str], None]) -> None:
        self.world, self.clock = world, world.clock
        self.chance = random.Random(f"year {seed}")
        self.start, self.end = self.clock(), self.clock() + timedelta(days=days)
        calm = self.end - timedelta(days=QUIET_DAYS)
        api = tuple(spread(self.chance, self.start, days - QUIET_DAYS, (5, 27)))
        ours = tuple(spread(self.chance, self.start, days - QUIET_DAYS - 2, (24,)))
        self.weather = Weather(seed, self.clock, calm, api, ours)
        self.killer = Killer()
        self.report = Report(seed, people, days, counts=self.weather.counts)
        self._tell = tell
        self._turns: list[Turn] = []
        self._number = 0
        self._due_by: dict[str, datetime] = {}
        self._acting: tuple[str, ...] = ()
        self._claims: dict[str, list[str]] = {}
        self._unheard: set[str] = set()
        self._had_access: dict[str, datetime] = {}
        self._work_at = self.start
        self._door = world.store.webhooks.url
        world.store.webhooks.fate = self._fate
        database = world.service.database
        database.outbox = FragileSink(database.outbox, self.killer)
        pace = RequestBudget(1_000_000, monotonic=lambda: self.clock().timestamp(), sleep=_at_once)
        nearby = NearbyApi(world.store, self.weather, self.killer)
        self.refresher = Refresher(database, RevenueCatApi(NOWHERE, "key", nearby, pace), world.rules)

    # --- the shop that people act in

    def now(self) -> datetime:
        return self.clock()

    def act(self, name: str, *arguments: Any, **more: Any) -> None:
        ids = [str(one) for one in arguments[: 2 if name in ("transfer", "log_in") else 1]]
        with self._announcing(*ids):
            getattr(self.world.store, name)(*arguments, **more)
            if name == "log_in":  # of which no webhook tells
                self._expect_of_those_acting(None)

    # --- the run

    async def run(self, person_lives: Callable[[Person], Life] = life) -> Report:
        for number in range(self.report.people):
            name = f"user_{number:03d}"
            person = Person(name, self, random.Random(f"{self.report.seed} {name}"))
            self._at(self.start, self._living(person, person_lives(person)))
        day_end = self.start + timedelta(days=1)
        async with _connected(self.world.database_url) as self.session:
            while day_end <= self.end:
                now = min(day_end, self._work_at, self._next_turn(), self.world.store.webhooks.next_due() or day_end)
                self.clock.now = max(self.clock.now, now)
                while self._turns and self._turns[0].at <= self.clock():
                    if coroutine := heapq.heappop(self._turns).play():
                        await coroutine
                heard = await self._hear()
                if heard or self._work_at <= self.clock() or day_end <= self.clock():
                    self._work_at = await self._work()
                if day_end <= self.clock():
                    await self.world.service.forgetting.once()
                    await self._compare(final=day_end == self.end)
                    if (day_end - self.start).days % TOLD_EVERY == 0:
                        self._tell(f"{day_end:%F}: {self.report}")
                    day_end += timedelta(days=1)
        return self.report

    def _living(self, person: Person, acts: Life) -> Callable[[], Any]:
        def play() -> Any:
            if self.clock() > self.end - BOUND - timedelta(hours=1):
                return None
            act = next(acts)
            if isinstance(act, timedelta):
                self._at(self.clock() + act, play)
                return None
            self._at(self.clock() + timedelta(seconds=1), play)
            return self._sync(act)

        return play

    async def _sync(self, asked: Sync) -> None:
        if self.weather.we_are_down():
            self._at(self.clock() + timedelta(hours=1), lambda: self._sync(asked))
            return
        self.weather.count("syncs")
        self._work_at = min(self._work_at, self.clock() + POLL)  # for what the reading leaves to the worker
        if asked.claims is None:
            await self.refresher.sync(asked.user_id)
            return
        try:
            await self.refresher.claim_anonymous(asked.user_id, asked.claims)
        except DomainError:
            return
        self._claims.setdefault(asked.user_id, []).append(asked.claims)
        self._expect(asked.user_id, self.clock() + BOUND)

    async def _hear(self) -> bool:
        webhooks = self.world.store.webhooks
        webhooks.url = f"{NOWHERE}/" if self.weather.we_are_down() else self._door
        attempts = await webhooks.deliver_due()
        for attempt in attempts:
            if not attempt.accepted:
                self.weather.count("deliveries refused")
        return any(attempt.accepted for attempt in attempts)

    async def _work(self) -> datetime:
        """What a worker does when it looks for work; returns when it looks next."""
        if self.weather.we_are_down():
            return self.clock() + POLL
        if not self.weather.calm() and self.chance.random() < KILLED:
            self.killer.arm(self.chance.randint(0, 12))
        try:
            due, ends = await self._due_and_ending()
            if due <= self.clock():
                await self.refresher.work_off()
            if ends <= self.clock():
                await expire_due(self.world.service.database, self.world.rules)
        except WorkerKilled:
            self.weather.count("workers killed")
        self.killer.disarm()
        return await self._next_work()

    async def _next_work(self) -> datetime:
        now = self.clock()
        wanted = max(min(await self._due_and_ending()), now + timedelta(microseconds=1))
        poll = POLL if not self.weather.api_is_down() else 6 * POLL
        polls = -((self.start - wanted) // poll)
        return min(self.start + polls * poll, now + timedelta(days=1))

    async def _due_and_ending(self) -> tuple[datetime, datetime]:
        """When the next reading is due, and when time changes somebody next."""
        asked = "SELECT (SELECT min(due_at) FROM billing.refresh), (SELECT min(changes_at) FROM billing.customer)"
        due, ends = await self.session.fetchrow(asked)
        return due or self.end, ends or self.end

    # --- what may be expected, and when

    def _fate(self, _: str) -> list[timedelta]:
        delays = self.weather.delays()
        told = {alias for one in self._acting for alias in self.world.store.ledger.customer(one)[0].ids}
        self._unheard = self._unheard - told if delays else self._unheard | told
        self._expect_of_those_acting(min(delays) + HEARD if delays else None)
        return delays

    def _expect_of_those_acting(self, within: timedelta | None) -> None:
        """``within`` None: within the bound."""
        for one in self._acting:
            for alias in self.world.store.ledger.customer(one)[0].ids:
                self._expect(alias, self.clock() + (within or self._bound(alias)))

    def _bound(self, app_user_id: str) -> timedelta:
        without = self.clock() - self._had_access.get(app_user_id, self.clock())
        return max(BOUND, without / RARER + HEARD)

    def _expect(self, app_user_id: str, by: datetime) -> None:
        self._due_by[app_user_id] = max(self._due_by.get(app_user_id, by), by)

    @contextmanager
    def _announcing(self, *ids: str) -> Iterator[None]:
        """What happens within is told by webhooks about these customers; then the store goes on with them."""
        self._acting = ids
        yield
        for one in ids:
            self._let_the_store_go_on(one)

    async def _compare(self, *, final: bool) -> None:
        now = self.clock()
        truth = everybody(self.world.store.ledger, self._claims, now)
        query = "SELECT user_id, announced FROM billing.customer"
        rows = {row["user_id"]: {"announced": json.loads(row["announced"])} for row in await self.session.fetch(query)}
        unsettled = any(
            outage.begins <= now < outage.ends + BOUND for outage in (*self.weather.api, *self.weather.ours)
        )
        for name, expected in truth.items():
            known = announced(rows.get(name))
            owners = (name, *self._claims.get(name, ()))
            if expected.plan == "pro":
                self._had_access.update(dict.fromkeys(owners, now))
            if not final and (unsettled or any(self._due_by.get(one, self.start) > now for one in owners)):
                self.report.within_bound += 1
                self.report.lagging += known != expected
                continue
            self.report.compared += 1
            if known != expected and not self._may_not_know_why(owners, expected, known):
                self.report.divergence += 1
                raise Diverged(await self._history(name, expected, known))
        self.report.accounts = len(truth)
        if final:
            await self._compare_events(rows)

    def _may_not_know_why(self, owners: tuple[str, ...], expected: Standing, known: Standing) -> bool:
        """Who has no purchase any more is not read by the clock: when a webhook about them is lost, whether what they
        had has run out or went to another account stays unknown until something is heard. Access is the same.
        """
        return expected.plan == known.plan == "free" and not self._unheard.isdisjoint(owners)

    async def _compare_events(self, rows: dict[str, Any]) -> None:
        """Everything announced is in the outbox, numbered without a gap, the last event saying what holds now."""
        told: dict[str, list[dict[str, Any]]] = {}
        for row in await self.session.fetch("SELECT subject, body FROM billing.outbox ORDER BY id"):
            told.setdefault(row["subject"], []).append(json.loads(row["body"])["data"])
        for name, events in told.items():
            numbers = [event["sequence"] for event in events]
            if numbers != list(range(1, len(events) + 1)) or announced({"announced": events[-1]}) != announced(
                rows[name]
            ):
                raise Diverged(f"seed {self.report.seed}: the events of {name} are {numbers}, the last {events[-1]}")
        self.weather.counts["changes announced"] = sum(len(events) for events in told.values())

    async def _history(self, name: str, expected: Standing, known: Standing) -> str:
        async with self.world.service.database.transaction() as uow:
            lines = await support.explanation(uow, self.world.rules, name)
        owners = (name, *self._claims.get(name, ()))
        customers = [self.world.store.ledger.customer(one)[0] for one in owners]
        due = max(self._due_by.get(one, self.start) for one in owners)
        return "\n".join(
            [
                f"seed {self.report.seed}, {self.report.people} people, {self.report.days} days: at {self.clock()}",
                f"{name} should have {expected}",
                f"but has {known}, which should have been right by {due}; customers {owners}",
                *lines,
                "by the store's books:",
                *(str(paid) for customer in customers for paid in customer.purchases),
            ]
        )

    # --- turns

    def _at(self, moment: datetime, play: Callable[[], Any]) -> None:
        self._number += 1
        heapq.heappush(self._turns, Turn(moment, self._number, play))

    def _next_turn(self) -> datetime:
        return self._turns[0].at if self._turns else self.end

    def _let_the_store_go_on(self, app_user_id: str) -> None:
        """The store acts by itself at its next moment, if that is still the next one then."""
        at = self.world.store.ledger.next_change_at(app_user_id)
        if at is not None:
            self._at(max(at, self.clock()), lambda: self._store_acts(app_user_id, at))

    def _store_acts(self, app_user_id: str, at: datetime) -> None:
        if self.world.store.ledger.next_change_at(app_user_id) == at:
            with self._announcing(app_user_id):
                self.world.store.pass_time(app_user_id)


async def _at_once(_: float) -> None:
    """The pace's waiting, which virtual time does not need."""


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    session = await asyncpg.connect(url)
    try:
        yield session
    finally:
        await session.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Logs of a year would outweigh everything else."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.configure(**before)


async def simulate(
    database_url: str, seed: int, people: int, days: int, tell: Callable[[str], None] = lambda _: None
) -> Report:
    """One year on an empty database; ``tell`` hears how far it is. Raises Diverged."""
    clock = HandClock(datetime(2027, 1, 1, tzinfo=UTC))
    with _quiet():
        async with billing(database_url, clock) as world:
            return await Year(world, seed, people, days, tell).run()
