"""Every SELECT of media."""

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import or_, select
from sqlmodel import col

from common.db.uow import UnitOfWork
from common.errors import NotFound
from media.models import DailyUse, Entitlement, Job, PlayGrant, Session, SessionAudio, SessionLine, SessionStart


async def readable_session(uow: UnitOfWork, session_id: str, user_id: str) -> Session:
    """Raises NotFound for an unknown session and for another user's alike."""
    session = await uow.session.get(Session, session_id)
    if session is None or not session.readable_by(user_id):
        raise NotFound("There is no such session.")
    return session


async def lines_of(uow: UnitOfWork, session_id: str) -> list[str]:
    lines = select(col(SessionLine.text)).where(col(SessionLine.session_id) == session_id)
    found = lines.order_by(col(SessionLine.position))
    return list(await uow.session.scalars(found))


async def current_audio(uow: UnitOfWork, session: Session) -> SessionAudio | None:
    """The session's file, if it says what the session's lines say now."""
    audio = await uow.session.get(SessionAudio, session.id)
    return audio if audio is not None and audio.lines_hash == session.lines_hash else None


async def sessions_page(uow: UnitOfWork, user_id: str, limit: int, offset: int) -> Sequence[Session]:
    """The catalogue and the user's own sessions, newest first."""
    mine = or_(col(Session.owner_user_id).is_(None), col(Session.owner_user_id) == user_id)
    ordered = select(Session).where(mine).order_by(col(Session.created_at).desc(), col(Session.id))
    return list(await uow.session.scalars(ordered.limit(limit).offset(offset)))


async def session_by_key(uow: UnitOfWork, user_id: str, key: str) -> Session | None:
    found = select(Session).where(col(Session.owner_user_id) == user_id, col(Session.idempotency_key) == key)
    return (await uow.session.scalars(found)).one_or_none()


async def latest_job(uow: UnitOfWork, session_id: str) -> Job | None:
    found = select(Job).where(col(Job.session_id) == session_id).order_by(col(Job.created_at).desc()).limit(1)
    return (await uow.session.scalars(found)).one_or_none()


async def readable_job(uow: UnitOfWork, job_id: str, user_id: str) -> Job:
    """Raises NotFound unless the job's session is the user's own or of the catalogue."""
    job = await uow.session.get(Job, job_id)
    session = await uow.session.get(Session, job.session_id) if job is not None else None
    if job is None or session is None or not session.readable_by(user_id):
        raise NotFound("There is no such job.")
    return job


async def entitlement_of(uow: UnitOfWork, user_id: str) -> Entitlement | None:
    return await uow.session.get(Entitlement, user_id)


async def use_on(uow: UnitOfWork, user_id: str, day: date) -> DailyUse:
    return await uow.session.get(DailyUse, (user_id, day)) or DailyUse(user_id=user_id, day=day)


async def started_on(uow: UnitOfWork, user_id: str, session_id: str, day: date) -> bool:
    return await uow.session.get(SessionStart, (user_id, day, session_id)) is not None


async def valid_grant(uow: UnitOfWork, token_hash: str, now: datetime) -> PlayGrant | None:
    grant = await uow.session.get(PlayGrant, token_hash)
    return grant if grant is not None and grant.expires_at > now else None


async def catalog_without_audio(uow: UnitOfWork) -> Sequence[Session]:
    found = select(Session).where(col(Session.owner_user_id).is_(None)).order_by(col(Session.id))
    return [session for session in await uow.session.scalars(found) if await current_audio(uow, session) is None]
