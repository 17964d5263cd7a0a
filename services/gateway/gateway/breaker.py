"""Stops asking a service that does not answer, and finds out when it does again."""

import math
import time
from collections.abc import Callable

from prometheus_client import Counter, Gauge

from common.errors import Unavailable
from common.observability import logger

_FAILURES = 10
_REST_SECONDS = 2.0

STATE = Gauge("upstream_breaker_state", "0 closed, 1 half open (one request probes), 2 open", ["upstream"])
SPARED = Counter("upstream_spared_total", "Requests answered 503 without asking the service", ["upstream"])

log = logger("breaker")


class Breaker:
    """Opens after so many failures in a row with no answer between them. While open, one request in every
    ``rest_seconds`` goes through as a probe; the first answer closes it.

    A probe needs not be given back: one that is abandoned is followed by the next.
    """

    def __init__(
        self,
        upstream: str,
        *,
        failures: int = _FAILURES,
        rest_seconds: float = _REST_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstream = upstream
        self._tolerated = failures
        self._rest = rest_seconds
        self._now = now
        self._in_a_row = 0
        self._probe_at = 0.0
        self._state = STATE.labels(upstream)
        self._state.set(0)

    def check(self) -> None:
        """Call before asking the service. Raises Unavailable while open."""
        if self._in_a_row < self._tolerated:
            return
        now = self._now()
        if now < self._probe_at:
            SPARED.labels(self._upstream).inc()
            wait = math.ceil(self._probe_at - now)
            raise Unavailable("The service is busy or restarting; try again shortly.", retry_after=wait)
        self._probe_at = now + self._rest
        self._state.set(1)

    def answered(self) -> None:
        if self._in_a_row == 0:
            return
        if self._in_a_row >= self._tolerated:
            log.info("breaker_closed", upstream=self._upstream)
            self._state.set(0)
        self._in_a_row = 0

    def failed(self) -> None:
        """The service could not be reached, gave no answer in time, or said that it is unavailable."""
        self._in_a_row += 1
        if self._in_a_row < self._tolerated:
            return
        if self._in_a_row == self._tolerated:
            self._probe_at = self._now() + self._rest
            log.warning("breaker_opened", upstream=self._upstream)
        self._state.set(2)
