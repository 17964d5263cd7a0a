"""The free tier, counted in the transaction that grants: two rows decide, and no race passes them."""

from datetime import date
from typing import Any, Literal

from sqlalchemy import CursorResult, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from common.db.uow import UnitOfWork
from media.models import DailyUse, Entitlement, Session, SessionStart
from media.plans import EntitlementRequired, FreeLimitReached, Limits, Plans, is_pro
from media.queries import entitlement_of


async def limits_of(uow: UnitOfWork, plans: Plans, user_id: str) -> tuple[Limits, bool]:
    """The user's limits at this instant, and whether they are a subscriber's."""
    pro = subscribed(await entitlement_of(uow, user_id), uow)
    return plans.limits(pro), pro


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
    limits, pro = await limits_of(uow, plans, user_id)
    if pro or session.owner_user_id == user_id or limits.counted != "starts":
        return
    await _count(uow, user_id, day, "starts", limits)


async def grant_creation(uow: UnitOfWork, plans: Plans, user_id: str) -> None:
    """Raises EntitlementRequired where the plan has no own sessions, FreeLimitReached when today's are used up."""
    limits, pro = await limits_of(uow, plans, user_id)
    if not limits.own_sessions:
        raise EntitlementRequired("Your own affirmations are part of Entrain Pro.")
    if not pro and limits.counted == "creations":
        await _count(uow, user_id, uow.now.date(), "creations", limits)


async def _count(
    uow: UnitOfWork, user_id: str, day: date, counted: Literal["starts", "creations"], limits: Limits
) -> None:
    """The update takes the row's lock and looks at the newest count, so parallel requests queue up here."""
    await uow.session.execute(insert(DailyUse).values(user_id=user_id, day=day).on_conflict_do_nothing())
    column = col(DailyUse.starts) if counted == "starts" else col(DailyUse.creations)
    taken = (
        update(DailyUse)
        .where(col(DailyUse.user_id) == user_id, col(DailyUse.day) == day, column < limits.daily)
        .values({counted: column + 1})
    )
    if not await _changed(uow, taken):
        noun = "sessions" if limits.daily != 1 else "session"
        raise FreeLimitReached(f"You have used today's {limits.daily} free {noun}. More tomorrow, or now with Pro.")


async def _changed(uow: UnitOfWork, statement: Any) -> bool:
    result = await uow.session.execute(statement)
    assert isinstance(result, CursorResult)
    return bool(result.rowcount)
