"""Media's HTTP doors."""

import re
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import RedirectResponse, StreamingResponse

from common.auth import UserId
from common.errors import DomainError, Forbidden, NotFound
from common.web.app import WireRoute
from common.web.erasure import Belongings, refuse_erased
from common.web.openapi import leads_to, refusals, with_headers
from common.web.pagination import Paging
from common.web.transactions import Transaction
from media import commands, curation, export, schemas
from media.grants import unseal
from media.ids import UUID_SHAPE
from media.models import CurationProfile, Session, tombstones
from media.plans import FreeLimitReached
from media.playback import AudioNotReady, Playback
from media.queries import (
    curation_profile,
    current_audio,
    grant_keys,
    last_event_kinds,
    most_finished,
    readable_job,
    readable_session,
    sessions_page,
)
from media.quota import grant_start
from media.views import LEADS_TO_A_SESSION, job_view, session_view
from media.voices import VOICES

router = APIRouter(route_class=WireRoute, dependencies=[Depends(refuse_erased)])
"""Whoever calls is verified first, on every route, before anything else of the request is looked at."""

_UUID = re.compile(UUID_SHAPE)


class InvalidSessionId(DomainError):
    """This is not a session id."""

    code = "INVALID_SESSION_ID"


def session_id(
    identity: Annotated[
        str,
        Path(alias="id", examples=[schemas.EXAMPLE_SESSION], json_schema_extra={"pattern": UUID_SHAPE}),
    ],
) -> str:
    if not _UUID.fullmatch(identity):
        problem = {"formErrors": [], "fieldErrors": {"id": ["Invalid uuid"]}}
        raise InvalidSessionId("This is not a session id.", details=problem)
    return identity.lower()


def playback(request: Request) -> Playback:
    return cast(Playback, request.app.state.playback)


SessionId = Annotated[str, Depends(session_id)]
JobId = Annotated[str, Path(alias="id", json_schema_extra={"pattern": UUID_SHAPE})]
Playing = Annotated[Playback, Depends(playback)]
NO_SUCH_SESSION = refusals(InvalidSessionId, NotFound)
Grant = Annotated[str, Path(json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"})]


@router.get("/me/entitlement")
async def entitlement(uow: Transaction, user: UserId, playing: Playing) -> schemas.EntitlementView:
    """The plan at this instant, its limits, and what is left of today."""
    return await playing.entitlement(uow, user)


@router.get("/sessions", responses={200: leads_to(**dict.fromkeys(LEADS_TO_A_SESSION, "/sessions/0/id"))})
async def list_sessions(uow: Transaction, user: UserId, page: Paging) -> schemas.SessionPage:
    """The catalogue and the user's own sessions, newest first."""
    rows, more = page.cut(await sessions_page(uow, user, page.fetch, page.offset))
    summaries = [schemas.SessionSummary(id=row.id, title=row.title, goal_tag=row.goal_tag) for row in rows]
    return schemas.SessionPage(sessions=summaries, limit=page.limit, offset=page.offset, has_more=more)


@router.get("/sessions/{id}", responses=NO_SUCH_SESSION)
async def get_session(identity: SessionId, uow: Transaction, user: UserId, playing: Playing) -> schemas.SessionView:
    """One session; `audio` is there once it has been made."""
    return await session_view(uow, await readable_session(uow, identity, user), user, playing)


@router.delete("/sessions/{id}", responses=refusals(InvalidSessionId, Forbidden, NotFound))
async def delete_session(identity: SessionId, uow: Transaction, user: UserId) -> schemas.Success:
    """Deletes a session of the user's own; what it counted stays counted."""
    await commands.delete_session(uow, user, identity)
    return schemas.Success()


@router.post("/sessions/{id}/ensure-audio", responses={200: leads_to(getJob="/jobId"), **NO_SUCH_SESSION})
async def ensure_audio(identity: SessionId, uow: Transaction, user: UserId) -> schemas.AudioState:
    """Whether the audio is there, else the job that makes it; a failed job is answered until its cool-down is over."""
    session = await readable_session(uow, identity, user)
    job = await commands.request_audio(uow, session)
    return schemas.AudioState(status="pending", job_id=job.id) if job else schemas.AudioState(status="ready")


@router.get(
    "/jobs/{id}", responses={200: leads_to(**dict.fromkeys(LEADS_TO_A_SESSION, "/job/sessionId")), **refusals(NotFound)}
)
async def get_job(identity: JobId, uow: Transaction, user: UserId) -> schemas.JobAnswer:
    """How far a job is; ask again after `retryAfterSeconds`."""
    if not _UUID.fullmatch(identity):
        raise NotFound("There is no such job.")
    job = await readable_job(uow, identity.lower(), user)
    return schemas.JobAnswer(job=job_view(job, uow.now))


@router.get("/sessions/{id}/playback-bundle", responses=refusals(InvalidSessionId, NotFound, AudioNotReady))
async def playback_bundle(
    identity: SessionId, uow: Transaction, user: UserId, playing: Playing
) -> schemas.BundleAnswer:
    """What a player needs; 404 AUDIO_NOT_READY while there is no audio. Counts nothing."""
    session = await readable_session(uow, identity, user)
    return schemas.BundleAnswer(bundle=await playing.bundle(uow, session, user))


@router.post("/sessions/{id}/start", responses=refusals(InvalidSessionId, FreeLimitReached, NotFound, AudioNotReady))
async def start_session(identity: SessionId, uow: Transaction, user: UserId, playing: Playing) -> schemas.StartAnswer:
    """Counts the first start of this session today, then as the playback bundle; 403 FREE_LIMIT_REACHED."""
    session = await readable_session(uow, identity, user)
    if await current_audio(uow, session) is None:
        raise AudioNotReady(session.id)
    await grant_start(uow, playing.plans, user, session)
    bundle = await playing.bundle(uow, session, user)
    return schemas.StartAnswer(bundle=bundle, entitlement=await playing.entitlement(uow, user))


@router.get(
    "/play/{grant}",
    status_code=302,
    response_class=RedirectResponse,
    responses={302: with_headers("Location"), **refusals(FreeLimitReached, NotFound, AudioNotReady)},
)
@router.head("/play/{grant}", status_code=302, response_class=RedirectResponse, include_in_schema=False)
async def play(grant: Grant, uow: Transaction, playing: Playing) -> RedirectResponse:
    """Leads a player to the signed audio; the first fetch of a session on a day is its start."""
    found = unseal(grant, await grant_keys(uow), uow.now)
    if found is None or await tombstones.among(uow, [found.user_id]):
        raise NotFound("This play link is not valid any more; ask for the session again.")
    session = await readable_session(uow, found.session_id, found.user_id)
    audio = await current_audio(uow, session)
    if audio is None:
        raise AudioNotReady(session.id)
    await grant_start(uow, playing.plans, found.user_id, session)
    return RedirectResponse(await playing.urls.url(audio.audio_key), 302, {"Cache-Control": "no-store"})


@router.post("/sessions/{id}/events", responses=NO_SUCH_SESSION)
async def note_event(
    identity: SessionId, body: schemas.ListeningEventRequest, uow: Transaction, user: UserId
) -> schemas.Success:
    """Remembers what the user did with a session they can read; their cards follow from it."""
    session = await readable_session(uow, identity, user)
    await commands.note_listening(uow, user, session, body.event_type, body.metadata)
    return schemas.Success()


@router.get("/me/curation")
async def cards(
    uow: Transaction,
    user: UserId,
    hour: Annotated[int | None, Query(ge=0, le=23, description="the user's own hour; else that of UTC")] = None,
) -> schemas.CardsAnswer:
    """Cards for the home screen, each slot at most once."""
    profile, best = await curation_profile(uow, user), await most_finished(uow, user)
    found = curation.cards(
        await last_event_kinds(uow, user), _wishes(profile), _best(best), uow.now.hour if hour is None else hour
    )
    return schemas.CardsAnswer(cards=[_card_view(card) for card in found])


@router.get("/me/curation/preferences")
async def curation_preferences(uow: Transaction, user: UserId) -> schemas.CurationPreferencesAnswer:
    """What the user has said about their cards."""
    profile = await curation_profile(uow, user)
    known = schemas.CurationPreferences(**profile.model_dump()) if profile else None
    return schemas.CurationPreferencesAnswer(preferences=known)


@router.post("/me/curation/preferences")
async def tune_curation(body: schemas.TuneRequest, uow: Transaction, user: UserId) -> schemas.Success:
    """Keeps what is said; what is left out stays as it is."""
    await commands.tune_curation(uow, user, body.model_dump(exclude_none=True))
    return schemas.Success()


@router.get("/voices")
async def voices(_: UserId) -> schemas.VoicesAnswer:
    """The voices a listener can choose."""
    return schemas.VoicesAnswer(voices=list(VOICES))


@router.get("/internal/export", include_in_schema=False)
async def export_everything(user: UserId, playing: Playing, request: Request) -> StreamingResponse:
    """Everything media holds about the user, as it is kept; audio as signed URLs."""
    return export.of(Belongings(request.app.state.database, tombstones, user), playing.urls)


def _wishes(profile: CurationProfile | None) -> curation.Wishes:
    if profile is None:
        return curation.Wishes()
    return curation.Wishes(
        cast("curation.Goal | None", profile.primary_goal),
        cast("curation.VoicePreference | None", profile.voice_preference),
    )


def _best(found: tuple[Session, int] | None) -> curation.Best | None:
    if found is None:
        return None
    session, times = found
    return curation.Best(session.title, session.goal_tag, session.voice_id, session.brainwave_state, times)


def _card_view(card: curation.Card) -> schemas.CardView:
    return schemas.CardView(
        slot=card.slot,
        title=card.title,
        duration=card.duration,
        voice_id=card.voice_id,
        brain_layer_preset=card.preset,
        background_id=card.background_id,
        why_text=card.why,
    )
