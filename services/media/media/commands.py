"""What changes media's state. Each runs within the caller's transaction."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from prometheus_client import Counter, Histogram
from sqlalchemy import delete, or_, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from common.contracts.billing import SubscriptionChanged
from common.db.uow import UnitOfWork
from common.errors import Conflict, Forbidden, InvalidInput, NotFound
from common.observability import logger
from common.tracing import current_trace
from media import lines as spoken
from media.beds import frequency_for
from media.models import (
    CurationProfile,
    DiscardedAudio,
    Entitlement,
    Job,
    ListeningEvent,
    Session,
    SessionAudio,
    SessionLine,
    tombstones,
)
from media.plans import FREE_BEHIND, Plans
from media.queries import (
    current_audio,
    entitlement_of,
    latest_job,
    locked_session,
    open_jobs_of,
    session_by_key,
)
from media.quota import grant_creation, subscribed
from media.schemas import DraftSession
from media.speech import Unspeakable

JOBS_CHANNEL = "media_jobs"
REMOVED_AFTER = timedelta(minutes=10)
"""A worker notices within seconds that a session is gone, but what it is uploading may still arrive."""
TURN = timedelta(minutes=5)
"""How far in the queue each further open job of a user stands behind the one before."""
CATALOGUE_BEHIND = timedelta(hours=1)
"""Nobody may be waiting for it."""
_WRITTEN = ("title", "goal_tag", "voice_id", "frequency_hz", "brainwave_state", "lines_hash")
ENTITLED_SECONDS = Histogram(
    "media_entitlement_delay_seconds",
    "From a store's webhook until the plan it led to is in force",
    ["plan"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
for _plan in ("free", "pro"):
    ENTITLED_SECONDS.labels(_plan)
DIFFERENCES = Counter("media_entitlement_differences_total", "Plans that were not as billing has them, and put right")
log = logger("media")


def goal_tag_of(spoken: str | None) -> str | None:
    """The tag behind any spelling: "Anxiety Relief" is `anxiety-relief`."""
    return "-".join((spoken or "").lower().split()) or None


async def create_session(
    uow: UnitOfWork, plans: Plans, user_id: str, draft: DraftSession, key: str | None
) -> tuple[Session, Job | None]:
    """Creates the session, its lines and its job, once per key. Raises Conflict when the key came with another body."""
    require_speakable(draft.affirmations)
    session = _session_of(uow, user_id, draft, key)
    if not await add_session(uow, session, draft.affirmations):
        assert key is not None  # a new id meets no other; only the key can
        known = await session_by_key(uow, user_id, key)
        if known.request_hash != session.request_hash:
            raise Conflict("This key was used for another session; send a new one.")
        return known, await latest_job(uow, known.id)
    await grant_creation(uow, plans, user_id)
    return session, await request_audio(uow, session)


async def add_session(uow: UnitOfWork, session: Session, lines: Sequence[str]) -> bool:
    """False when a session of this id, or of this owner and idempotency key, is there already.

    Who adds the same session at the same time waits here for the first to commit or to fail.
    """
    row = insert(Session).values(**session.model_dump()).on_conflict_do_nothing().returning(col(Session.id))
    if (await uow.session.execute(row)).scalar_one_or_none() is None:
        return False
    await _add_lines(uow, session.id, lines)
    uow.emit(session.created())
    return True


async def _add_lines(uow: UnitOfWork, session_id: str, lines: Sequence[str]) -> None:
    rows = [{"session_id": session_id, "position": place, "text": line} for place, line in enumerate(lines)]
    await uow.session.execute(insert(SessionLine), rows)


async def rewrite_session(uow: UnitOfWork, wanted: Session, lines: Sequence[str]) -> bool:
    """Makes the session of this id what ``wanted`` and ``lines`` say; False when it is that already, or gone.

    A file that says something else, or in another voice, is none of its any more.
    """
    known = await locked_session(uow, wanted.id)
    changed = {name for name in _WRITTEN if known is not None and getattr(known, name) != getattr(wanted, name)}
    if known is None or not changed:
        return False
    for name in changed:
        setattr(known, name, getattr(wanted, name))
    known.version += 1
    known.updated_at = uow.now
    if "lines_hash" in changed:
        await uow.session.execute(delete(SessionLine).where(col(SessionLine.session_id) == known.id))
        await _add_lines(uow, known.id, lines)
    if changed & {"lines_hash", "voice_id"}:
        await uow.session.execute(delete(SessionAudio).where(col(SessionAudio.session_id) == known.id))
    return True


async def delete_session(uow: UnitOfWork, user_id: str, session_id: str) -> None:
    """Deletes a session of the user's own with its lines, audio and jobs; its objects follow when no render of it
    can be under way any more. What it counted stays counted. Raises NotFound, and Forbidden for the catalogue's.
    """
    session = await locked_session(uow, session_id)
    if session is None or not session.readable_by(user_id):
        raise NotFound("There is no such session.")
    if session.owner_user_id != user_id:
        raise Forbidden("Only your own sessions can be deleted.")
    uow.emit(session.deleted())
    uow.session.add(DiscardedAudio(session_id=session.id, user_id=user_id, due_at=uow.now + REMOVED_AFTER))
    await uow.session.execute(delete(Session).where(col(Session.id) == session.id))


def require_speakable(lines: Sequence[str]) -> None:
    """Raises InvalidInput naming every line the voices cannot say."""
    problems = {place: problem for place, line in enumerate(lines) if (problem := _unspeakable(line))}
    if problems:
        said = [f"Line {place + 1}: {problem}" for place, problem in problems.items()]
        details = {"formErrors": [], "fieldErrors": {"affirmations": said}, "lines": list(problems)}
        raise InvalidInput(said[0], details=details)


def _unspeakable(line: str) -> str | None:
    try:
        spoken.require_speakable(line)
    except Unspeakable as refusal:
        return str(refusal)
    return None


def _hash_of_request(draft: DraftSession) -> str:
    body = draft.model_dump(mode="json", exclude={"local_draft_id"})
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _session_of(uow: UnitOfWork, user_id: str, draft: DraftSession, key: str | None) -> Session:
    tag = goal_tag_of(draft.goal_tag)
    frequency = frequency_for(tag) if draft.solfeggio_hz is None else None
    return Session(
        id=str(uuid4()),
        owner_user_id=user_id,
        source="user",
        title=draft.title,
        goal_tag=tag,
        voice_id=draft.voice_id,
        frequency_hz=frequency.hz if frequency else None,
        brainwave_state=frequency.brainwave_state if frequency else None,
        solfeggio_hz=draft.solfeggio_hz,
        lines_hash=spoken.hash_of_lines(draft.affirmations),
        idempotency_key=key,
        request_hash=_hash_of_request(draft),
        created_at=uow.now,
        updated_at=uow.now,
    )


async def request_audio(uow: UnitOfWork, session: Session) -> Job | None:
    """The job that makes the session's file: the open one, one that failed over these lines and is still cooling
    down, or a new one.

    None when the file is there. However many ask at once, one job is open per session.
    """
    if await _wants_job(uow, session):  # most who ask need not queue for the session's lock
        held = await locked_session(uow, session.id)
        if held is None:
            raise NotFound("There is no such session.")
        if await _wants_job(uow, held):
            return await _add_job(uow, held, await latest_job(uow, held.id))
    return None if await current_audio(uow, session) is not None else await latest_job(uow, session.id)


async def render_again(uow: UnitOfWork, session_id: str, audio_key: str) -> bool:
    """Orders a new file in place of one that is not in the store as its row says; False when the row is gone."""
    session = await locked_session(uow, session_id)
    audio = await uow.session.get(SessionAudio, session_id, populate_existing=True)
    if session is None or audio is None or audio.audio_key != audio_key:
        return False
    await uow.session.delete(audio)
    await uow.session.flush()
    await request_audio(uow, session)
    return True


async def _wants_job(uow: UnitOfWork, session: Session) -> bool:
    if await current_audio(uow, session) is not None:
        return False
    known = await latest_job(uow, session.id)
    if known is None or known.open:
        return known is None
    return known.lines_hash != session.lines_hash or not known.cooling_down(uow.now)


async def _add_job(uow: UnitOfWork, session: Session, before: Job | None) -> Job:
    failed = before is not None and before.status == "failed" and before.lines_hash == session.lines_hash
    trace = current_trace()
    job = Job(
        id=str(uuid4()),
        session_id=session.id,
        user_id=session.owner_user_id,
        lines_hash=session.lines_hash,
        failures=before.failures if before is not None and failed else 0,
        available_at=uow.now,
        turn_at=await _turn(uow, session.owner_user_id),
        created_at=uow.now,
        updated_at=uow.now,
        traceparent=trace.traceparent,
        correlation_id=trace.correlation_id,
    )
    uow.session.add(job)
    session.version += 1
    uow.emit(job.requested(session.version))
    await wake_renderers(uow)
    return job


async def wake_renderers(uow: UnitOfWork) -> None:
    """Once this transaction has committed, workers look for a job at once."""
    await uow.session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": JOBS_CHANNEL})


async def _turn(uow: UnitOfWork, user_id: str | None) -> datetime:
    """When it is a new job's turn if everybody waits: as good as in the order of asking, but who asks for much stands
    behind who asks for little, and each waits for a bounded time.
    """
    if user_id is None:
        return uow.now + CATALOGUE_BEHIND
    behind = TURN * await open_jobs_of(uow, user_id)
    return uow.now + behind + (timedelta() if subscribed(await entitlement_of(uow, user_id), uow) else FREE_BEHIND)


async def note_listening(
    uow: UnitOfWork, user_id: str, session: Session, kind: str, details: dict[str, Any] | None
) -> None:
    """Remembers what the user did with a session they can read."""
    uow.session.add(
        ListeningEvent(user_id=user_id, session_id=session.id, kind=kind, details=details, occurred_at=uow.now)
    )


async def tune_curation(uow: UnitOfWork, user_id: str, said: dict[str, str]) -> None:
    """Keeps what the user said about their cards; what they did not speak of stays."""
    row = insert(CurationProfile).values(user_id=user_id, created_at=uow.now, updated_at=uow.now, **said)
    fresh = {**said, "updated_at": uow.now}
    await uow.session.execute(row.on_conflict_do_update(index_elements=["user_id"], set_=fresh))


async def store_entitlement(uow: UnitOfWork, event: SubscriptionChanged) -> None:
    """Keeps the event with the highest sequence, in whatever order they arrive; of deleted users none.

    One that is told again puts right what differs from it, and is counted then.
    """
    if await tombstones.among(uow, [event.user_id]):
        log.info("entitlement_of_erased_user")
        return
    fresh = {
        "plan": event.plan,
        "status": event.status,
        "store": event.store,
        "source": event.source,
        "will_renew": event.will_renew,
        "sequence": event.sequence,
        "expires_at": event.expires_at,
        "renews_at": event.renews_at,
        "updated_at": uow.now,
    }
    row = insert(Entitlement).values(user_id=event.user_id, **fresh)
    newer = col(Entitlement.sequence) < event.sequence
    if event.repeated:
        said = [getattr(Entitlement, name).is_distinct_from(fresh[name]) for name in fresh if name != "updated_at"]
        newer |= (col(Entitlement.sequence) == event.sequence) & or_(*said)
    stored = row.on_conflict_do_update(index_elements=["user_id"], set_=fresh, where=newer)
    if await uow.session.scalar(stored.returning(col(Entitlement.user_id))) is None:
        return
    if event.repeated:
        DIFFERENCES.inc()
        log.error("entitlement_differed", user_id=event.user_id, sequence=event.sequence)
    elif event.heard_at is not None:
        ENTITLED_SECONDS.labels(event.plan).observe((uow.now - event.heard_at).total_seconds())
