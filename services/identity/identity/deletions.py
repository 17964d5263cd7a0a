"""The deletion of an account: a saga of one step here and one in every store, each with a receipt.

The first transaction removes what identity holds, leaves a tombstone and announces the rest. From then on every step
repeats until it has succeeded, and doing one twice does no harm.
"""

import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, literal, select, text, update
from sqlmodel import col

from common.contracts.identity import SessionEnded
from common.db.uow import UnitOfWork
from common.errors import PermanentError, Unauthorized
from identity import queries
from identity.models import (
    CLERK_UNNAMED,
    STORES,
    Deletion,
    EndedSession,
    Receipt,
    ReceiptStatus,
    Store,
    StoredPreferences,
    Tombstone,
    User,
    UserValue,
    is_clerks,
)

PROVIDER_CHANNEL = "identity_provider"
"""Wakes the worker that calls the identity provider."""
LEASE = timedelta(seconds=20)
"""Longer than one call to the provider may take: whoever dies in it is followed by another."""
FIRST_RETRY, LONGEST_RETRY = 2.0, 900.0
"""Seconds between attempts to delete the user at the provider: doubled each time, and never given up."""
_WAKE = text("SELECT pg_notify(:channel, '')")
_FORGET_EVENTS = text("""
    DELETE FROM identity.outbox WHERE published_at IS NOT NULL
    AND (subject = :user_id OR (type = :ended AND CAST(body AS jsonb) -> 'data' ->> 'userId' = :user_id))
""")


@dataclass(frozen=True, slots=True)
class ProviderDeletion:
    """A user to be deleted at the provider, claimed for as long as the lease lasts."""

    deletion_id: str
    user_id: str
    attempts: int


async def delete_account(
    uow: UnitOfWork, user_id: str, issuer: str | None = None, *, through_provider: bool, gone_there: bool = False
) -> Deletion:
    """Starts the deletion, or returns the one that was started before.

    ``through_provider``: the provider can be asked to delete the user. ``gone_there``: it says that it has. Raises
    Unauthorized for a subject that is linked to a user by now.
    """
    await queries.hold_subject(uow, user_id)
    deletion = await queries.deletion_of(uow, user_id)
    if deletion is None:
        deletion = await _start(uow, user_id, issuer, through_provider=through_provider)
    if gone_there:
        await complete_receipt(uow, deletion.id, user_id, "clerk", {"users": 1})
    return deletion


async def _start(uow: UnitOfWork, user_id: str, issuer: str | None, *, through_provider: bool) -> Deletion:
    user = await queries.known_user_to_change(uow, user_id)
    if user is None and issuer and await queries.link(uow, issuer, user_id):
        raise Unauthorized  # the subject is another user by now: not this one's data are meant
    named = user.issuer if user else issuer or CLERK_UNNAMED
    deletion = Deletion(id=secrets.token_urlsafe(32), user_id=user_id, issuer=named, requested_at=uow.now)
    uow.session.add_all([deletion, Tombstone(user_id=user_id, deleted_at=uow.now)])
    await uow.session.flush()
    counts = await _remove(uow, user_id)
    asks_clerk = through_provider and is_clerks(user_id, named)
    for store in STORES:
        status: ReceiptStatus = "pending" if store != "clerk" or asks_clerk else "not_applicable"
        receipt = Receipt(deletion_id=deletion.id, store=store, status=status, counts={})
        if store == "identity":
            receipt.complete(counts, uow.now)
        if store == "clerk" and asks_clerk:
            receipt.due_at = uow.now
        uow.session.add(receipt)
    uow.emit(deletion.announced(user.version + 1 if user else 1))
    await uow.session.execute(_WAKE, {"channel": PROVIDER_CHANNEL})
    return deletion


async def _remove(uow: UnitOfWork, user_id: str) -> dict[str, int]:
    """Everything identity holds of the user but links, which keep other issuers' subjects from starting anew."""
    owned = {
        "values": delete(UserValue).where(col(UserValue.user_id) == user_id),
        "preferences": delete(StoredPreferences).where(col(StoredPreferences.user_id) == user_id),
        "sessions": delete(EndedSession).where(col(EndedSession.user_id) == user_id),
        "users": delete(User).where(col(User.id) == user_id),
    }
    one = literal(1)
    return {name: len((await uow.session.execute(rows.returning(one))).all()) for name, rows in owned.items()}


async def complete_receipt(
    uow: UnitOfWork, deletion_id: str, user_id: str, store: Store, counts: Mapping[str, int]
) -> None:
    """Notes that a store is empty of the user, the first time it is told; the last receipt completes the deletion.

    Raises PermanentError when there is no such deletion of that user.
    """
    deletion = await queries.deletion_to_change(uow, deletion_id)
    if deletion is None or deletion.user_id != user_id:
        raise PermanentError(f"no deletion {deletion_id[:8]}… of this user is known")
    receipts = {receipt.store: receipt for receipt in await queries.receipts(uow, deletion_id)}
    receipt = receipts[store]
    if receipt.status == "completed":
        return
    receipt.complete(counts, uow.now)
    if any(each.status == "pending" for each in receipts.values()):
        return
    if deletion.completed_at is None:
        deletion.completed_at = uow.now
    # what was announced of the user has arrived everywhere
    await uow.session.execute(_FORGET_EVENTS, {"user_id": user_id, "ended": SessionEnded.type})


async def claim_provider_deletion(uow: UnitOfWork) -> ProviderDeletion | None:
    """The next user to be deleted at the provider, leased: others leave it alone until the lease has run out."""
    due = (
        select(col(Receipt.deletion_id), col(Receipt.store))
        .where(col(Receipt.due_at) <= uow.now)
        .order_by(col(Receipt.due_at))
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claim = (
        update(Receipt)
        .where(col(Receipt.deletion_id) == due.c.deletion_id, col(Receipt.store) == due.c.store)
        .values(due_at=uow.now + LEASE, attempts=col(Receipt.attempts) + 1)
        .returning(col(Receipt.deletion_id), col(Receipt.attempts))
    )
    claimed = (await uow.session.execute(claim)).one_or_none()
    if claimed is None:
        return None
    deletion = await queries.deletion(uow, claimed.deletion_id)
    assert deletion is not None, "a receipt belongs to a deletion"
    return ProviderDeletion(deletion.id, deletion.user_id, claimed.attempts)


async def postpone_provider_deletion(
    uow: UnitOfWork, work: ProviderDeletion, problem: str, retry_after: float | None
) -> None:
    """The provider did not delete the user: tried again when it said (seconds), else with back-off."""
    wait = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(work.attempts - 1, 10)) * random.uniform(0.5, 1.0)
    seconds = wait if retry_after is None else min(LONGEST_RETRY, max(1.0, retry_after))
    postponed = (
        update(Receipt)
        .where(col(Receipt.deletion_id) == work.deletion_id, col(Receipt.store) == "clerk")
        .where(col(Receipt.status) == "pending")
        .values(problem=problem, due_at=uow.now + timedelta(seconds=seconds))
    )
    await uow.session.execute(postponed)
