"""Sends webhooks as the providers do: signed at each attempt, tried again on a schedule, at least once, in no order.

Time is the caller's: ``deliver_due(now)`` sends what is due and never waits for the next attempt. In the real-time run
``start(background=True)`` calls it whenever something becomes due.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import aiohttp

from common.clock import Clock, wire_time

REVENUECAT_RETRIES = tuple(timedelta(minutes=minutes) for minutes in (5, 10, 20, 40, 80))
SVIX_RETRIES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
HISTORY = 10_000
LONGEST_WAIT_SECONDS = 30.0

Sign = Callable[[str, bytes, int], Mapping[str, str]]
"""(message id, raw body, Unix seconds) → headers."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeliveryRules:
    """``retries``: the wait after each failed attempt; ``accepts``: which statuses count as received."""

    retries: Sequence[timedelta]
    accepts: Callable[[int], bool]
    timeout_seconds: float


REVENUECAT_RULES = DeliveryRules(REVENUECAT_RETRIES, lambda status: status == 200, 60.0)
SVIX_RULES = DeliveryRules(SVIX_RETRIES, lambda status: 200 <= status < 300, 15.0)


@dataclass
class Delivery:
    message_id: str
    kind: str
    body: str
    due_at: datetime
    attempts: int = 0


@dataclass(frozen=True)
class Attempt:
    """One try. ``status`` is None when no answer came (``problem`` says why), ``next_at`` is None after the last."""

    message_id: str
    kind: str
    at: datetime
    status: int | None
    accepted: bool
    problem: str | None = None
    next_at: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.message_id,
            "type": self.kind,
            "status": self.status,
            "accepted": self.accepted,
            "problem": self.problem,
            "nextAttemptAt": wire_time(self.next_at) if self.next_at else None,
        }


class WebhookSender:
    """``url`` None means that no webhook is set up at the provider: messages are then not kept.

    Faults: ``lose(n)`` the next messages, send them ``twice(n)``, ``delay(by, n)``, or hand out the next batch of two
    or more messages in ``reverse`` order. ``fate`` decides about every further message by itself: it returns after how
    long each copy of it is due, nothing for a lost one. ``kept`` is called after every change of what is waiting.
    """

    def __init__(
        self,
        clock: Clock,
        sign: Sign,
        rules: DeliveryRules,
        url: str | None = None,
        kept: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = url
        self.fate: Callable[[str], Sequence[timedelta]] | None = None
        self.history: deque[Attempt] = deque(maxlen=HISTORY)
        self._clock, self._sign, self._rules, self._kept = clock, sign, rules, kept
        self._waiting: list[Delivery] = []
        self._one_at_a_time = asyncio.Lock()
        self._woken = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._lost = self._doubled = self._delayed = 0
        self._delay = timedelta()
        self._reverse = False

    def sign_by(self, sign: Sign) -> None:
        """From now on, as when a secret is replaced in the provider's dashboard."""
        self._sign = sign

    @property
    def waiting(self) -> list[Delivery]:
        return list(self._waiting)

    def lose(self, times: int = 1) -> None:
        self._lost += times

    def twice(self, times: int = 1) -> None:
        self._doubled += times

    def delay(self, by: timedelta, times: int = 1) -> None:
        self._delay, self._delayed = by, self._delayed + times

    def reverse(self) -> None:
        self._reverse = True

    def enqueue(self, message_id: str, kind: str, body: str) -> None:
        """Due now, or later or never when a fault says so."""
        if self.url is None:
            return
        if self._lost > 0:
            self._lost -= 1
            return
        due_at = self._clock()
        if self._delayed > 0:
            self._delayed -= 1
            due_at += self._delay
        copies = 1
        if self._doubled > 0:
            self._doubled -= 1
            copies = 2
        after = [timedelta()] * copies if self.fate is None else self.fate(kind)
        self._waiting += [Delivery(message_id, kind, body, due_at + wait) for wait in after]
        self._kept()
        self._woken.set()

    def next_due(self) -> datetime | None:
        return min((delivery.due_at for delivery in self._waiting), default=None)

    async def deliver_due(self, now: datetime | None = None) -> list[Attempt]:
        """Sends, one after another, everything due at ``now`` (the clock's present when None)."""
        async with self._one_at_a_time:
            moment = now or self._clock()
            batch = sorted((one for one in self._waiting if one.due_at <= moment), key=lambda one: one.due_at)
            if self._reverse and len(batch) > 1:
                batch.reverse()
                self._reverse = False
            return [await self._attempt(delivery, moment) for delivery in batch]

    def retry_now(self) -> int:
        """The dashboard's Retry button: everything that waits is due at once. Returns how many messages that is."""
        moment = self._clock()
        for delivery in self._waiting:
            delivery.due_at = moment
        self._woken.set()
        return len(self._waiting)

    async def send_once(self, message_id: str, kind: str, body: bytes) -> Attempt:
        """One signed attempt with this very body, outside the schedule."""
        status, problem = await self._post(message_id, body, self._clock())
        return self._note(Attempt(message_id, kind, self._clock(), status, self._accepted(status), problem))

    async def start(self, *, background: bool) -> None:
        if background and self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"webhooks to {self.url}")
            self._task.add_done_callback(_report_crash)

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def dump(self) -> list[dict[str, Any]]:
        return [{**asdict(delivery), "due_at": delivery.due_at.isoformat()} for delivery in self._waiting]

    def load(self, dumped: Sequence[Mapping[str, Any]]) -> None:
        self._waiting = [Delivery(**{**saved, "due_at": datetime.fromisoformat(saved["due_at"])}) for saved in dumped]

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            await self.deliver_due()
            due_at = self.next_due()
            seconds = LONGEST_WAIT_SECONDS if due_at is None else (due_at - self._clock()).total_seconds()
            try:
                await asyncio.wait_for(self._woken.wait(), min(max(seconds, 0.0), LONGEST_WAIT_SECONDS))
            except TimeoutError:
                continue

    async def _attempt(self, delivery: Delivery, now: datetime) -> Attempt:
        status, problem = await self._post(delivery.message_id, delivery.body.encode(), now)
        delivery.attempts += 1
        accepted = self._accepted(status)
        next_at = None
        if accepted or delivery.attempts > len(self._rules.retries):
            self._waiting.remove(delivery)
        else:
            next_at = delivery.due_at = now + self._rules.retries[delivery.attempts - 1]
        self._kept()
        return self._note(Attempt(delivery.message_id, delivery.kind, now, status, accepted, problem, next_at))

    async def _post(self, message_id: str, body: bytes, now: datetime) -> tuple[int | None, str | None]:
        if self.url is None:
            return None, "no webhook address is set up"
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._rules.timeout_seconds), cookie_jar=aiohttp.DummyCookieJar()
            )
        headers = {"Content-Type": "application/json", **self._sign(message_id, body, int(now.timestamp()))}
        try:
            async with self._session.post(self.url, data=body, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                return answer.status, None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return None, f"{type(error).__name__}: {error}"

    def _accepted(self, status: int | None) -> bool:
        return status is not None and self._rules.accepts(status)

    def _note(self, attempt: Attempt) -> Attempt:
        self.history.append(attempt)
        return attempt


def _report_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("%s stopped", task.get_name(), exc_info=error)
