"""The readings to be made: asked for by anybody, claimed by one worker at a time, never lost.

A user has at most one row, so a hundred webhooks about a person make one reading. The row stays until the reading is
settled; a worker that dies holds only a lease that runs out.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, delete, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from billing.causes import CHECK, Cause, CauseKind
from billing.models import REFRESH_CHANNEL, Refresh
from billing.settling import Rank
from common.db.uow import UnitOfWork
from common.tracing import current_trace

LEASE = timedelta(seconds=60)
FIRST_RETRY, LONGEST_RETRY = 2.0, 300.0
"""Seconds between failed readings: doubled each time, with jitter, and never given up."""

_ASK = text("""
    INSERT INTO billing.refresh AS planned
        (user_id, due_at, rank, version, attempts, readings_again, cause_kind, cause, event_id, event_type,
        traceparent, correlation_id)
    SELECT unnest(CAST(:user_ids AS text[])), :due_at, CAST(:rank AS smallint), 1, 0, 0,
        CAST(:cause_kind AS text), CAST(:cause AS text), CAST(:event_id AS text), CAST(:event_type AS text),
        CAST(:traceparent AS text), CAST(:correlation_id AS text)
    ON CONFLICT (user_id) DO UPDATE SET
        due_at = least(planned.due_at, excluded.due_at), rank = least(planned.rank, excluded.rank),
        version = planned.version + 1, readings_again = 0,
        cause_kind = excluded.cause_kind, cause = excluded.cause,
        event_id = excluded.event_id, event_type = excluded.event_type,
        traceparent = excluded.traceparent, correlation_id = excluded.correlation_id
""")
_CLAIM = text("""
    WITH due AS (
        SELECT found.user_id FROM unnest(CAST(:ranks AS smallint[])) AS ranks (rank) CROSS JOIN LATERAL (
            SELECT user_id FROM billing.refresh
            WHERE rank = ranks.rank AND due_at <= :now AND (lease_until IS NULL OR lease_until <= :now)
            ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
        ) AS found ORDER BY ranks.rank LIMIT :limit
    )
    UPDATE billing.refresh AS claimed SET lease_token = :token, lease_until = :lease_until
    FROM due WHERE claimed.user_id = due.user_id
    RETURNING claimed.user_id, version, attempts, readings_again, cause_kind, cause, event_id, event_type,
        traceparent, correlation_id, ARRAY(
        SELECT anonymous_id FROM billing.alias
        WHERE alias.user_id = claimed.user_id AND claimed_at IS NOT NULL ORDER BY anonymous_id
    ) AS claimed_ids, (SELECT received_at FROM billing.webhook_event WHERE id = claimed.event_id) AS heard_at,
    EXISTS (SELECT FROM billing.erased_user AS gone WHERE gone.user_id = claimed.user_id) AS erased
""")
"""Each rank by itself, so that the index finds the earliest however many readings are due."""
_HELD = "WHERE user_id = :user_id AND lease_token = :token"
_UNASKED = f"{_HELD} AND version = :version"
_SETTLE = text(f"""
    UPDATE billing.refresh SET lease_token = NULL, lease_until = NULL, attempts = 0, readings_again = 0,
        due_at = :due_at, rank = :rank, cause_kind = :cause_kind, cause = :cause, event_id = NULL, event_type = NULL,
        traceparent = NULL, correlation_id = NULL
    {_UNASKED} RETURNING user_id
""")
_END = text(f"DELETE FROM billing.refresh {_UNASKED} RETURNING user_id")
_HAND_BACK = text(f"""
    UPDATE billing.refresh SET lease_token = NULL, lease_until = NULL,
        due_at = :due_at, attempts = :attempts, readings_again = :readings_again
    {_UNASKED} RETURNING user_id
""")
_LET_GO = text(f"""
    UPDATE billing.refresh SET lease_token = NULL, lease_until = NULL, attempts = :attempts {_HELD} RETURNING user_id
""")
_WAKE = text("SELECT pg_notify(:channel, '')")


class LeaseLost(Exception):
    """Somebody else has this reading now, or it is no longer wanted: nothing of ours may be committed."""


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed reading of the customers ``ids``, which are the user's; one ``erased`` must not be read."""

    user_id: str
    ids: tuple[str, ...]
    erased: bool
    token: UUID
    version: int
    attempts: int
    readings_again: int
    cause: Cause
    traceparent: str | None
    correlation_id: str | None


async def ask_to_read(
    uow: UnitOfWork,
    user_ids: Collection[str],
    cause: Cause,
    due_at: datetime | None = None,
    rank: Rank = Rank.WAITED_FOR,
) -> None:
    """Has the users read at ``due_at`` (now when None) or earlier, and wakes the workers when that is now."""
    if not user_ids:
        return
    trace = current_trace()
    asked = {
        # sorted, so that two transactions asking for the same people never wait for each other in a circle
        "user_ids": sorted(user_ids),
        "due_at": due_at or uow.now,
        "rank": rank,
        "cause_kind": cause.kind,
        "cause": cause.text,
        "event_id": cause.event_id,
        "event_type": cause.event_type,
        "traceparent": trace.traceparent,
        "correlation_id": trace.correlation_id,
    }
    await uow.session.execute(_ASK, asked)
    if due_at is None:
        await uow.session.execute(_WAKE, {"channel": REFRESH_CHANNEL})


async def plan_reading(uow: UnitOfWork, user_id: str, at: datetime, rank: Rank) -> None:
    """Has the user read at ``at`` unless something earlier is planned; why, and who waits, stays as it is."""
    row = insert(Refresh).values(
        user_id=user_id,
        due_at=at,
        rank=rank,
        version=1,
        attempts=0,
        readings_again=0,
        cause_kind=CHECK.kind,
        cause=CHECK.text,
    )
    earlier = {"due_at": func.least(col(Refresh.due_at), row.excluded.due_at)}
    await uow.session.execute(row.on_conflict_do_update(index_elements=[col(Refresh.user_id)], set_=earlier))


async def claim_readings(uow: UnitOfWork, limit: int) -> Sequence[Work]:
    """Leases at most ``limit`` due readings: what somebody waits for, then paying users, then the others."""
    token = uuid4()
    asked = {"ranks": list(Rank), "now": uow.now, "limit": limit, "token": token, "lease_until": uow.now + LEASE}
    return [_work(row, token) for row in await uow.session.execute(_CLAIM, asked)]


def _work(row: Row[Any], token: UUID) -> Work:
    kind: CauseKind = row.cause_kind
    cause = Cause(kind, row.cause, row.event_id, row.event_type, row.heard_at if kind == "webhook" else None)
    ids = (row.user_id, *row.claimed_ids)
    counted = (row.version, row.attempts, row.readings_again)
    return Work(row.user_id, ids, row.erased, token, *counted, cause, row.traceparent, row.correlation_id)


async def settle(uow: UnitOfWork, work: Work, next_at: datetime | None, rank: Rank) -> None:
    """Ends the work and plans the next reading, unless somebody asked again meanwhile. Raises LeaseLost."""
    held = {"user_id": work.user_id, "token": work.token, "version": work.version}
    planned = {"due_at": next_at, "rank": rank, "cause_kind": CHECK.kind, "cause": CHECK.text}
    done = await uow.session.scalar(_SETTLE, held | planned) if next_at else await uow.session.scalar(_END, held)
    if done is None and await uow.session.scalar(_LET_GO, {**held, "attempts": 0}) is None:
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
    held = {"user_id": work.user_id, "token": work.token, "version": work.version}
    kept = {"attempts": work.attempts}
    back = {"due_at": due_at, "readings_again": work.readings_again, **kept, **counted}
    if (
        await uow.session.scalar(_HAND_BACK, held | back) is None
        and await uow.session.scalar(_LET_GO, held | kept) is None
    ):
        raise LeaseLost(work.user_id)
