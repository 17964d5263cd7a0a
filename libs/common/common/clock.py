"""Time as a parameter: rules never look at a clock, whoever calls them passes the instant."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present as an aware UTC datetime."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def wire_time(instant: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and a literal ``Z``, the only form the shipped app parses."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_milliseconds(milliseconds: int) -> datetime:
    """The aware UTC instant of a Unix time in milliseconds. Raises ValueError, OverflowError or OSError."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
