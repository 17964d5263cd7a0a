"""Faults a stand-in plays on request: what a provider's HTTP does on a bad day."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = Callable[[], web.StreamResponse]

KINDS = frozenset({"unavailable", "error", "rate_limited", "slow", "html", "empty", "redirect", "cut"})
SLOWEST_SECONDS = 120.0


@dataclass
class Fault:
    """``kind`` for the next ``left`` requests whose path contains ``where``; ``left`` below zero: until cleared."""

    kind: str
    left: int
    where: str
    status: int
    retry_after: int
    seconds: float
    location: str


class FaultList:
    """Faults waiting to happen, first come first played, and a count of the requests seen by path.

    Kinds: ``unavailable`` (503), ``error`` (``status``, 500), ``rate_limited`` (429, ``Retry-After: retry_after``),
    ``slow`` (held for ``seconds`` or until ``release()``, then answered normally), ``html`` (200, a page), ``empty``
    (200 without a body), ``redirect`` (302 to ``location``), ``cut`` (the socket is closed without an answer), and
    whatever ``special`` adds.
    """

    def __init__(self, special: Mapping[str, Answer] | None = None) -> None:
        self.calls: Counter[str] = Counter()
        self._special = dict(special or {})
        self._waiting: list[Fault] = []
        self._released = asyncio.Event()

    def fail_next(
        self,
        kind: str,
        times: int = 1,
        *,
        where: str = "",
        status: int = 500,
        retry_after: int = 2,
        seconds: float = SLOWEST_SECONDS,
        location: str = "/",
    ) -> None:
        """Plays ``kind`` for the next ``times`` requests whose path contains ``where``. ValueError if unknown."""
        known = KINDS | self._special.keys()
        if kind not in known:
            raise ValueError(f"no fault called {kind!r}: choose one of {', '.join(sorted(known))}")
        if times == 0:
            raise ValueError("a fault that happens no times is none")
        self._released.clear()
        self._waiting.append(Fault(kind, times, where, status, retry_after, seconds, location))

    def clear(self) -> None:
        """Back to good health; requests that are being held go on."""
        self._waiting.clear()
        self.release()

    def release(self) -> None:
        """Lets the requests held by ``slow`` go on."""
        self._released.set()

    @property
    def waiting(self) -> list[Fault]:
        return list(self._waiting)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.calls[request.path] += 1
        fault = self._take(request.path)
        if fault is None:
            return await handler(request)
        if fault.kind == "slow":
            await self._hold(fault.seconds)
            return await handler(request)
        if fault.kind == "cut" and request.transport is not None:
            request.transport.close()
        return self._answer(fault)

    def _take(self, path: str) -> Fault | None:
        for fault in self._waiting:
            if fault.where in path:
                fault.left -= 1
                if fault.left == 0:
                    self._waiting.remove(fault)
                return fault
        return None

    async def _hold(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._released.wait(), min(seconds, SLOWEST_SECONDS))
        except TimeoutError:
            return

    def _answer(self, fault: Fault) -> web.StreamResponse:
        if fault.kind in self._special:
            return self._special[fault.kind]()
        page = "<!doctype html><title>Bad gateway</title><h1>Something went wrong</h1>"
        plain: dict[str, dict[str, Any]] = {
            "unavailable": {"status": 503, "text": "upstream unavailable"},
            "error": {"status": fault.status, "text": "internal error"},
            "rate_limited": {"status": 429, "headers": {"Retry-After": str(fault.retry_after)}, "text": "slow down"},
            "html": {"status": 200, "text": page, "content_type": "text/html"},
            "empty": {"status": 200, "body": b""},
            "redirect": {"status": 302, "headers": {"Location": fault.location}},
            "cut": {"status": 500},
        }
        return web.Response(**plain[fault.kind])
