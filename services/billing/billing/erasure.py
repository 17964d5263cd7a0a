"""A deleted user leaves: at once from here, then from RevenueCat, which no transaction reaches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, delete, select
from sqlmodel import SQLModel, col

from billing import queries
from billing.models import (
    Alias,
    Change,
    Customer,
    KeptSnapshot,
    Refresh,
    SubscriberRemoval,
    WebhookEvent,
    tombstones,
)
from billing.notice import is_anonymous
from billing.work import pause
from common.contracts.billing import UserDataErased
from common.db.uow import UnitOfWork
from common.observability import logger

Store = Literal["billing", "revenuecat"]
log = logger("erasure")
READ_BY_THEN = timedelta(seconds=5)
"""Whoever asked for a reading in person has it by then. One made later would make the customer anew."""
LEASE = timedelta(seconds=60)
"""How long a removal stays with a worker that has fallen silent, and longer than any call may take."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A removal in hand and the customer to be deleted; None when that was the last of it.

    ``answer_missed``: the customer's deletion was asked for before, and what came of it is not known.
    """

    row: SubscriberRemoval
    app_user_id: str | None
    answer_missed: bool


async def erase_user(uow: UnitOfWork, user_id: str, deletion_id: str | None) -> None:
    """Removes everything held about the user, once per deletion, and plans the removal at RevenueCat.

    A webhook that also names others goes whole: what it told of them was read long ago.
    """
    if not await tombstones.bury(uow, user_id, deletion_id):
        return
    aliases = [alias.anonymous_id for alias in await queries.aliases(uow, user_id)]
    ids = [user_id, *aliases]
    own = await _own_customers(uow, user_id, ids)
    due_at = await _last_reading_ends(uow, user_id)
    counts = {
        # first, because whoever changes a customer holds this row; what was honoured unread goes with it
        "customers": await _remove(uow, Customer, col(Customer.user_id) == user_id),
        "webhooks": await _remove(uow, WebhookEvent, col(WebhookEvent.id).in_(queries.events_naming(ids))),
        "aliases": await _remove(uow, Alias, col(Alias.user_id) == user_id),
        "readings": await _remove(uow, KeptSnapshot, col(KeptSnapshot.app_user_id).in_(ids)),
        "changes": await _remove(uow, Change, col(Change.user_id) == user_id),
        "plannedReadings": await _remove(uow, Refresh, col(Refresh.user_id) == user_id),
    }
    uow.session.add(SubscriberRemoval(user_id=user_id, deletion_id=deletion_id, app_user_ids=own, due_at=due_at))
    _announce(uow, user_id, deletion_id, "billing", counts)


async def _remove(uow: UnitOfWork, table: type[SQLModel], mine: ColumnElement[bool]) -> int:
    result = await uow.session.execute(delete(table).where(mine))
    return int(result.rowcount)  # type: ignore[attr-defined]


async def _last_reading_ends(uow: UnitOfWork, user_id: str) -> datetime:
    planned = await queries.refresh(uow, user_id)
    soon = uow.now + READ_BY_THEN
    return max(soon, planned.lease_until) if planned and planned.lease_until else soon


async def _own_customers(uow: UnitOfWork, user_id: str, ids: Sequence[str]) -> list[str]:
    """The ids under which RevenueCat knows this user and nobody else; a claim counts once it was read and borne out."""
    snapshots = await queries.kept_snapshots(uow, user_id)
    claimed = await queries.claimed_ids(uow, user_id)
    as_one = [set(side) for notice in await queries.notices_naming_others(uow, ids) for side in notice.sides]
    as_one += [{one, read.original_app_user_id} for one, read in snapshots.items() if read.original_app_user_id]
    as_one = [customer for customer in as_one if customer & set(ids)]
    others = {one for customer in as_one for one in customer if one != user_id and not is_anonymous(one)}
    others -= await tombstones.known(uow, others)
    shared = {one for customer in as_one if customer & others for one in customer}
    return [one for one in ids if one not in shared and (one not in claimed or one in snapshots)]


async def next_removal(uow: UnitOfWork) -> Removal | None:
    """Leases a due removal and notes the customer to be deleted. None when nothing is due.

    One of which nothing is left is over, and said to be.
    """
    due = select(SubscriberRemoval).where(col(SubscriberRemoval.due_at) <= uow.now)
    due = due.order_by(col(SubscriberRemoval.due_at)).limit(1).with_for_update(skip_locked=True)
    row = (await uow.session.scalars(due)).one_or_none()
    if row is None:
        return None
    if not row.app_user_ids:
        await uow.session.delete(row)
        _announce(uow, row.user_id, row.deletion_id, "revenuecat", {"subscribers": row.removed})
        return Removal(row, None, answer_missed=False)
    customer = row.app_user_ids[0]
    removal = Removal(row, customer, answer_missed=row.asked == customer)
    row.asked, row.due_at = customer, uow.now + LEASE
    return removal


async def removed(uow: UnitOfWork, removal: Removal, existed: bool) -> None:
    """The customer is gone. One that RevenueCat no longer knows was ours to count if we missed an earlier answer."""
    row = await _held(uow, removal)
    if row is not None:
        row.app_user_ids = [one for one in row.app_user_ids if one != removal.app_user_id]
        row.removed += existed or removal.answer_missed
        row.asked, row.attempts, row.due_at = None, 0, uow.now


async def postpone(uow: UnitOfWork, removal: Removal, retry_after: float | None, *, answered: bool) -> None:
    """Not deleted: asked again when the provider said (seconds), else with back-off, for ever."""
    row = await _held(uow, removal)
    if row is not None:
        row.due_at = uow.now + pause(row.attempts, retry_after)
        row.attempts += 1
        row.asked = removal.app_user_id if removal.answer_missed or not answered else None


async def _held(uow: UnitOfWork, removal: Removal) -> SubscriberRemoval | None:
    """None when another worker has deleted that customer meanwhile."""
    row = await uow.session.get(SubscriberRemoval, removal.row.id, with_for_update=True, populate_existing=True)
    return row if row is not None and removal.app_user_id in row.app_user_ids else None


def _announce(
    uow: UnitOfWork,
    user_id: str,
    deletion_id: str | None,
    store: Store,
    counts: dict[str, int],
) -> None:
    log.info("user_data_erased", store=store, **counts)
    if deletion_id is not None:  # else nobody waits for a receipt
        uow.emit(UserDataErased(user_id=user_id, deletion_id=deletion_id, store=store, counts=counts, sequence=1))
