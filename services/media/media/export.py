"""Everything media holds about a user, as a document they can take along."""

import asyncio
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.responses import StreamingResponse

from common.db.uow import UnitOfWork
from common.web.erasure import Belongings, as_json, streamed
from media import queries
from media.delivery import AudioUrls, SignedUrl
from media.models import (
    CurationProfile,
    DailyUse,
    Entitlement,
    Job,
    ListeningEvent,
    Session,
    SessionAudio,
    SessionStart,
)


@dataclass(frozen=True, slots=True)
class Whole:
    """A session with what belongs to it."""

    session: Session
    lines: list[str]
    audio: SessionAudio | None
    url: SignedUrl | None


def of(belongings: Belongings, urls: AudioUrls) -> StreamingResponse:
    """Audio is given as URLs, good for as long as each says."""

    async def sessions(uow: UnitOfWork, user_id: str, last: Whole | None) -> Sequence[Whole]:
        return await _sessions(uow, user_id, last, urls)

    lists: dict[str, AsyncIterable[str]] = {
        "entitlements": belongings.all(_entitlement_once, _entitlement),
        "sessions": belongings.all(sessions, _session),
        "jobs": belongings.all(queries.jobs_after, _job),
        "days": belongings.all(queries.days_after, _day),
        "starts": belongings.all(queries.starts_after, _start),
        "listening": belongings.all(queries.events_after, _event),
        "curation": belongings.all(_curation_once, _curation),
    }
    return streamed({}, lists)


async def _sessions(uow: UnitOfWork, user_id: str, last: Whole | None, urls: AudioUrls) -> Sequence[Whole]:
    page = await queries.sessions_after(uow, user_id, last.session if last else None)
    ids = [session.id for session in page]
    lines, audio = await queries.lines_by_session(uow, ids), await queries.audio_by_session(uow, ids)
    # signing is arithmetic: nobody outside is asked
    signed = await asyncio.gather(*(urls.signed(audio[one].audio_key) for one in audio))
    url = dict(zip(audio, signed, strict=True))
    return [Whole(each, lines[each.id], audio.get(each.id), url.get(each.id)) for each in page]


def _session(whole: Whole) -> str:
    session = whole.session
    return as_json(
        {
            "id": session.id,
            "source": session.source,
            "title": session.title,
            "goalTag": session.goal_tag,
            "voiceId": session.voice_id,
            "frequencyHz": session.frequency_hz,
            "brainwaveState": session.brainwave_state,
            "solfeggioHz": session.solfeggio_hz,
            "affirmations": whole.lines,
            "idempotencyKey": session.idempotency_key,
            "createdAt": session.created_at,
            "updatedAt": session.updated_at,
            "audio": _audio(whole.audio, whole.url) if whole.audio and whole.url else None,
        }
    )


def _audio(audio: SessionAudio, url: SignedUrl) -> dict[str, Any]:
    return {
        "url": url.text,
        "urlExpiresAt": url.expires_at,
        "durationMs": audio.duration_ms,
        "loudnessLufs": audio.loudness_lufs,
        "truePeakDbtp": audio.true_peak_dbtp,
        "bytes": audio.size_bytes,
        "engine": audio.engine,
        "segments": audio.segments,
        "generatedAt": audio.generated_at,
    }


def _job(job: Job) -> str:
    return as_json(
        {
            "id": job.id,
            "sessionId": job.session_id,
            "status": job.status,
            "stage": job.stage,
            "percent": job.percent,
            "attempts": job.attempts,
            "errorCode": job.error_code,
            "error": job.error,
            "createdAt": job.created_at,
            "updatedAt": job.updated_at,
            "startedAt": job.started_at,
            "finishedAt": job.finished_at,
        }
    )


def _day(use: DailyUse) -> str:
    return as_json({"day": use.day, "starts": use.starts, "creations": use.creations})


def _start(start: SessionStart) -> str:
    return as_json({"day": start.day, "sessionId": start.session_id, "startedAt": start.started_at})


def _event(event: ListeningEvent) -> str:
    return as_json(
        {
            "sessionId": event.session_id,
            "eventType": event.kind,
            "metadata": event.details,
            "occurredAt": event.occurred_at,
        }
    )


async def _curation_once(uow: UnitOfWork, user_id: str, last: CurationProfile | None) -> Sequence[CurationProfile]:
    row = None if last else await queries.curation_profile(uow, user_id)
    return [row] if row else []


def _curation(row: CurationProfile) -> str:
    return as_json(
        {
            "primaryGoal": row.primary_goal,
            "voicePreference": row.voice_preference,
            "soundPreference": row.sound_preference,
            "createdAt": row.created_at,
            "updatedAt": row.updated_at,
        }
    )


async def _entitlement_once(uow: UnitOfWork, user_id: str, last: Entitlement | None) -> Sequence[Entitlement]:
    row = None if last else await queries.entitlement_of(uow, user_id)
    return [row] if row else []


def _entitlement(row: Entitlement) -> str:
    return as_json(
        {
            "plan": row.plan,
            "status": row.status,
            "store": row.store,
            "source": row.source,
            "willRenew": row.will_renew,
            "expiresAt": row.expires_at,
            "renewsAt": row.renews_at,
            "updatedAt": row.updated_at,
        }
    )
