"""Counts requests against their allowance, in memory or in a Valkey that several gateways share.

Counting must never be what stops a request: when the storage is away or slow, everybody passes and a metric says so.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError
from prometheus_client import Counter
from redis.asyncio import BlockingConnectionPool

from common.errors import RateLimited
from common.observability import logger
from gateway.allowances import GUESSING, Allowance
from gateway.headers import RawHeaders

_CAPACITY = 100_000
_STORAGE_SECONDS = 0.05
_STORAGE_REST = 1.0
"""Seconds for which a storage that failed is not asked."""
_STORAGE_SOCKETS = 32
_COMPLAIN_EVERY = 60.0

REQUESTS_LIMITED = Counter("rate_limited_total", "Requests refused for their number", ["allowance"])
UNCOUNTED = Counter("rate_limit_uncounted_total", "Requests let through because the storage did not answer")

log = logger("rate_limits")


class BoundedMemory(Storage):
    """Windows in this process, ``capacity`` at most. The library's own storage has no bound, and starts a task that
    walks through all windows with each request.

    The oldest windows go first, which under a flood of addresses forgives their owners some requests.
    """

    STORAGE_SCHEME = None

    def __init__(self, capacity: int = _CAPACITY, now: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._capacity = capacity
        self._now = now
        self._windows: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def base_exceptions(self) -> type[Exception]:
        return MemoryError

    def _window(self, key: str) -> tuple[int, float]:
        """How many were counted, and when that is forgotten."""
        count, ends_at = self._windows.get(key, (0, 0.0))
        return (count, ends_at) if ends_at > self._now() else (0, self._now())

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        count, ends_at = self._window(key)
        if count == 0:
            ends_at += expiry
            self._windows.pop(key, None)
            if len(self._windows) >= self._capacity:
                self._windows.popitem(last=False)
        self._windows[key] = count + amount, ends_at
        return count + amount

    async def get(self, key: str) -> int:
        return self._window(key)[0]

    async def get_expiry(self, key: str) -> float:
        return self._window(key)[1]

    async def check(self) -> bool:
        return True

    async def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    async def clear(self, key: str) -> None:
        self._windows.pop(key, None)


class SharedStorage:
    """The windows of all gateways, in Valkey or Redis. ``async with`` closes its sockets."""

    def __init__(self, url: str) -> None:
        self._sockets = BlockingConnectionPool.from_url(
            url,
            max_connections=_STORAGE_SOCKETS,
            timeout=_STORAGE_SECONDS,
            socket_timeout=_STORAGE_SECONDS,
            socket_connect_timeout=_STORAGE_SECONDS,
        )
        self.storage = RedisStorage(
            "async+redis://",
            wrap_exceptions=True,
            implementation="redispy",
            connection_pool=self._sockets,  # type: ignore[arg-type] # options are typed as text and numbers alone
        )

    async def __aenter__(self) -> "SharedStorage":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sockets.disconnect()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands in the window of an allowance, this request included."""

    within: bool
    remaining: int
    resets_at: float
    """Unix seconds."""
    resets_in: int
    """Whole seconds from now, one at least."""

    def refusal(self, allowance: Allowance) -> RateLimited:
        REQUESTS_LIMITED.labels(allowance.name).inc()
        return RateLimited(
            f"Rate limit reached; try again in {self.resets_in} s.",
            details={"resetAt": int(self.resets_at * 1000)},
            headers={"Retry-After": str(self.resets_in)},
        )


class RateLimits:
    """Counts. ``storage`` must answer within some tens of milliseconds, or the request is not counted."""

    def __init__(self, storage: Storage | None = None, now: Callable[[], float] = time.time) -> None:
        self._windows = FixedWindowRateLimiter(BoundedMemory(now=now) if storage is None else storage)
        self._now = now
        self._asked_from = 0.0
        self._complained_at = -math.inf

    async def admit(self, allowance: Allowance, key: str, added: RawHeaders) -> None:
        """Counts one request of ``key`` and puts what it may still do into ``added``, the headers of its answer.

        Raises RateLimited.
        """
        standing = await self.count(allowance, key)
        if standing is None:
            return
        name = f'"{allowance.name}"'
        added.append((b"ratelimit-policy", f"{name};q={allowance.times};w={allowance.seconds}".encode()))
        added.append((b"ratelimit", f"{name};r={standing.remaining};t={standing.resets_in}".encode()))
        if not standing.within:
            raise standing.refusal(allowance)

    async def count(self, allowance: Allowance, key: str) -> Standing | None:
        """Counts one request of ``key``. None when the storage did not answer."""
        if self._now() < self._asked_from:
            UNCOUNTED.inc()
            return None
        item = RateLimitItemPerSecond(allowance.times, allowance.seconds, namespace=f"entrain/{allowance.name}")
        try:
            async with asyncio.timeout(_STORAGE_SECONDS):
                within = await self._windows.hit(item, key)
                resets_at, remaining = await self._windows.get_window_stats(item, key)
        except (StorageError, TimeoutError) as error:
            self._storage_failed(error)
            return None
        return Standing(within, remaining, resets_at, max(1, math.ceil(resets_at - self._now())))

    def _storage_failed(self, error: Exception) -> None:
        UNCOUNTED.inc()
        now = self._now()
        self._asked_from = now + _STORAGE_REST
        if now - self._complained_at >= _COMPLAIN_EVERY:
            self._complained_at = now
            log.warning("rate_limits_not_counted", error=f"{type(error).__name__}: {error}"[:200])


class Guesses:
    """Refused tokens by address. After too many, an address may not try others until the window ends.

    The counts may be shared; which addresses are barred is known here alone, so that a good token costs no look-up.
    """

    def __init__(
        self, limits: RateLimits, allowance: Allowance = GUESSING, now: Callable[[], float] = time.time
    ) -> None:
        self._limits = limits
        self._allowance = allowance
        self._now = now
        self._barred: dict[str, Standing] = {}
        self._until = 0.0

    @property
    def any_barred(self) -> bool:
        """The one question that every request asks."""
        if self._barred and self._now() >= self._until:
            self._barred.clear()
        return bool(self._barred)

    def bars(self, address: str) -> bool:
        """Whether the address may try no token that is not known to be good."""
        standing = self._barred.get(address)
        return standing is not None and self._now() < standing.resets_at

    def refusal(self, address: str) -> RateLimited:
        """The answer to a barred address."""
        standing = self._barred[address]
        left = max(1, math.ceil(standing.resets_at - self._now()))
        return replace(standing, resets_in=left).refusal(self._allowance)

    async def refused(self, address: str) -> None:
        """Counts a refused token. Raises RateLimited when it was one too many."""
        standing = await self._limits.count(self._allowance, address)
        if standing is None or standing.within:
            return
        if len(self._barred) >= _CAPACITY:
            del self._barred[next(iter(self._barred))]
        self._barred[address] = standing
        self._until = max(self._until, standing.resets_at)
        raise self.refusal(address)
