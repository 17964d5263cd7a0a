"""What billing reads from its tables."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Row, Select, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from billing.entitlement import Evidence, Rules, SubscriptionState
from billing.models import (
    Alias,
    Change,
    Customer,
    KeptSnapshot,
    Mention,
    ProvisionalGrant,
    Refresh,
    SubscriberRemoval,
    WebhookEvent,
    tombstones,
)
from billing.notice import ANONYMOUS, Notice, is_anonymous, parse_notice
from billing.settling import Rank
from billing.snapshot import Snapshot, parse_snapshot
from billing.words import Coming, coming
from common.clock import from_milliseconds
from common.db.uow import UnitOfWork
from common.web.pagination import Page

_OWNERS = text("SELECT user_id FROM billing.alias WHERE anonymous_id = ANY (:anonymous) AND user_id IS NOT NULL")
_KEPT = text("""
    SELECT app_user_id, document, taken_ms FROM billing.snapshot
    WHERE app_user_id = ANY (CAST(:user_id AS text) || ARRAY(
        SELECT anonymous_id FROM billing.alias WHERE user_id = :user_id AND claimed_at IS NOT NULL
    ))
""")
_KEPT_AND_COVERS = text(f"{_KEPT} UNION ALL SELECT product_id, entitlement, NULL FROM billing.product_cover")
"""In one answer, because every reading asks for both. What a product covers has no ``taken_ms``."""
_HELD = select(Customer).where(col(Customer.user_id) == bindparam("user_id")).with_for_update()
_HEARD = text("""
    SELECT body, received_at FROM billing.webhook_event WHERE received_at > :since AND id IN (
        SELECT event_id FROM billing.mention WHERE app_user_id = ANY (CAST(:user_id AS text) || ARRAY(
            SELECT anonymous_id FROM billing.alias WHERE user_id = :user_id AND (
                NOT :proven OR claimed_at IS NULL
                OR EXISTS (SELECT FROM billing.snapshot WHERE app_user_id = anonymous_id)
            )
        ))
    )
    ORDER BY received_at DESC, id LIMIT :limit
""")
EVER = datetime(1970, 1, 1, tzinfo=UTC)
MOST_NOTICES = 100
ROWS_AT_ONCE, BODIES_AT_ONCE = 200, 20
"""Of a whole copy of a user's rows; a body may be as large as a request."""


async def customer(uow: UnitOfWork, user_id: str) -> Customer | None:
    return await uow.session.get(Customer, user_id)


async def customer_to_change(uow: UnitOfWork, user_id: str) -> Customer:
    """The user's row, made when unknown and held until the transaction ends: one change of a person at a time.

    Raises UserErased.
    """
    await tombstones.refuse(uow, user_id)
    if known := await _held(uow, user_id):
        return known
    newcomer = Customer(user_id=user_id, created_at=uow.now, updated_at=uow.now)
    await uow.session.execute(insert(Customer).values(newcomer.model_dump()).on_conflict_do_nothing())
    return cast(Customer, await _held(uow, user_id))


async def _held(uow: UnitOfWork, user_id: str) -> Customer | None:
    """As it is now, whatever this transaction has seen of it before."""
    found: Customer | None = await uow.session.scalar(
        _HELD, {"user_id": user_id}, execution_options={"populate_existing": True}
    )
    return found


async def customers_to_change_by_time(uow: UnitOfWork, limit: int) -> Sequence[Customer]:
    """Those whose state time has changed, held; the ones somebody else is changing are left out."""
    statement = (
        select(Customer)
        .where(col(Customer.changes_at) <= uow.now)
        .order_by(col(Customer.changes_at))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return (await uow.session.scalars(statement)).all()


async def claimed_ids(uow: UnitOfWork, user_id: str) -> Sequence[str]:
    """The anonymous ids whose purchases only the user's claim makes theirs."""
    statement = select(col(Alias.anonymous_id)).where(col(Alias.user_id) == user_id, col(Alias.claimed_at).is_not(None))
    return (await uow.session.scalars(statement.order_by(col(Alias.anonymous_id)))).all()


async def ids_to_read(uow: UnitOfWork, user_id: str) -> list[str]:
    """The customers at RevenueCat that are this user's."""
    return [user_id, *await claimed_ids(uow, user_id)]


async def aliases(uow: UnitOfWork, user_id: str) -> Sequence[Alias]:
    statement = select(Alias).where(col(Alias.user_id) == user_id).order_by(col(Alias.anonymous_id))
    return (await uow.session.scalars(statement)).all()


async def people(uow: UnitOfWork, app_user_ids: Collection[str]) -> set[str]:
    """The users behind ids: the identified ones themselves, and those an anonymous one is known to belong to."""
    anonymous = [one for one in app_user_ids if is_anonymous(one)]
    identified = {one for one in app_user_ids if not is_anonymous(one)}
    if not anonymous:
        return identified
    return identified | set(await uow.session.scalars(_OWNERS, {"anonymous": anonymous}))


async def kept_snapshots(uow: UnitOfWork, user_id: str) -> dict[str, Snapshot]:
    """The newest snapshots of the user's customers, by the id they were read for."""
    return {row.app_user_id: _snapshot(row) for row in await uow.session.execute(_KEPT, {"user_id": user_id})}


async def snapshots_and_covers(uow: UnitOfWork, user_id: str) -> tuple[dict[str, Snapshot], dict[str, frozenset[str]]]:
    """As ``kept_snapshots``, and which entitlements each product gives, as far as snapshots have shown."""
    snapshots: dict[str, Snapshot] = {}
    covers: dict[str, frozenset[str]] = {}
    for row in await uow.session.execute(_KEPT_AND_COVERS, {"user_id": user_id}):
        if row.taken_ms is not None:
            snapshots[row.app_user_id] = _snapshot(row)
        else:
            product, entitlement = row.app_user_id, row.document
            covers[product] = covers.get(product, frozenset()) | {entitlement}
    return snapshots, covers


def _snapshot(row: Row[Any]) -> Snapshot:
    return replace(parse_snapshot(json.loads(row.document)), taken_ms=row.taken_ms)


async def provisional_grants(uow: UnitOfWork, user_id: str) -> Sequence[ProvisionalGrant]:
    mine = select(ProvisionalGrant).where(col(ProvisionalGrant.user_id) == user_id)
    return (await uow.session.scalars(mine.order_by(col(ProvisionalGrant.event_id), col(ProvisionalGrant.name)))).all()


async def evidence(uow: UnitOfWork, user_id: str) -> Evidence:
    """All that decides about the user."""
    grants = tuple(row.grant for row in await provisional_grants(uow, user_id))
    return Evidence(*await snapshots_and_covers(uow, user_id), grants)


async def last_reading_at(uow: UnitOfWork, user_id: str) -> datetime | None:
    """When the least recently read of the user's customers was read; None unless all were."""
    ids = await ids_to_read(uow, user_id)
    statement = select(func.min(col(KeptSnapshot.read_at)), func.count()).where(col(KeptSnapshot.app_user_id).in_(ids))
    oldest, count = (await uow.session.execute(statement)).one()
    return oldest if count == len(ids) else None


async def subscription(uow: UnitOfWork, rules: Rules, user_id: str) -> tuple[SubscriptionState, int, datetime]:
    """The state at this instant, the number of changes announced so far, and when the provider last told us.

    The clock decides, not the announcement: a paid period that has ended gives nothing more even if nobody noticed.
    """
    known = await customer(uow, user_id)
    found = await evidence(uow, user_id)
    state = found.state(rules, user_id, uow.now)
    as_of = from_milliseconds(found.taken_ms) if found.taken_ms else uow.now
    return state, known.sequence if known else 0, as_of


async def last_notices(
    uow: UnitOfWork, user_id: str, limit: int, *, since: datetime = EVER, proven: bool = False
) -> list[Notice]:
    """What webhooks told about the user's customers, received after ``since``, the newest first.

    ``proven`` leaves out what the user has claimed and nobody could check yet.
    """
    asked = {"user_id": user_id, "since": since, "limit": limit, "proven": proven}
    found = await uow.session.execute(_HEARD, asked)
    return [parse_notice(row.body, row.received_at) for row in found]


async def notices_naming_others(uow: UnitOfWork, app_user_ids: Sequence[str]) -> list[Notice]:
    """What webhooks told of these ids together with identified ids that are not among them, the newest first."""
    others = select(col(Mention.event_id)).where(
        col(Mention.app_user_id).not_in(app_user_ids), col(Mention.app_user_id).not_like(f"{ANONYMOUS}%")
    )
    statement = (
        select(WebhookEvent)
        .where(col(WebhookEvent.id).in_(events_naming(app_user_ids)), col(WebhookEvent.id).in_(others))
        .order_by(col(WebhookEvent.received_at).desc(), col(WebhookEvent.id))
        .limit(MOST_NOTICES)
    )
    return [parse_notice(row.body, row.received_at) for row in await uow.session.scalars(statement)]


def events_naming(app_user_ids: Sequence[str]) -> Select[str]:
    """Ids of the webhooks that name one of these."""
    return select(col(Mention.event_id)).where(col(Mention.app_user_id).in_(app_user_ids))


async def event(uow: UnitOfWork, event_id: str) -> WebhookEvent | None:
    return await uow.session.get(WebhookEvent, event_id)


async def history(uow: UnitOfWork, user_id: str, page: Page) -> Sequence[Change]:
    """The user's changes, newest first; one more than the page shows."""
    statement = select(Change).where(col(Change.user_id) == user_id).order_by(col(Change.sequence).desc())
    return (await uow.session.scalars(statement.limit(page.fetch).offset(page.offset))).all()


async def aliases_after(uow: UnitOfWork, user_id: str, last: Alias | None) -> Sequence[Alias]:
    """The next page of a user's aliases, by id; ``last`` None begins."""
    mine = select(Alias).where(col(Alias.user_id) == user_id)
    following = mine.where(col(Alias.anonymous_id) > (last.anonymous_id if last else ""))
    return (await uow.session.scalars(following.order_by(col(Alias.anonymous_id)).limit(ROWS_AT_ONCE))).all()


async def snapshots_after(uow: UnitOfWork, user_id: str, last: KeptSnapshot | None) -> Sequence[KeptSnapshot]:
    ids = await ids_to_read(uow, user_id)
    mine = select(KeptSnapshot).where(col(KeptSnapshot.app_user_id).in_(ids))
    following = mine.where(col(KeptSnapshot.app_user_id) > (last.app_user_id if last else ""))
    return (await uow.session.scalars(following.order_by(col(KeptSnapshot.app_user_id)).limit(BODIES_AT_ONCE))).all()


async def changes_after(uow: UnitOfWork, user_id: str, last: Change | None) -> Sequence[Change]:
    mine = select(Change).where(col(Change.user_id) == user_id, col(Change.sequence) > (last.sequence if last else -1))
    return (await uow.session.scalars(mine.order_by(col(Change.sequence)).limit(ROWS_AT_ONCE))).all()


async def webhooks_after(uow: UnitOfWork, user_id: str, last: WebhookEvent | None) -> Sequence[WebhookEvent]:
    ids = [user_id, *(alias.anonymous_id for alias in await aliases(uow, user_id))]
    named = select(WebhookEvent).where(col(WebhookEvent.id).in_(events_naming(ids)))
    following = named.where(col(WebhookEvent.id) > (last.id if last else ""))
    return (await uow.session.scalars(following.order_by(col(WebhookEvent.id)).limit(BODIES_AT_ONCE))).all()


async def outlook(uow: UnitOfWork, rules: Rules, user_id: str) -> list[Coming]:
    """What happens to the user's subscription next, the earliest first."""
    found, planned = await evidence(uow, user_id), await refresh(uow, user_id)
    ends_at = found.changes_at(rules, user_id, uow.now)
    return coming(found.state(rules, user_id, uow.now), ends_at, planned, uow.now)


async def customers_after(uow: UnitOfWork, user_id: str, limit: int) -> Sequence[Customer]:
    """The next users in the order of their ids to whom something was announced."""
    statement = select(Customer).where(col(Customer.user_id) > user_id, col(Customer.sequence) > 0)
    return (await uow.session.scalars(statement.order_by(col(Customer.user_id)).limit(limit))).all()


async def asked_for_by(uow: UnitOfWork, cause_kind: str) -> int:
    """How many readings wait that were asked for by such a cause."""
    statement = select(func.count()).select_from(Refresh).where(col(Refresh.cause_kind) == cause_kind)
    return (await uow.session.execute(statement)).scalar_one()


async def refresh(uow: UnitOfWork, user_id: str) -> Refresh | None:
    return await uow.session.get(Refresh, user_id)


async def overdue_readings(uow: UnitOfWork) -> tuple[int, float]:
    """How many readings are due, and for how many seconds the oldest has been."""
    due = (col(Refresh.rank).in_(list(Rank)), col(Refresh.due_at) <= uow.now)  # the rank leads the index
    statement = select(func.count(), func.min(col(Refresh.due_at))).where(*due)
    count, oldest = (await uow.session.execute(statement)).one()
    return count, (uow.now - oldest).total_seconds() if oldest else 0.0


async def last_webhook_at(uow: UnitOfWork) -> float:
    """When the newest webhook that is kept came in, in Unix seconds; 0 when none is."""
    at = await uow.session.scalar(select(func.max(col(WebhookEvent.received_at))))
    return at.timestamp() if at else 0.0


async def waiting_removals(uow: UnitOfWork) -> int:
    return (await uow.session.scalars(select(func.count()).select_from(SubscriberRemoval))).one()
