"""What identity does, each within the caller's transaction."""

from collections.abc import Sequence

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from common.db.uow import UnitOfWork
from identity import queries
from identity.models import ChosenValue, StoredPreferences, User, UserValue
from identity.preferences import PreferencesV3

DEVELOPMENT_ISSUER = "development"
"""Stands for the issuer of a caller that no issuer named: the gateway's development user."""


async def register_at_first_sight(uow: UnitOfWork, user_id: str, issuer: str | None) -> User:
    """The user, made when unknown. Of any number of first requests at once exactly one emits UserRegistered."""
    known = await queries.user(uow, user_id)
    if known is not None:
        return known
    newcomer = User.first_seen(user_id, issuer or DEVELOPMENT_ISSUER, uow.now)
    row = insert(User).values(newcomer.model_dump()).on_conflict_do_nothing().returning(col(User.id))
    if await uow.session.scalar(row) is not None:
        uow.emit(newcomer.registered())
    return await queries.user_to_change(uow, user_id)


async def replace_values(uow: UnitOfWork, user_id: str, chosen: Sequence[ChosenValue]) -> int:
    """Makes ``chosen`` the user's whole set of values; returns how many they are."""
    # two sets sent at once must not mix: the second waits for the first and then replaces it
    await queries.user_to_change(uow, user_id)
    await uow.session.execute(delete(UserValue).where(col(UserValue.user_id) == user_id))
    uow.session.add_all(UserValue.chosen_together(user_id, chosen, uow.now))
    return len(chosen)


async def set_struggle(uow: UnitOfWork, user_id: str, struggle: str | None) -> None:
    user = await queries.user_to_change(uow, user_id)
    user.set_struggle(struggle, uow.now)


async def store_preferences(uow: UnitOfWork, user_id: str, preferences: PreferencesV3) -> None:
    content = {
        "schema_version": preferences.schema_version,
        "document": preferences.model_dump_json(by_alias=True),
        "updated_at": uow.now,
    }
    row = insert(StoredPreferences).values(user_id=user_id, created_at=uow.now, **content)
    await uow.session.execute(row.on_conflict_do_update(index_elements=[col(StoredPreferences.user_id)], set_=content))
