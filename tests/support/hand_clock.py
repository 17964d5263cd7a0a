"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)


class HandClock:
    """Called, it returns ``now`` (aware, UTC); ``forward`` moves it on and returns the new present."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> datetime:
        """``by`` as in ``timedelta``: ``forward(minutes=5)``."""
        self.now += timedelta(**by)
        return self.now
