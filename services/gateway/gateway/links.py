"""The users behind a second issuer's subjects, as identity's links have it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Counter

from common.errors import Unavailable
from common.observability import logger
from common.web.client import CallFailed
from gateway.directory import Directory

FRESH_SECONDS = 60.0
ASK_AGAIN_SECONDS = 5.0
"""How long a link that could not be looked up again is taken as it was."""
KEPT_SECONDS = 24 * 3600.0
"""How long a link is believed that could not be looked up again at all."""
_CAPACITY = 10_000

LINK_LOOKUPS = Counter("user_link_lookups_total", "Users of a second issuer, looked up by outcome", ["outcome"])

log = logger("links")


@dataclass(slots=True)
class _Link:
    user_id: str
    confirmed_at: float
    fresh_until: float


class LinkedUsers:
    """The links of one issuer. Bounded; least recently used go first. ``monotonic`` returns seconds."""

    def __init__(
        self,
        issuer: str,
        directory: Directory,
        *,
        capacity: int = _CAPACITY,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._directory = directory
        self._capacity = capacity
        self._monotonic = monotonic
        self._links: OrderedDict[str, _Link] = OrderedDict()
        self._flights: dict[str, asyncio.Task[None]] = {}

    async def user_of(self, subject: str) -> str:
        """The user's id. While identity is away it is the last one known; Unavailable when none ever was."""
        link = self._links.get(subject)
        if link is None or self._monotonic() >= link.fresh_until:
            await self._look_up_once(subject)
            link = self._links.get(subject)
        if link is None or self._monotonic() >= link.confirmed_at + KEPT_SECONDS:
            raise Unavailable("Your account cannot be found at the moment; try again shortly.")
        self._links.move_to_end(subject)
        return link.user_id

    async def _look_up_once(self, subject: str) -> None:
        """However many ask for one subject at a time, identity is asked once."""
        flight = self._flights.get(subject)
        if flight is None:
            flight = self._flights[subject] = asyncio.create_task(self._look_up(subject))
            flight.add_done_callback(lambda _: self._flights.pop(subject))
        await asyncio.shield(flight)

    async def _look_up(self, subject: str) -> None:
        try:
            user_id = await self._directory.user_of(self._issuer, subject)
        except CallFailed as error:
            LINK_LOOKUPS.labels("failed").inc()
            log.warning("link_not_looked_up", issuer=self._issuer, error=str(error)[:200])
            if link := self._links.get(subject):
                link.fresh_until = self._monotonic() + ASK_AGAIN_SECONDS
            return
        LINK_LOOKUPS.labels("found").inc()
        now = self._monotonic()
        self._links[subject] = _Link(user_id, now, now + FRESH_SECONDS)
        if len(self._links) > self._capacity:
            self._links.popitem(last=False)
