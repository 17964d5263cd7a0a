"""Asking the identity provider about users of whom it has not told us."""

import random
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Update, select, update
from sqlmodel import col

from common.db.uow import UnitOfWork
from identity.models import User

LEASE = timedelta(seconds=20)
FIRST_RETRY, LONGEST_RETRY = 10.0, 6 * 3600.0
"""Seconds, doubled after each attempt."""
MOST_ATTEMPTS = 20
"""Two days of them; after that only a webhook tells."""


@dataclass(frozen=True, slots=True)
class Lookup:
    user_id: str
    attempts: int


async def claim_lookup(uow: UnitOfWork) -> Lookup | None:
    """The user who has waited longest, leased: others leave them alone until the lease has run out."""
    due = (
        select(col(User.id))
        .where(col(User.lookup_at) <= uow.now)
        .order_by(col(User.lookup_at))
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claim = (
        update(User)
        .where(col(User.id) == due.c.id)
        .values(lookup_at=uow.now + LEASE, lookup_attempts=col(User.lookup_attempts) + 1)
        .returning(col(User.id), col(User.lookup_attempts))
    )
    claimed = (await uow.session.execute(claim)).one_or_none()
    return Lookup(claimed.id, claimed.lookup_attempts) if claimed else None


async def postpone_lookup(uow: UnitOfWork, work: Lookup, retry_after: float | None) -> bool:
    """False when it was the last attempt."""
    if work.attempts >= MOST_ATTEMPTS:
        await give_up_lookup(uow, work.user_id)
        return False
    wait = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** (work.attempts - 1)) * random.uniform(0.5, 1.0)
    seconds = wait if retry_after is None else min(LONGEST_RETRY, max(1.0, retry_after))
    at = uow.now + timedelta(seconds=seconds)
    await uow.session.execute(_waiting(work.user_id).values(lookup_at=at))
    return True


async def give_up_lookup(uow: UnitOfWork, user_id: str) -> None:
    """Nobody is asked about the user any more."""
    await uow.session.execute(_waiting(user_id).values(lookup_at=None))


def _waiting(user_id: str) -> Update:
    return update(User).where(col(User.id) == user_id, col(User.lookup_at).is_not(None))
