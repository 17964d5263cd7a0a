"""What changes media's state. Each runs within the caller's transaction."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from common.contracts.billing import SubscriptionChanged
from common.db.uow import UnitOfWork
from common.errors import Conflict, InvalidInput
from media.beds import frequency_for
from media.lines import normalise
from media.models import Entitlement, Job, PlayGrant, Session, SessionLine
from media.plans import Plans
from media.queries import current_audio, latest_job, session_by_key
from media.quota import grant_creation
from media.schemas import DraftSession
from media.speech import Unspeakable

JOBS_CHANNEL = "media_jobs"
GRANT_LIFETIME = timedelta(hours=6)


def hash_of_lines(lines: Sequence[str]) -> str:
    return hashlib.sha256("|".join(lines).encode()).hexdigest()


def goal_tag_of(spoken: str | None) -> str | None:
    """The tag behind any spelling: "Anxiety Relief" is `anxiety-relief`."""
    return "-".join((spoken or "").lower().split()) or None


async def create_session(
    uow: UnitOfWork, plans: Plans, user_id: str, draft: DraftSession, key: str | None
) -> tuple[Session, Job | None]:
    """Creates the session, its lines and its job, once per key. Raises Conflict when the key came with another body."""
    require_speakable(draft.affirmations)
    request_hash = _hash_of_request(draft)
    if key is not None:
        await uow.session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"{user_id} {key}"})
        if (known := await session_by_key(uow, user_id, key)) is not None:
            if known.request_hash != request_hash:
                raise Conflict("This key was used for another session; send a new one.")
            return known, await latest_job(uow, known.id)
    await grant_creation(uow, plans, user_id)
    session = _session_of(uow, user_id, draft, key, request_hash)
    await add_session(uow, session, draft.affirmations)
    return session, await request_audio(uow, session)


async def add_session(uow: UnitOfWork, session: Session, lines: Sequence[str]) -> None:
    uow.session.add(session)
    await uow.session.flush()
    rows = [{"session_id": session.id, "position": place, "text": line} for place, line in enumerate(lines)]
    await uow.session.execute(insert(SessionLine), rows)
    uow.emit(session.created())


def require_speakable(lines: Sequence[str]) -> None:
    """Raises InvalidInput naming the first line no voice can say."""
    for place, line in enumerate(lines):
        try:
            normalise(line)
        except Unspeakable as refusal:
            problem = f"Line {place + 1}: {refusal}"
            raise InvalidInput(
                problem, details={"formErrors": [], "fieldErrors": {"affirmations": [problem]}}
            ) from None


def _hash_of_request(draft: DraftSession) -> str:
    body = draft.model_dump(mode="json", exclude={"local_draft_id"})
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _session_of(uow: UnitOfWork, user_id: str, draft: DraftSession, key: str | None, request_hash: str) -> Session:
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
        lines_hash=hash_of_lines(draft.affirmations),
        idempotency_key=key,
        request_hash=request_hash,
        created_at=uow.now,
        updated_at=uow.now,
    )


async def request_audio(uow: UnitOfWork, session: Session) -> Job | None:
    """The job that makes the session's file: the open one, a failed one still cooling down, or a new one.

    None when the file is there. However many ask at once, one job is open per session.
    """
    if await current_audio(uow, session) is not None:
        return None
    known = await latest_job(uow, session.id)
    if known is not None and (known.status in ("pending", "processing") or known.cooling_down(uow.now)):
        return known
    job = Job(
        id=str(uuid4()),
        session_id=session.id,
        user_id=session.owner_user_id,
        lines_hash=session.lines_hash,
        available_at=uow.now,
        created_at=uow.now,
        updated_at=uow.now,
    )
    row = insert(Job).values(**job.model_dump()).on_conflict_do_nothing().returning(col(Job.id))
    added = await uow.session.execute(row)
    if added.scalar_one_or_none() is None:
        return await latest_job(uow, session.id)
    await uow.session.refresh(session, with_for_update=True)
    session.version += 1
    uow.emit(job.requested(session.version))
    await uow.session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": JOBS_CHANNEL})
    return job


async def issue_grant(uow: UnitOfWork, user_id: str, session_id: str) -> str:
    """A token with which a player, which sends no session token, starts this session for this user."""
    await uow.session.execute(
        delete(PlayGrant).where(col(PlayGrant.user_id) == user_id, col(PlayGrant.expires_at) < uow.now)
    )
    token = secrets.token_urlsafe(32)
    uow.session.add(
        PlayGrant(
            token_hash=hash_of_token(token),
            user_id=user_id,
            session_id=session_id,
            expires_at=uow.now + GRANT_LIFETIME,
        )
    )
    return token


def hash_of_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def store_entitlement(uow: UnitOfWork, event: SubscriptionChanged) -> None:
    """Keeps the event with the highest sequence, in whatever order they arrive."""
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
    await uow.session.execute(row.on_conflict_do_update(index_elements=["user_id"], set_=fresh, where=newer))
