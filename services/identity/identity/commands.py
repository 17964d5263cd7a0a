"""What identity does, each within the caller's transaction."""

from collections.abc import Sequence

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from common.db.uow import UnitOfWork
from common.errors import Unauthorized
from identity import queries
from identity.clerk_events import SignedOut
from identity.models import (
    CLERK_UNNAMED,
    DEVELOPMENT_ISSUER,
    ChosenValue,
    EndedSession,
    Profile,
    StoredPreferences,
    User,
    UserValue,
    WebhookSeen,
)
from identity.preferences import PreferencesV3


async def register_at_first_sight(uow: UnitOfWork, user_id: str, issuer: str | None) -> User:
    """The user, made when unknown. Of any number of first requests at once exactly one emits UserRegistered.

    Raises Unauthorized for a user who was deleted, and for a subject that is another user by now: a token, or the
    gateway's memory of a link, may outlive the change by a moment.
    """
    known = await queries.user(uow, user_id)
    if known is None:
        return await _register(uow, user_id, issuer or DEVELOPMENT_ISSUER)
    if known.issuer == CLERK_UNNAMED and issuer:
        await _name_issuer(uow, user_id, issuer)
    return known


async def _register(uow: UnitOfWork, user_id: str, issuer: str) -> User:
    await queries.hold_subject(uow, user_id)
    if known := await queries.user(uow, user_id):
        return known
    if await queries.tombstone(uow, user_id) or await queries.link(uow, issuer, user_id):
        raise Unauthorized
    newcomer = User.first_seen(user_id, issuer, uow.now)
    uow.session.add(newcomer)
    await uow.session.flush()
    uow.emit(newcomer.registered())
    return newcomer


async def _name_issuer(uow: UnitOfWork, user_id: str, issuer: str) -> None:
    if any(link.issuer == issuer for link in await queries.links(uow, user_id)):
        return
    user = await queries.user_to_change(uow, user_id)
    if user.issuer == CLERK_UNNAMED:
        uow.emit(user.name_issuer(issuer, uow.now))


async def first_webhook(uow: UnitOfWork, message_id: str, kind: str) -> bool:
    """Marks the webhook as seen; False when it was before. The mark commits with the effects."""
    row = insert(WebhookSeen).values(id=message_id, type=kind, received_at=uow.now).on_conflict_do_nothing()
    return await uow.session.scalar(row.returning(col(WebhookSeen.id))) is not None


async def take_profile(uow: UnitOfWork, profile: Profile) -> bool:
    """Makes the user what the provider says; False when they were deleted: nothing brings them back."""
    await queries.hold_subject(uow, profile.user_id)
    if await queries.tombstone(uow, profile.user_id):
        return False
    user = await queries.known_user_to_change(uow, profile.user_id)
    if user is None:
        user = User.described(profile, uow.now)
        uow.session.add(user)
        uow.emit(user.registered())
    elif changed := user.take_profile(profile, uow.now):
        uow.emit(changed)
    return True


async def end_session(uow: UnitOfWork, fact: SignedOut) -> bool:
    """Records that the provider ended a session, once; False for one of a deleted user: all of theirs have ended."""
    await queries.hold_subject(uow, fact.user_id)
    if await queries.tombstone(uow, fact.user_id):
        return False
    session = EndedSession(
        session_id=fact.session_id, user_id=fact.user_id, ended_at=fact.ended_at, recorded_at=uow.now
    )
    row = insert(EndedSession).values(session.model_dump()).on_conflict_do_nothing()
    if await uow.session.scalar(row.returning(col(EndedSession.session_id))) is not None:
        uow.emit(session.ended())
    return True


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
    await queries.user_to_change(uow, user_id)
    content = {
        "schema_version": preferences.schema_version,
        "document": preferences.model_dump_json(by_alias=True),
        "updated_at": uow.now,
    }
    row = insert(StoredPreferences).values(user_id=user_id, created_at=uow.now, **content)
    await uow.session.execute(row.on_conflict_do_update(index_elements=[col(StoredPreferences.user_id)], set_=content))
