"""A deleted user leaves: at once from the tables, and from the store as soon as no render can add to it any more."""

from sqlalchemy import ColumnElement, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import SQLModel, col

from common.contracts.media import UserDataErased
from common.db.uow import UnitOfWork
from common.observability import logger
from media.commands import REMOVED_AFTER
from media.models import (
    AudioErasure,
    CurationProfile,
    DailyUse,
    DiscardedAudio,
    Entitlement,
    Job,
    LineUse,
    ListeningEvent,
    Session,
    SessionLine,
    SessionStart,
    tombstones,
)
from media.queries import line_keys_of

REMOVALS_CHANNEL = "media_removals"
log = logger("media.erasure")

_HOLD = text("""
    WITH sessions AS (SELECT id FROM media.session WHERE owner_user_id = :user_id ORDER BY id FOR UPDATE)
    SELECT count(*) FROM sessions
""")
_HOLD_JOBS = text("""
    WITH jobs AS (
        SELECT job.id FROM media.job JOIN media.session ON session.id = job.session_id
        WHERE session.owner_user_id = :user_id FOR UPDATE OF job)
    SELECT count(*) FROM jobs
""")
_DISCARD = text("""
    INSERT INTO media.discarded_audio (session_id, user_id, due_at)
    SELECT id, owner_user_id, CASE WHEN EXISTS (
        SELECT FROM media.job WHERE session_id = session.id
        AND (status = 'processing' OR status = 'pending' AND attempts > 0))
        THEN CAST(:later AS timestamptz) ELSE CAST(:now AS timestamptz) END
    FROM media.session WHERE owner_user_id = :user_id
""")
_UNSHARE = text("""
    WITH held AS (
        SELECT line_key, session_id FROM media.line_use
        WHERE line_key IN (SELECT line_key FROM media.line_use WHERE session_id = :session_id)
        ORDER BY line_key, session_id FOR UPDATE)
    DELETE FROM media.line_use WHERE session_id = :session_id
    AND line_key IN (SELECT line_key FROM held WHERE session_id <> :session_id)
""")


async def erase_user(uow: UnitOfWork, user_id: str, deletion_id: str | None) -> None:
    """Removes everything held about the user, once per deletion, and plans the removal from the store."""
    if not await tombstones.bury(uow, user_id, deletion_id):
        return
    await uow.session.execute(_HOLD, {"user_id": user_id})
    await uow.session.execute(_HOLD_JOBS, {"user_id": user_id})
    await uow.session.execute(_DISCARD, {"user_id": user_id, "now": uow.now, "later": uow.now + REMOVED_AFTER})
    own = select(col(Session.id)).where(col(Session.owner_user_id) == user_id)
    counts = {
        "listening": await _remove(uow, ListeningEvent, col(ListeningEvent.user_id) == user_id),
        "lines": await _remove(uow, SessionLine, col(SessionLine.session_id).in_(own)),
        "jobs": await _remove(uow, Job, col(Job.session_id).in_(own)),
        "sessions": await _remove(uow, Session, col(Session.owner_user_id) == user_id),
        "entitlements": await _remove(uow, Entitlement, col(Entitlement.user_id) == user_id),
        "days": await _remove(uow, DailyUse, col(DailyUse.user_id) == user_id),
        "starts": await _remove(uow, SessionStart, col(SessionStart.user_id) == user_id),
        "curation": await _remove(uow, CurationProfile, col(CurationProfile.user_id) == user_id),
    }
    uow.session.add(AudioErasure(user_id=user_id, deletion_id=deletion_id))
    await uow.session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": REMOVALS_CHANNEL})
    log.info("user_data_erased", store="media", **counts)
    if deletion_id is not None:  # else nobody waits for a receipt
        uow.emit(UserDataErased(user_id=user_id, deletion_id=deletion_id, store="media", counts=counts, sequence=1))


async def _remove(uow: UnitOfWork, table: type[SQLModel], mine: ColumnElement[bool]) -> int:
    result = await uow.session.execute(delete(table).where(mine))
    return int(result.rowcount)  # type: ignore[attr-defined]


async def note_lines(uow: UnitOfWork, session_id: str, line_keys: set[str]) -> None:
    """The session uses these lines: noted before their objects are stored."""
    rows = [{"line_key": key, "session_id": session_id} for key in sorted(line_keys)]
    if rows:
        await uow.session.execute(insert(LineUse).on_conflict_do_nothing(), rows)


async def lines_of_its_own(uow: UnitOfWork, session_id: str) -> list[str]:
    """The lines that no other session uses. The discarded session gives up its use of all others.

    Of two discarded sessions with a line in common, one waits here for the other, and then has it alone.
    """
    await uow.session.execute(_UNSHARE, {"session_id": session_id})
    return await line_keys_of(uow, session_id)


async def note_found(uow: UnitOfWork, session_id: str, objects: int) -> None:
    fewer = (col(DiscardedAudio.session_id) == session_id) & (col(DiscardedAudio.objects) < objects)
    await uow.session.execute(update(DiscardedAudio).where(fewer).values(objects=objects))


async def forget_discarded(uow: UnitOfWork, session_id: str) -> None:
    """Its objects are gone; once, whoever else removed them too."""
    await uow.session.execute(delete(LineUse).where(col(LineUse.session_id) == session_id))
    gone = delete(DiscardedAudio).where(col(DiscardedAudio.session_id) == session_id).returning(DiscardedAudio)
    row = (await uow.session.scalars(gone)).one_or_none()
    if row is not None and row.user_id is not None:
        counted = update(AudioErasure).where(col(AudioErasure.user_id) == row.user_id)
        await uow.session.execute(counted.values(objects=col(AudioErasure.objects) + row.objects))


async def end_erasures(uow: UnitOfWork) -> int:
    """Says of whom nothing is left in the store; how many they are."""
    left = select(col(DiscardedAudio.session_id)).where(col(DiscardedAudio.user_id) == col(AudioErasure.user_id))
    over = delete(AudioErasure).where(~left.exists()).returning(AudioErasure)
    ended = list(await uow.session.scalars(over))
    for row in ended:
        log.info("user_data_erased", store="storage", objects=row.objects)
        if row.deletion_id is not None:
            counts = {"objects": row.objects}
            uow.emit(
                UserDataErased(
                    user_id=row.user_id, deletion_id=row.deletion_id, store="storage", counts=counts, sequence=1
                )
            )
    return len(ended)
