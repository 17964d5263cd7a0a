"""What each plan allows, as data. `/me/entitlement` shows these limits and the commands enforce the same ones."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from common.errors import DomainError

UNLIMITED = 2**53 - 1
"""How the app is told that something has no limit."""

FREE_BEHIND = timedelta(minutes=2)
"""A subscriber's audio is made first, unless the free user's was asked for this much earlier."""

FreeTier = Literal["catalog", "create"]
Counted = Literal["starts", "creations"]


class EntitlementRequired(DomainError):
    """This is part of Entrain Pro."""

    status, code = 403, "ENTITLEMENT_REQUIRED"


class FreeLimitReached(DomainError):
    """Today's free sessions are used up."""

    status, code = 403, "FREE_LIMIT_REACHED"


@dataclass(frozen=True, slots=True)
class Limits:
    """``daily`` is how many ``counted`` uses a UTC day allows."""

    own_sessions: bool
    daily: int
    counted: Counted
    offline_downloads: bool
    session_seconds: int = UNLIMITED

    def counts_start(self, *, own: bool) -> bool:
        """Whether starting a session, one's ``own`` or another, uses up one of today's."""
        return self.counted == "starts" and self.daily < UNLIMITED and not own

    def counts_creation(self) -> bool:
        return self.counted == "creations" and self.daily < UNLIMITED

    def remaining(self, used: int) -> int:
        """What is left of today after ``used`` counted uses; UNLIMITED stays what it is."""
        return self.daily if self.daily == UNLIMITED else max(self.daily - used, 0)


PRO = Limits(own_sessions=True, daily=UNLIMITED, counted="starts", offline_downloads=True)


@dataclass(frozen=True, slots=True)
class Plans:
    """The plan table of this installation."""

    free_tier: FreeTier
    free_daily: int

    def limits(self, pro: bool) -> Limits:
        if pro:
            return PRO
        creates = self.free_tier == "create"
        return Limits(
            own_sessions=creates,
            daily=self.free_daily,
            counted="creations" if creates else "starts",
            offline_downloads=False,
        )


def is_pro(plan: str, status: str, expires_at: datetime | None, now: datetime) -> bool:
    """Access is a function of time: a paid plan whose end has passed is free, whatever event is missing."""
    return plan == "pro" and status in ("active", "grace") and (expires_at is None or expires_at > now)
