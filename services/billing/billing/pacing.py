"""How fast we may call RevenueCat: a token bucket, closed while the provider asks to be left alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable


class HeldOff(Exception):
    """No call may start within the caller's patience. ``retry_after`` in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"no call for {retry_after:.1f} s")
        self.retry_after = retry_after


class RequestBudget:
    """``per_second`` calls, at most one second's worth of them at once."""

    def __init__(
        self,
        per_second: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval = 1.0 / per_second
        self._burst = max(0.0, 1.0 - self._interval)
        self._monotonic = monotonic
        self._sleep = sleep
        self._next = float("-inf")

    async def take(self, patience: float = 10.0) -> None:
        """Returns when a call may start. Raises HeldOff at once if that is more than ``patience`` seconds away."""
        now = self._monotonic()
        slot = max(self._next, now - self._burst)
        if slot - now > patience:
            raise HeldOff(slot - now)
        self._next = slot + self._interval
        if slot > now:
            await self._sleep(slot - now)

    def hold_off(self, seconds: float) -> None:
        """No call starts for so long."""
        self._next = max(self._next, self._monotonic() + seconds)
