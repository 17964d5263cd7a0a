"""Rows as the wire shows them."""

import json
from datetime import datetime

from common.db.uow import UnitOfWork
from media import schemas
from media.models import Job, Session
from media.playback import Playback
from media.queries import lines_of

LEADS_TO_A_SESSION = (
    "getSession",
    "postSessionEnsureAudio",
    "getSessionPlaybackBundle",
    "postSessionStart",
    "postSessionEvents",
    "deleteSession",
)
"""By operationId: what can be asked about a session once its id is known."""


async def session_view(uow: UnitOfWork, session: Session, user: str, playing: Playback) -> schemas.SessionView:
    return schemas.SessionView(
        id=session.id,
        owner_user_id=session.owner_user_id,
        source=session.source,
        title=session.title,
        goal_tag=session.goal_tag,
        affirmations=await lines_of(uow, session.id),
        voice_id=session.voice_id,
        frequency_hz=session.frequency_hz,
        brainwave_state=session.brainwave_state,
        solfeggio_hz=session.solfeggio_hz,
        audio=await playing.audio_view(uow, session, user),
        created_at=session.created_at,
        updated_at=session.updated_at,
    )


def job_view(job: Job, now: datetime) -> schemas.JobView:
    done = json.dumps({"sessionId": job.session_id}) if job.status == "completed" else None
    return schemas.JobView(
        id=job.id,
        status=job.status,
        stage=job.stage,
        percent=job.percent,
        payload=json.dumps({"sessionId": job.session_id}),
        result=done,
        error=job.error if job.status == "failed" else None,
        attempts=job.attempts,
        retry_after_seconds=job.retry_after(now),
        session_id=job.session_id,
        user_id=job.user_id,
        started_at=job.started_at,
        finished_at=job.finished_at,
        created_at=job.created_at,
        updated_at=job.updated_at,
    )
