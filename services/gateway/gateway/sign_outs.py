"""Who has signed out: sessions and users whose tokens are refused at once, though they have not run out yet."""

import time
from collections.abc import Callable

from prometheus_client import Gauge

from common.observability import logger

_CAPACITY = 100_000
_SWEEP_SECONDS = 60.0

SIGN_OUTS_KEPT = Gauge("sign_outs_kept", "Ended sessions and deleted users whose tokens could still be good", ["kind"])

log = logger("sign_outs")


class SignOuts:
    """``kept`` is how many seconds after its sign-out the last token of a session or user has run out for certain:
    older sign-outs are forgotten, and not taken in. Past ``capacity`` of a kind the oldest go first.
    """

    def __init__(self, *, kept: float, now: Callable[[], float] = time.time, capacity: int = _CAPACITY) -> None:
        self._kept = kept
        self._now = now
        self._sessions = _Fading("session", capacity)
        self._users = _Fading("user", capacity)

    def end_session(self, session_id: str, ended_at: float) -> None:
        """``ended_at`` is Unix time."""
        self._sessions.add(session_id, ended_at + self._kept, self._now())

    def delete_user(self, user_id: str, deleted_at: float) -> None:
        self._users.add(user_id, deleted_at + self._kept, self._now())

    def refusal(self, user_id: str, session_id: str) -> str | None:
        """Why this user's token of this session is refused; None when it is not."""
        if session_id in self._sessions:
            return "session_ended"
        return "user_deleted" if user_id in self._users else None

    @property
    def horizon(self) -> float:
        """Unix time of the oldest sign-out that still matters."""
        return self._now() - self._kept


class _Fading:
    """Names, each until its time."""

    def __init__(self, kind: str, capacity: int) -> None:
        self._kind = kind
        self._capacity = capacity
        self._until: dict[str, float] = {}
        self._sweep_at = 0.0
        SIGN_OUTS_KEPT.labels(kind).set_function(lambda: len(self._until))

    def __contains__(self, name: str) -> bool:
        return name in self._until

    def add(self, name: str, until: float, now: float) -> None:
        if now >= self._sweep_at:
            self._until = {kept: end for kept, end in self._until.items() if end > now}
            self._sweep_at = now + _SWEEP_SECONDS
        if until <= now:
            return
        self._until[name] = max(until, self._until.get(name, 0.0))
        if len(self._until) > self._capacity:
            oldest = next(iter(self._until))
            del self._until[oldest]
            log.error("sign_outs_overflow", kind=self._kind, capacity=self._capacity)
