"""Every SELECT of media."""

from collections.abc import Collection, Sequence
from datetime import date, datetime

from sqlalchemy import case, func, or_, select, tuple_
from sqlmodel import col

from common.db.uow import UnitOfWork
from common.errors import NotFound
from media.models import (
    AudioErasure,
    CurationProfile,
    DailyUse,
    DiscardedAudio,
    Entitlement,
    GrantKey,
    Job,
    LineUse,
    ListeningEvent,
    Session,
    SessionAudio,
    SessionLine,
    SessionStart,
)

EVENTS_CONSIDERED = 100
"""Of a user's history, for their cards."""
ROWS_AT_ONCE, SESSIONS_AT_ONCE = 200, 20
"""Of a whole copy of a user's rows."""
_AS_IT_IS_NOW = {"populate_existing": True}
"""For rows that another transaction may have changed since this one first read them."""


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
    audio = await uow.session.get(SessionAudio, session.id, populate_existing=True)
    return audio if audio is not None and audio.lines_hash == session.lines_hash else None


async def sessions_page(uow: UnitOfWork, user_id: str, limit: int, offset: int) -> Sequence[Session]:
    """The catalogue and the user's own sessions, newest first."""
    mine = or_(col(Session.owner_user_id).is_(None), col(Session.owner_user_id) == user_id)
    ordered = select(Session).where(mine).order_by(col(Session.created_at).desc(), col(Session.id))
    return list(await uow.session.scalars(ordered.limit(limit).offset(offset)))


async def session_by_key(uow: UnitOfWork, user_id: str, key: str) -> Session:
    found = select(Session).where(col(Session.owner_user_id) == user_id, col(Session.idempotency_key) == key)
    return (await uow.session.scalars(found)).one()


async def latest_job(uow: UnitOfWork, session_id: str) -> Job | None:
    """The session's open job, else the one that was made last."""
    order = (col(Job.finished_at).desc().nulls_first(), col(Job.created_at).desc(), col(Job.id))
    found = select(Job).where(col(Job.session_id) == session_id).order_by(*order).limit(1)
    return (await uow.session.scalars(found, execution_options=_AS_IT_IS_NOW)).one_or_none()


async def open_jobs_of(uow: UnitOfWork, user_id: str) -> int:
    """How many of the user's jobs are waiting or under way."""
    mine = select(func.count()).where(col(Job.user_id) == user_id, col(Job.status).in_(("pending", "processing")))
    return (await uow.session.execute(mine)).scalar_one()


async def open_jobs(uow: UnitOfWork) -> dict[tuple[str, str], tuple[int, datetime]]:
    """How many jobs are open, and when the oldest was asked for, by (user or catalogue, status)."""
    owner = case((col(Job.user_id).is_(None), "catalogue"), else_="user").label("owner")
    found = select(owner, col(Job.status), func.count(), func.min(col(Job.created_at)))
    found = found.where(col(Job.status).in_(("pending", "processing"))).group_by(owner, col(Job.status))
    return {(who, status): (count, oldest) for who, status, count, oldest in await uow.session.execute(found)}


async def open_erasures(uow: UnitOfWork) -> int:
    """How many deleted users still have audio in the store."""
    return (await uow.session.execute(select(func.count()).select_from(AudioErasure))).scalar_one()


async def locked_session(uow: UnitOfWork, session_id: str) -> Session | None:
    """The session, held against every other change until the transaction ends; None when it is gone.

    Whoever locks a session and its job locks the session first.
    """
    found = select(Session).where(col(Session.id) == session_id).with_for_update()
    return (await uow.session.scalars(found, execution_options=_AS_IT_IS_NOW)).one_or_none()


async def job_and_session(uow: UnitOfWork, job_id: str) -> tuple[Job, Session]:
    found = select(Job, Session).join(Session, col(Session.id) == col(Job.session_id)).where(col(Job.id) == job_id)
    job, session = (await uow.session.execute(found, execution_options=_AS_IT_IS_NOW)).one()
    return job, session


async def locked_job(uow: UnitOfWork, job_id: str) -> tuple[Session, Job] | None:
    """The job and its session, both held until the transaction ends; None when there is no such job."""
    job = await uow.session.get(Job, job_id)
    session = await locked_session(uow, job.session_id) if job is not None else None
    if session is None:
        return None
    held = select(Job).where(col(Job.id) == job_id).with_for_update()
    found = (await uow.session.scalars(held, execution_options=_AS_IT_IS_NOW)).one_or_none()
    return None if found is None else (session, found)


async def jobs_by_status(uow: UnitOfWork) -> Sequence[tuple[str, int, datetime]]:
    """How many jobs are in each state, and when the oldest of them was made."""
    counted = select(col(Job.status), func.count(), func.min(col(Job.created_at))).group_by(col(Job.status))
    rows = await uow.session.execute(counted.order_by(col(Job.status)))
    return [(status, count, oldest) for status, count, oldest in rows]


async def jobs_in(uow: UnitOfWork, statuses: Collection[str], limit: int) -> Sequence[Job]:
    """The newest first."""
    found = select(Job).where(col(Job.status).in_(statuses)).order_by(col(Job.created_at).desc(), col(Job.id))
    return list(await uow.session.scalars(found.limit(limit)))


async def latest_jobs_of(uow: UnitOfWork, user_id: str, limit: int) -> Sequence[Job]:
    found = select(Job).where(col(Job.user_id) == user_id).order_by(col(Job.created_at).desc(), col(Job.id))
    return list(await uow.session.scalars(found.limit(limit)))


async def latest_sessions_of(uow: UnitOfWork, user_id: str, limit: int) -> Sequence[Session]:
    found = select(Session).where(col(Session.owner_user_id) == user_id)
    newest = found.order_by(col(Session.created_at).desc(), col(Session.id)).limit(limit)
    return list(await uow.session.scalars(newest))


async def claimed_job(uow: UnitOfWork, job_id: str, lease_token: str) -> Job | None:
    """The job, locked; None unless the claim under this token still holds."""
    found = select(Job).where(col(Job.id) == job_id, col(Job.lease_token) == lease_token).with_for_update()
    return (await uow.session.scalars(found, execution_options=_AS_IT_IS_NOW)).one_or_none()


async def readable_job(uow: UnitOfWork, job_id: str, user_id: str) -> Job:
    """Raises NotFound unless the job's session is the user's own or of the catalogue."""
    job = await uow.session.get(Job, job_id)
    session = await uow.session.get(Session, job.session_id) if job is not None else None
    if job is None or session is None or not session.readable_by(user_id):
        raise NotFound("There is no such job.")
    return job


async def files_with_rows(uow: UnitOfWork, keys: Collection[str]) -> set[str]:
    """Which of the keys a session's row names."""
    found = select(col(SessionAudio.audio_key)).where(col(SessionAudio.audio_key).in_(keys))
    return set(await uow.session.scalars(found))


async def lines_in_use(uow: UnitOfWork, line_keys: Collection[str]) -> set[str]:
    """Which of the spoken lines a session uses."""
    found = select(col(LineUse.line_key)).where(col(LineUse.line_key).in_(line_keys)).distinct()
    return set(await uow.session.scalars(found))


async def sessions_in_motion(uow: UnitOfWork, session_ids: Collection[str]) -> set[str]:
    """Which of the sessions have audio that is being made, or being removed."""
    open_jobs = col(Job.session_id).in_(session_ids), col(Job.status).in_(("pending", "processing"))
    discarded = select(col(DiscardedAudio.session_id)).where(col(DiscardedAudio.session_id).in_(session_ids))
    return set(await uow.session.scalars(select(col(Job.session_id)).where(*open_jobs).union(discarded)))


async def audio_after(uow: UnitOfWork, session_id: str) -> Sequence[SessionAudio]:
    """The next page of all finished files, in the order of their sessions' ids; "" begins."""
    found = select(SessionAudio).where(col(SessionAudio.session_id) > session_id)
    return list(await uow.session.scalars(found.order_by(col(SessionAudio.session_id)).limit(SESSIONS_AT_ONCE)))


async def entitlement_of(uow: UnitOfWork, user_id: str) -> Entitlement | None:
    return await uow.session.get(Entitlement, user_id)


async def use_on(uow: UnitOfWork, user_id: str, day: date) -> DailyUse:
    return await uow.session.get(DailyUse, (user_id, day)) or DailyUse(user_id=user_id, day=day)


async def started_on(uow: UnitOfWork, user_id: str, session_id: str, day: date) -> bool:
    return await uow.session.get(SessionStart, (user_id, day, session_id)) is not None


async def audio_to_remove(uow: UnitOfWork, most: int = 100) -> list[str]:
    """Ids of deleted sessions whose objects are due to go, the longest due first."""
    due = select(col(DiscardedAudio.session_id)).where(col(DiscardedAudio.due_at) <= uow.now)
    return list(await uow.session.scalars(due.order_by(col(DiscardedAudio.due_at)).limit(most)))


async def line_keys_of(uow: UnitOfWork, session_id: str) -> list[str]:
    """Keys of the spoken lines that a session uses."""
    return list(await uow.session.scalars(select(col(LineUse.line_key)).where(col(LineUse.session_id) == session_id)))


async def sessions_after(uow: UnitOfWork, user_id: str, last: Session | None) -> Sequence[Session]:
    """The next page of a user's own sessions, the oldest first; ``last`` None begins."""
    mine = select(Session).where(col(Session.owner_user_id) == user_id)
    if last is not None:
        mine = mine.where(tuple_(col(Session.created_at), col(Session.id)) > (last.created_at, last.id))
    ordered = mine.order_by(col(Session.created_at), col(Session.id))
    return list(await uow.session.scalars(ordered.limit(SESSIONS_AT_ONCE)))


async def lines_by_session(uow: UnitOfWork, session_ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {one: [] for one in session_ids}
    lines = select(SessionLine).where(col(SessionLine.session_id).in_(session_ids))
    for line in await uow.session.scalars(lines.order_by(col(SessionLine.session_id), col(SessionLine.position))):
        found[line.session_id].append(line.text)
    return found


async def audio_by_session(uow: UnitOfWork, session_ids: Sequence[str]) -> dict[str, SessionAudio]:
    found = select(SessionAudio).where(col(SessionAudio.session_id).in_(session_ids))
    return {audio.session_id: audio for audio in await uow.session.scalars(found)}


async def jobs_after(uow: UnitOfWork, user_id: str, last: Job | None) -> Sequence[Job]:
    """The next page of the render jobs of a user's own sessions."""
    mine = select(Job).join(Session, col(Session.id) == col(Job.session_id))
    mine = mine.where(col(Session.owner_user_id) == user_id)
    if last is not None:
        place = tuple_(col(Job.session_id), col(Job.created_at), col(Job.id))
        mine = mine.where(place > (last.session_id, last.created_at, last.id))
    ordered = mine.order_by(col(Job.session_id), col(Job.created_at), col(Job.id))
    return list(await uow.session.scalars(ordered.limit(ROWS_AT_ONCE)))


async def days_after(uow: UnitOfWork, user_id: str, last: DailyUse | None) -> Sequence[DailyUse]:
    mine = select(DailyUse).where(col(DailyUse.user_id) == user_id)
    if last is not None:
        mine = mine.where(col(DailyUse.day) > last.day)
    return list(await uow.session.scalars(mine.order_by(col(DailyUse.day)).limit(ROWS_AT_ONCE)))


async def starts_after(uow: UnitOfWork, user_id: str, last: SessionStart | None) -> Sequence[SessionStart]:
    mine = select(SessionStart).where(col(SessionStart.user_id) == user_id)
    if last is not None:
        mine = mine.where(tuple_(col(SessionStart.day), col(SessionStart.session_id)) > (last.day, last.session_id))
    ordered = mine.order_by(col(SessionStart.day), col(SessionStart.session_id))
    return list(await uow.session.scalars(ordered.limit(ROWS_AT_ONCE)))


async def curation_profile(uow: UnitOfWork, user_id: str) -> CurationProfile | None:
    return await uow.session.get(CurationProfile, user_id)


async def last_event_kinds(uow: UnitOfWork, user_id: str) -> list[str]:
    """What the user did last with sessions, the newest first."""
    mine = select(col(ListeningEvent.kind)).where(col(ListeningEvent.user_id) == user_id)
    return list(await uow.session.scalars(mine.order_by(col(ListeningEvent.id).desc()).limit(EVENTS_CONSIDERED)))


async def most_finished(uow: UnitOfWork, user_id: str) -> tuple[Session, int] | None:
    """The readable session the user has finished most often, of two the one finished last, and how often."""
    times = func.count().label("times")
    finished = (
        select(col(ListeningEvent.session_id), times, func.max(col(ListeningEvent.id)).label("last"))
        .where(col(ListeningEvent.user_id) == user_id, col(ListeningEvent.kind) == "complete")
        .group_by(col(ListeningEvent.session_id))
        .subquery()
    )
    readable = or_(col(Session.owner_user_id).is_(None), col(Session.owner_user_id) == user_id)
    found = select(Session, finished.c.times).join(finished, finished.c.session_id == col(Session.id)).where(readable)
    row = (await uow.session.execute(found.order_by(finished.c.times.desc(), finished.c.last.desc()).limit(1))).first()
    return (row[0], row[1]) if row else None


async def events_after(uow: UnitOfWork, user_id: str, last: ListeningEvent | None) -> Sequence[ListeningEvent]:
    mine = select(ListeningEvent).where(col(ListeningEvent.user_id) == user_id)
    following = mine.where(col(ListeningEvent.id) > last.id) if last else mine
    return list(await uow.session.scalars(following.order_by(col(ListeningEvent.id)).limit(ROWS_AT_ONCE)))


async def grant_keys(uow: UnitOfWork) -> list[str]:
    """The keys of play grants, newest first."""
    return list(await uow.session.scalars(select(col(GrantKey.secret)).order_by(col(GrantKey.id).desc())))
