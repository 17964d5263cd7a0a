"""What identity reads."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlmodel import col

from common.db.uow import UnitOfWork
from identity.models import StoredPreferences, User, UserValue
from identity.preferences import DEFAULTS, PreferencesV3, read_document


async def user(uow: UnitOfWork, user_id: str) -> User | None:
    return await uow.session.get(User, user_id)


async def user_to_change(uow: UnitOfWork, user_id: str) -> User:
    """The row of a registered user, held against every other change until the transaction ends."""
    statement = select(User).where(col(User.id) == user_id).with_for_update()
    found = await uow.session.scalars(statement, execution_options={"populate_existing": True})
    return found.one()


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
    stored = await uow.session.get(StoredPreferences, user_id)
    return read_document(stored.document) if stored else DEFAULTS
