"""What billing does, each within the caller's transaction.

Locks are taken in one order everywhere: customer, alias, refresh.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import get_args

from prometheus_client import Counter
from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from billing import queries
from billing.causes import RECONCILE, TIME, Cause, CauseKind, claimed, honoured, lost_to_owner, replayed, told_by
from billing.entitlement import Evidence, Grant, Rules, SubscriptionState
from billing.models import (
    CLOCKS_APART,
    Alias,
    Change,
    Customer,
    KeptSnapshot,
    ProductCover,
    ProvisionalGrant,
    WebhookEvent,
    tombstones,
)
from billing.notice import Notice, is_anonymous, parse_notice
from billing.provisional import LONGEST, adds_access, unread_grants
from billing.redaction import ids_gone_with, without
from billing.settling import FRESH, READ_AGAIN_AFTER, Doubt, Rank, doubt, next_reading, rank_of
from billing.snapshot import Snapshot
from billing.words import reason
from billing.work import ask_to_read
from common.clock import from_milliseconds
from common.db.uow import UnitOfWork
from common.errors import Conflict, RateLimited
from common.observability import logger

MOST_CLAIMS = 5
"""How many anonymous ids one user may claim: each is one more call at every reading."""
NOTICES_HELD = 50
"""How many fresh notices about a person are held against a reading at most."""
CHANGES = Counter("billing_subscription_changes_total", "Subscriptions that changed, by what led to it", ["cause"])
for _kind in get_args(CauseKind):
    CHANGES.labels(_kind)
log = logger("billing")

# the path of webhooks and readings is written as SQL: building these as expressions costs more than running them
_STORE = text("""
    WITH stored AS (
        INSERT INTO billing.webhook_event (id, type, happened_at, received_at, body)
        VALUES (:id, :type, :happened_at, :now, :body) ON CONFLICT DO NOTHING RETURNING id
    ), mentioned AS (
        INSERT INTO billing.mention (app_user_id, event_id) SELECT unnest(CAST(:ids AS text[])), id FROM stored
    )
    SELECT id FROM stored
""")
_LINK = text("""
    INSERT INTO billing.alias AS known (anonymous_id, user_id, seen_at)
    SELECT unnest(CAST(:anonymous AS text[])), CAST(:owner AS text), :now
    ON CONFLICT (anonymous_id) DO UPDATE SET user_id = excluded.user_id, claimed_at = NULL
    WHERE excluded.user_id IS NOT NULL
      AND (known.user_id IS NULL OR known.user_id <> ALL (CAST(:identified AS text[])))
""")
_KEEP = text("""
    INSERT INTO billing.snapshot AS kept (app_user_id, taken_ms, read_at, document)
    VALUES (:app_user_id, :taken_ms, :now, :document)
    ON CONFLICT (app_user_id) DO UPDATE
        SET taken_ms = excluded.taken_ms, read_at = excluded.read_at, document = excluded.document
        WHERE kept.taken_ms < excluded.taken_ms
    RETURNING app_user_id
""")
_SETTLED = text("DELETE FROM billing.provisional_grant WHERE user_id = :user_id")


class ClaimedByAnother(Conflict):
    """The purchase belongs to another account."""

    def __init__(self) -> None:
        super().__init__("This purchase belongs to another account.")


class TooManyClaims(Conflict):
    """The account has claimed purchases of as many anonymous ids as one can."""

    def __init__(self) -> None:
        super().__init__(f"An account can claim purchases of at most {MOST_CLAIMS} anonymous ids.")


class AskedTooOften(RateLimited):
    def __init__(self) -> None:
        super().__init__("Claims come too quickly; try again in a minute.", headers={"Retry-After": "60"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One customer as just read. ``document`` is what is kept of the answer, as JSON text."""

    snapshot: Snapshot
    document: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """``again_at``: when to read again because a fresh notice was not borne out; ``next_at``: the planned reading."""

    again_at: datetime | None
    next_at: datetime | None
    rank: Rank = Rank.WAITED_FOR
    pro: bool = False


async def take_notice(uow: UnitOfWork, notice: Notice, body: bytes) -> bool:
    """Stores a webhook and the work it makes; False when it is stored already. Of deleted users nothing is stored."""
    if erased := await tombstones.among(uow, notice.ids):
        body = without(body, ids_gone_with(notice, erased))
        notice = parse_notice(body, uow.now)
        if not notice.ids:
            log.info("webhook_of_erased_user", event_id=notice.id, event_type=notice.type)
            return True
    event = {"id": notice.id, "type": notice.type, "happened_at": notice.happened_at, "now": uow.now, "body": body}
    if await uow.session.scalar(_STORE, {**event, "ids": notice.ids}) is None:
        return False
    if notice.asks_for_reading:
        affected = await queries.people(uow, notice.ids)
        for side in notice.sides:
            await _link_anonymous(uow, side)
        await ask_to_read(uow, affected, told_by(notice))
    return True


async def _link_anonymous(uow: UnitOfWork, side: tuple[str, ...]) -> None:
    """All ids of a side are one customer, by the provider's word, which outranks what a user claims."""
    anonymous = sorted(one for one in side if is_anonymous(one))
    if not anonymous:
        return
    identified = [one for one in side if not is_anonymous(one)]
    owner = identified[0] if identified else None
    link = {"anonymous": anonymous, "owner": owner, "identified": identified, "now": uow.now}
    await uow.session.execute(_LINK, link)


async def take_readings(
    uow: UnitOfWork, rules: Rules, user_id: str, readings: Mapping[str, Reading], cause: Cause, readings_again: int
) -> Outcome:
    """Makes what was read the truth about the user, unless it lacks what a fresh notice grants.

    ``readings_again`` counts the readings before this one that were doubted; once READ_AGAIN_AFTER is used up the API
    has the last word.
    """
    customer = await queries.customer_to_change(uow, user_id)
    kept, covers = await queries.snapshots_and_covers(uow, user_id)
    doubted = await _doubt(uow, user_id, readings, kept) if readings_again < len(READ_AGAIN_AFTER) else None
    again_at = uow.now + READ_AGAIN_AFTER[readings_again] if doubted else None
    if doubted and doubted.holds:
        return Outcome(again_at, None)
    for app_user_id, reading in sorted(readings.items()):
        if taken := await _keep_if_newer(uow, app_user_id, reading):
            kept[app_user_id] = taken
    await _learn(uow, covers, [reading.snapshot for reading in readings.values()])
    # what was honoured unread is settled now
    await uow.session.execute(_SETTLED, {"user_id": user_id})
    state = _bring(uow, rules, customer, Evidence(kept, covers), cause)
    return Outcome(
        again_at, next_reading(state, list(kept.values()), uow.now), rank_of(state, uow.now), state.plan == "pro"
    )


async def _doubt(
    uow: UnitOfWork, user_id: str, readings: Mapping[str, Reading], kept: Mapping[str, Snapshot]
) -> Doubt | None:
    heard = await queries.last_notices(uow, user_id, NOTICES_HELD, since=uow.now - FRESH)
    notices = [notice for notice in heard if notice.asks_for_reading]
    found = doubt(notices, {one: reading.snapshot for one, reading in readings.items()}, kept, uow.now)
    if found:
        log.info("snapshot_contradicts_event", event_id=found.notice.id, event_type=found.notice.type, held=found.holds)
    return found


async def _keep_if_newer(uow: UnitOfWork, app_user_id: str, reading: Reading) -> Snapshot | None:
    """The snapshot as kept; None when a newer one is kept already."""
    latest_credible = int((uow.now + CLOCKS_APART).timestamp() * 1000)
    taken_ms = min(reading.snapshot.taken_ms, latest_credible)
    row = {"app_user_id": app_user_id, "taken_ms": taken_ms, "now": uow.now, "document": reading.document}
    stored = await uow.session.scalar(_KEEP, row)
    return replace(reading.snapshot, taken_ms=taken_ms) if stored else None


async def _learn(uow: UnitOfWork, known: dict[str, frozenset[str]], snapshots: Iterable[Snapshot]) -> None:
    """Adds to what products are known to cover what these snapshots show."""
    shown = {(one.product, one.name) for snapshot in snapshots for one in snapshot.entitlements}
    new = sorted(pair for pair in shown if pair[1] not in known.get(pair[0], ()))
    if new:
        rows = [{"product_id": product, "entitlement": name} for product, name in new]
        await uow.session.execute(insert(ProductCover).values(rows).on_conflict_do_nothing())
        for product, name in new:
            known[product] = known.get(product, frozenset()) | {name}


async def reassess(uow: UnitOfWork, rules: Rules, customer: Customer, cause: Cause) -> SubscriptionState:
    """Brings a held customer to what is known now; a change is announced and remembered."""
    return _bring(uow, rules, customer, await queries.evidence(uow, customer.user_id), cause)


def _bring(uow: UnitOfWork, rules: Rules, customer: Customer, known: Evidence, cause: Cause) -> SubscriptionState:
    state = known.state(rules, customer.user_id, uow.now)
    customer.changes_at = known.changes_at(rules, customer.user_id, uow.now)
    changed = customer.become(state, cause.text, uow.now)
    if changed:
        CHANGES.labels(cause.kind).inc()
        uow.emit(changed.model_copy(update={"heard_at": cause.heard_at}))
        uow.session.add(_entry(customer, state, cause, uow.now, known.taken_ms))
    return state


async def honour_unread(uow: UnitOfWork, rules: Rules, user_id: str) -> None:
    """Gives what fresh webhooks grant to a user who cannot be read: for a day at most, until a reading settles it."""
    notices = await queries.last_notices(uow, user_id, NOTICES_HELD, since=uow.now - LONGEST, proven=True)
    if not any(True for _ in unread_grants(notices, rules, user_id, None, uow.now)):
        return
    customer = await queries.customer_to_change(uow, user_id)
    known = await queries.evidence(uow, user_id)
    read_until = max((from_milliseconds(one.taken_ms) for one in known.snapshots.values()), default=None)
    standing = known.state(rules, user_id, uow.now)
    unread = unread_grants(notices, rules, user_id, read_until, uow.now)
    found = [(notice, grant) for notice, grant in unread if adds_access(grant, standing)]
    if not found:
        return
    rows = [{"user_id": user_id, "event_id": notice.id, **_row_of(grant)} for notice, grant in found]
    await uow.session.execute(insert(ProvisionalGrant).values(rows).on_conflict_do_nothing())
    await reassess(uow, rules, customer, honoured(found[0][0]))


def _row_of(grant: Grant) -> dict[str, object]:
    return {name: value for name, value in asdict(grant).items() if name not in ("renews", "provisional")}


def _entry(customer: Customer, state: SubscriptionState, cause: Cause, at: datetime, taken_ms: int | None) -> Change:
    return Change(
        user_id=customer.user_id,
        sequence=customer.sequence,
        changed_at=at,
        plan=state.plan,
        status=state.status,
        expires_at=state.expires_at,
        will_renew=state.will_renew,
        product_id=state.product_id,
        cause_kind=cause.kind,
        cause=cause.text,
        event_id=cause.event_id,
        event_type=cause.event_type,
        reason=reason(state),
        taken_at=from_milliseconds(taken_ms) if taken_ms else None,
    )


async def let_time_pass(uow: UnitOfWork, rules: Rules, limit: int = 50) -> int:
    """Announces what time alone has changed, for ``limit`` users at most; returns for how many it looked."""
    due = await queries.customers_to_change_by_time(uow, limit)
    for customer in due:
        await reassess(uow, rules, customer, TIME)
    return len(due)


async def take_sync_turn(uow: UnitOfWork, user_id: str) -> bool:
    """Whether the user may have the provider asked once more; counts it if so."""
    return (await queries.customer_to_change(uow, user_id)).takes_sync_turn(uow.now)


async def claim_anonymous(uow: UnitOfWork, user_id: str, anonymous_id: str) -> Cause | None:
    """Makes an anonymous id the user's, once; None when it is already.

    Raises ClaimedByAnother, TooManyClaims or UserErased.
    """
    await tombstones.refuse(uow, user_id)
    await uow.session.execute(insert(Alias).values(anonymous_id=anonymous_id, seen_at=uow.now).on_conflict_do_nothing())
    statement = select(Alias).where(col(Alias.anonymous_id) == anonymous_id).with_for_update()
    alias = (await uow.session.scalars(statement)).one()
    if alias.user_id == user_id:
        return None
    if alias.user_id is not None:
        raise ClaimedByAnother
    if len(await queries.claimed_ids(uow, user_id)) >= MOST_CLAIMS:
        raise TooManyClaims
    alias.user_id, alias.claimed_at = user_id, uow.now
    await uow.session.flush()
    cause = claimed(anonymous_id)
    await ask_to_read(uow, [user_id], cause)
    return cause


async def give_up_claim(uow: UnitOfWork, rules: Rules, user_id: str, anonymous_id: str) -> None:
    """Takes back a claim on what the provider knows to be somebody else's."""
    customer = await queries.customer_to_change(uow, user_id)
    mine = (col(Alias.anonymous_id) == anonymous_id) & (col(Alias.user_id) == user_id)
    await uow.session.execute(delete(Alias).where(mine, col(Alias.claimed_at).is_not(None)))
    await uow.session.execute(delete(KeptSnapshot).where(col(KeptSnapshot.app_user_id) == anonymous_id))
    await reassess(uow, rules, customer, lost_to_owner(anonymous_id))


async def replay(uow: UnitOfWork, event: WebhookEvent) -> list[str]:
    """Does with a stored webhook what was done when it came; returns the users who are read for it, sorted."""
    notice = parse_notice(event.body, event.received_at)
    erased = await tombstones.among(uow, notice.ids)
    affected = await queries.people(uow, notice.ids) - erased
    for side in notice.sides:
        if not erased & set(side):
            await _link_anonymous(uow, side)
    await ask_to_read(uow, affected, replayed(notice))
    return sorted(affected)


async def announce_again(uow: UnitOfWork, customers: Iterable[Customer]) -> None:
    """Tells consumers once more what they may have lost; those who have it keep what they have."""
    known = {customer.user_id: customer for customer in customers if customer.sequence}
    erased = await tombstones.among(uow, list(known))
    uow.emit(*(customer.announced_again() for user_id, customer in known.items() if user_id not in erased))


async def ask_for_everybody(uow: UnitOfWork) -> int:
    """Has every known user read again, the paying ones first; returns how many."""
    count = 0
    for plan, rank in (("pro", Rank.PAYING), ("free", Rank.REST)):
        users = (await uow.session.scalars(select(col(Customer.user_id)).where(col(Customer.plan) == plan))).all()
        await ask_to_read(uow, users, RECONCILE, rank=rank)
        count += len(users)
    return count
