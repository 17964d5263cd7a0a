"""The free tier, counted in the transaction that grants: two rows decide, and no race passes them."""

from datetime import date
from typing import Any

from prometheus_client import Counter
from sqlalchemy import CursorResult, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from common.db.uow import UnitOfWork
from media.models import DailyUse, Entitlement, Session, SessionStart
from media.plans import EntitlementRequired, FreeLimitReached, Limits, Plans, is_pro
from media.queries import entitlement_of

REFUSALS = Counter("media_quota_refusals_total", "What was refused because the plan does not hold it", ["reason"])
for _reason in ("own_sessions", "daily_limit"):
    REFUSALS.labels(_reason)


async def limits_of(uow: UnitOfWork, plans: Plans, user_id: str) -> Limits:
    """What the user may do at this instant."""
    return plans.limits(subscribed(await entitlement_of(uow, user_id), uow))


def subscribed(entitlement: Entitlement | None, uow: UnitOfWork) -> bool:
    if entitlement is None:
        return False
    return is_pro(entitlement.plan, entitlement.status, entitlement.expires_at, uow.now)


async def grant_start(uow: UnitOfWork, plans: Plans, user_id: str, session: Session) -> None:
    """Counts the user's first start of this session today. Raises FreeLimitReached when none is left."""
    day = uow.now.date()
    row = insert(SessionStart).values(user_id=user_id, day=day, session_id=session.id, started_at=uow.now)
    if not await _changed(uow, row.on_conflict_do_nothing()):
        return
    limits = await limits_of(uow, plans, user_id)
    if limits.counts_start(own=session.owner_user_id == user_id):
        await _count(uow, user_id, day, limits)


async def grant_creation(uow: UnitOfWork, plans: Plans, user_id: str) -> None:
    """Raises EntitlementRequired where the plan has no own sessions, FreeLimitReached when today's are used up."""
    limits = await limits_of(uow, plans, user_id)
    require_own_sessions(limits)
    if limits.counts_creation():
        await _count(uow, user_id, uow.now.date(), limits)


def require_own_sessions(limits: Limits) -> None:
    """Raises EntitlementRequired."""
    if not limits.own_sessions:
        REFUSALS.labels("own_sessions").inc()
        raise EntitlementRequired("Your own affirmations are part of Entrain Pro.")


async def _count(uow: UnitOfWork, user_id: str, day: date, limits: Limits) -> None:
    """The update takes the row's lock and looks at the newest count, so parallel requests queue up here."""
    await uow.session.execute(insert(DailyUse).values(user_id=user_id, day=day).on_conflict_do_nothing())
    column = col(DailyUse.starts) if limits.counted == "starts" else col(DailyUse.creations)
    taken = (
        update(DailyUse)
        .where(col(DailyUse.user_id) == user_id, col(DailyUse.day) == day, column < limits.daily)
        .values({limits.counted: column + 1})
    )
    if not await _changed(uow, taken):
        REFUSALS.labels("daily_limit").inc()
        noun = "sessions" if limits.daily != 1 else "session"
        raise FreeLimitReached(f"You have used today's {limits.daily} free {noun}. More tomorrow, or now with Pro.")


async def _changed(uow: UnitOfWork, statement: Any) -> bool:
    result = await uow.session.execute(statement)
    assert isinstance(result, CursorResult)
    return bool(result.rowcount)
