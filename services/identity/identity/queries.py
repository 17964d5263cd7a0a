"""What identity reads."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, text
from sqlmodel import col

from common.db.uow import UnitOfWork
from common.errors import Unauthorized
from identity.models import (
    Deletion,
    EndedSession,
    Link,
    Receipt,
    StoredPreferences,
    Tombstone,
    User,
    UserValue,
    WebhookSeen,
)
from identity.preferences import DEFAULTS, PreferencesV3, read_document

_HOLD_SUBJECT = text("SELECT pg_advisory_xact_lock(hashtextextended('identity.subject ' || :subject, 0))")


async def user(uow: UnitOfWork, user_id: str) -> User | None:
    return await uow.session.get(User, user_id)


async def users_with_address(uow: UnitOfWork, email: str) -> Sequence[User]:
    """Whose address it is now, however it is capitalised: whoever signed up twice is two users."""
    statement = select(User).where(func.lower(col(User.email)) == email.lower()).order_by(col(User.created_at))
    return (await uow.session.scalars(statement)).all()


async def known_user_to_change(uow: UnitOfWork, user_id: str) -> User | None:
    """The user's row, held against every other change until the transaction ends."""
    statement = select(User).where(col(User.id) == user_id).with_for_update()
    return (await uow.session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()


async def user_to_change(uow: UnitOfWork, user_id: str) -> User:
    """As above, for one who has just been there. Raises Unauthorized when they were deleted meanwhile."""
    user = await known_user_to_change(uow, user_id)
    if user is None:
        raise Unauthorized
    return user


async def hold_subject(uow: UnitOfWork, subject: str) -> None:
    """Until the transaction ends nobody else makes, links or deletes a user of this id.

    A row cannot be held before there is one. Taken before any row of the user is.
    """
    await uow.session.execute(_HOLD_SUBJECT, {"subject": subject})


async def values(uow: UnitOfWork, user_id: str) -> Sequence[UserValue]:
    """Ranked values first, then the others in the order they were given."""
    order = (
        col(UserValue.rank).asc().nulls_last(),
        col(UserValue.created_at),
        col(UserValue.position),
        col(UserValue.id),
    )
    found = await uow.session.scalars(select(UserValue).where(col(UserValue.user_id) == user_id).order_by(*order))
    return found.all()


async def preferences(uow: UnitOfWork, user_id: str) -> PreferencesV3:
    """The stored preferences, or the defaults."""
    return await stored_preferences(uow, user_id) or DEFAULTS


async def stored_preferences(uow: UnitOfWork, user_id: str) -> PreferencesV3 | None:
    stored = await uow.session.get(StoredPreferences, user_id)
    return read_document(stored.document) if stored else None


async def tombstone(uow: UnitOfWork, user_id: str) -> Tombstone | None:
    return await uow.session.get(Tombstone, user_id)


async def link(uow: UnitOfWork, issuer: str, subject: str) -> Link | None:
    return await uow.session.get(Link, (issuer, subject))


async def links(uow: UnitOfWork, user_id: str) -> Sequence[Link]:
    """The subjects of other issuers that are this user."""
    order = (col(Link.issuer), col(Link.subject))
    return (await uow.session.scalars(select(Link).where(col(Link.user_id) == user_id).order_by(*order))).all()


async def sessions_ended_since(uow: UnitOfWork, since: datetime, limit: int) -> Sequence[EndedSession]:
    """By when we were told, the newest first: a message that came late must not fall through."""
    statement = select(EndedSession).where(col(EndedSession.recorded_at) >= since)
    return (await uow.session.scalars(statement.order_by(col(EndedSession.recorded_at).desc()).limit(limit))).all()


async def users_deleted_since(uow: UnitOfWork, since: datetime, limit: int) -> Sequence[Tombstone]:
    """The newest first."""
    statement = select(Tombstone).where(col(Tombstone.deleted_at) >= since)
    return (await uow.session.scalars(statement.order_by(col(Tombstone.deleted_at).desc()).limit(limit))).all()


async def ended_sessions(uow: UnitOfWork, user_id: str) -> Sequence[EndedSession]:
    statement = select(EndedSession).where(col(EndedSession.user_id) == user_id)
    return (await uow.session.scalars(statement.order_by(col(EndedSession.ended_at)))).all()


async def deletion(uow: UnitOfWork, deletion_id: str) -> Deletion | None:
    return await uow.session.get(Deletion, deletion_id)


async def deletion_of(uow: UnitOfWork, user_id: str) -> Deletion | None:
    return (await uow.session.scalars(select(Deletion).where(col(Deletion.user_id) == user_id))).one_or_none()


async def deletion_to_change(uow: UnitOfWork, deletion_id: str) -> Deletion | None:
    """Held until the transaction ends: of two last receipts that come at once, one sees the other."""
    statement = select(Deletion).where(col(Deletion.id) == deletion_id).with_for_update()
    return (await uow.session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()


async def receipts(uow: UnitOfWork, deletion_id: str) -> Sequence[Receipt]:
    statement = select(Receipt).where(col(Receipt.deletion_id) == deletion_id)
    return (await uow.session.scalars(statement, execution_options={"populate_existing": True})).all()


async def deletions(uow: UnitOfWork, limit: int, *, only_open: bool) -> Sequence[Deletion]:
    """The newest first."""
    statement = select(Deletion).order_by(col(Deletion.requested_at).desc()).limit(limit)
    if only_open:
        statement = statement.where(col(Deletion.completed_at).is_(None))
    return (await uow.session.scalars(statement)).all()


async def last_webhook_at(uow: UnitOfWork) -> float:
    """When the newest webhook that is kept came in, in Unix seconds; 0 when none is."""
    at = await uow.session.scalar(select(func.max(col(WebhookSeen.received_at))))
    return at.timestamp() if at else 0.0


async def open_deletions(uow: UnitOfWork) -> tuple[int, float]:
    """How many deletions are not complete, and for how many seconds the oldest has been going on."""
    statement = select(func.count(), func.min(col(Deletion.requested_at))).where(col(Deletion.completed_at).is_(None))
    count, oldest = (await uow.session.execute(statement)).one()
    return count, (uow.now - oldest).total_seconds() if oldest else 0.0
