"""The readings to be made: asked for by anybody, claimed by one worker at a time, never lost.

A user has at most one row, so a hundred webhooks about a person make one reading. The row stays until the reading is
settled; a worker that dies holds only a lease that runs out.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Delete, Update, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from billing.causes import CHECK, Cause, CauseKind
from billing.models import REFRESH_CHANNEL, Refresh
from common.db.uow import UnitOfWork

LEASE = timedelta(seconds=60)
FIRST_RETRY, LONGEST_RETRY = 2.0, 300.0
"""Seconds between failed readings: doubled each time, with jitter, and never given up."""

_ASK = text("""
    INSERT INTO billing.refresh AS planned
        (user_id, due_at, version, attempts, readings_again, cause_kind, cause, event_id, event_type)
    SELECT unnest(CAST(:user_ids AS text[])), :due_at, 1, 0, 0,
        CAST(:cause_kind AS text), CAST(:cause AS text), CAST(:event_id AS text), CAST(:event_type AS text)
    ON CONFLICT (user_id) DO UPDATE SET
        due_at = least(planned.due_at, excluded.due_at), version = planned.version + 1, readings_again = 0,
        cause_kind = excluded.cause_kind, cause = excluded.cause,
        event_id = excluded.event_id, event_type = excluded.event_type
""")
_WAKE = text("SELECT pg_notify(:channel, '')")


class LeaseLost(Exception):
    """Somebody else has this reading now, or it is no longer wanted: nothing of ours may be committed."""


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed reading."""

    user_id: str
    token: UUID
    version: int
    attempts: int
    readings_again: int
    cause: Cause


async def ask_to_read(uow: UnitOfWork, user_ids: Collection[str], cause: Cause, due_at: datetime | None = None) -> None:
    """Has the users read at ``due_at`` (now when None) or earlier, and wakes the workers when that is now."""
    if not user_ids:
        return
    asked = {
        # sorted, so that two transactions asking for the same people never wait for each other in a circle
        "user_ids": sorted(user_ids),
        "due_at": due_at or uow.now,
        "cause_kind": cause.kind,
        "cause": cause.text,
        "event_id": cause.event_id,
        "event_type": cause.event_type,
    }
    await uow.session.execute(_ASK, asked)
    if due_at is None:
        await uow.session.execute(_WAKE, {"channel": REFRESH_CHANNEL})


async def plan_reading(uow: UnitOfWork, user_id: str, at: datetime) -> None:
    """Has the user read at ``at`` unless something earlier is planned; why, and who waits, stays as it is."""
    row = insert(Refresh).values(
        user_id=user_id, due_at=at, version=1, attempts=0, readings_again=0, cause_kind=CHECK.kind, cause=CHECK.text
    )
    earlier = {"due_at": func.least(col(Refresh.due_at), row.excluded.due_at)}
    await uow.session.execute(row.on_conflict_do_update(index_elements=[col(Refresh.user_id)], set_=earlier))


async def claim_readings(uow: UnitOfWork, limit: int) -> Sequence[Work]:
    """Leases at most ``limit`` due readings; what somebody waits for comes before planned checks."""
    free = or_(col(Refresh.lease_until).is_(None), col(Refresh.lease_until) <= uow.now)
    due = (
        select(col(Refresh.user_id))
        .where(col(Refresh.due_at) <= uow.now, free)
        .order_by(col(Refresh.cause_kind) == CHECK.kind, col(Refresh.due_at))
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    token = uuid4()
    claim = (
        update(Refresh)
        .where(col(Refresh.user_id) == due.c.user_id)
        .values(lease_token=token, lease_until=uow.now + LEASE)
        .returning(Refresh)
    )
    return [_work(row, token) for row in await uow.session.scalars(claim)]


def _work(row: Refresh, token: UUID) -> Work:
    kind: CauseKind = row.cause_kind  # type: ignore[assignment]
    cause = Cause(kind, row.cause, row.event_id, row.event_type)
    return Work(row.user_id, token, row.version, row.attempts, row.readings_again, cause)


async def settle(uow: UnitOfWork, work: Work, next_at: datetime | None) -> None:
    """Ends the work and plans the next reading, unless somebody asked again meanwhile. Raises LeaseLost."""
    held = (col(Refresh.user_id) == work.user_id, col(Refresh.lease_token) == work.token)
    unasked = col(Refresh.version) == work.version
    idle = {"lease_token": None, "lease_until": None, "attempts": 0}
    planned = {"cause_kind": CHECK.kind, "cause": CHECK.text, "event_id": None, "event_type": None}
    done = (
        update(Refresh).where(*held, unasked).values(**idle, **planned, due_at=next_at, readings_again=0)
        if next_at
        else delete(Refresh).where(*held, unasked)
    )
    if not await _touched(uow, done) and not await _touched(uow, update(Refresh).where(*held).values(**idle)):
        raise LeaseLost(work.user_id)


async def read_again(uow: UnitOfWork, work: Work, at: datetime) -> None:
    """The reading contradicted a fresh notice: it is made again ``at``, or when asked for. Raises LeaseLost."""
    await _hand_back(uow, work, at, attempts=0, readings_again=work.readings_again + 1)


async def postpone(uow: UnitOfWork, work: Work, retry_after: float | None) -> None:
    """The reading failed: tried again when the provider said (seconds), else with back-off. Raises LeaseLost."""
    await _hand_back(uow, work, uow.now + pause(work.attempts, retry_after), attempts=work.attempts + 1)


def pause(attempts: int, retry_after: float | None) -> timedelta:
    """How long to leave the provider alone after that many failures before this one."""
    wait = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(attempts, 10)) * random.uniform(0.5, 1.0)
    return timedelta(seconds=min(LONGEST_RETRY, max(1.0, retry_after)) if retry_after is not None else wait)


async def forget(uow: UnitOfWork, user_id: str) -> None:
    """Nothing is to be read about the user any more."""
    await uow.session.execute(delete(Refresh).where(col(Refresh.user_id) == user_id))


async def _hand_back(uow: UnitOfWork, work: Work, due_at: datetime, **counted: int) -> None:
    """Asked again meanwhile, a reading that is to be repeated keeps the moment and the count it was asked with."""
    held = (col(Refresh.user_id) == work.user_id, col(Refresh.lease_token) == work.token)
    idle = {"lease_token": None, "lease_until": None}
    unasked = update(Refresh).where(*held, col(Refresh.version) == work.version)
    handed_back = unasked.values(**idle, **counted, due_at=due_at)
    if not await _touched(uow, handed_back) and not await _touched(uow, update(Refresh).where(*held).values(**idle)):
        raise LeaseLost(work.user_id)


async def _touched(uow: UnitOfWork, statement: Update | Delete) -> bool:
    return (await uow.session.execute(statement.returning(col(Refresh.user_id)))).first() is not None
