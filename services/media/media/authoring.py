"""The doors at which people's own words come in. They are judged first, outside of any transaction: providers may be
slow, and what is refused leaves nothing behind.
"""

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, Request

from common.auth import UserId
from common.db.engine import Database
from common.errors import Conflict
from common.web.app import WireRoute
from common.web.erasure import refuse_erased_briefly
from common.web.openapi import leads_to, refusals
from media import commands, schemas
from media.models import tombstones
from media.moderation import ContentRefused, CrisisSupport, Moderator
from media.plans import EntitlementRequired, FreeLimitReached
from media.playback import Playback
from media.quota import limits_of, require_own_sessions
from media.views import LEADS_TO_A_SESSION, session_view
from media.writing import Brief, Writer

router = APIRouter(route_class=WireRoute, dependencies=[Depends(refuse_erased_briefly)])


class Authoring:
    """What these doors need."""

    def __init__(self, request: Request) -> None:
        state = request.app.state
        self.database = cast(Database, state.database)
        self.playback = cast(Playback, state.playback)
        self.moderator = cast(Moderator, state.moderator)
        self.writer = cast(Writer, state.writer)


Doors = Annotated[Authoring, Depends(Authoring)]
IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200, pattern="^[!-~]+$")
]
"""One per session that is meant; sent again with the same body it answers the same session."""


@router.post("/affirmations/generate", responses=refusals(EntitlementRequired, ContentRefused, CrisisSupport))
async def generate(body: schemas.GenerateRequest, user: UserId, doors: Doors) -> schemas.GeneratedAffirmations:
    """Writes affirmations for a goal; part of Pro unless free users create sessions here."""
    async with doors.database.transaction() as uow:
        require_own_sessions(await limits_of(uow, doors.playback.plans, user))
    brief = Brief(body.goal or "", body.struggle or "", body.session_type, body.count or 4, tuple(body.values))
    said = [("goal", brief.goal), ("struggle", brief.struggle), *(("values", value) for value in brief.values)]
    await doors.moderator.require_speakable(said)
    return schemas.GeneratedAffirmations(affirmations=await doors.writer.write(brief))


@router.post(
    "/sessions",
    status_code=201,
    responses={
        201: leads_to(**dict.fromkeys(LEADS_TO_A_SESSION, "/id"), getJob="/_audioJobId"),
        **refusals(EntitlementRequired, FreeLimitReached, ContentRefused, CrisisSupport, Conflict),
    },
)
async def create_session(
    body: schemas.DraftSession, user: UserId, doors: Doors, idempotency_key: IdempotencyKey = None
) -> schemas.CreatedSessionView:
    """Creates a session and orders its audio, once per `Idempotency-Key` or `localDraftId`; 409 for another body."""
    commands.require_speakable(body.affirmations)
    said = [("title", body.title), *(("affirmations", line) for line in body.affirmations)]
    await doors.moderator.require_speakable(said)
    key = idempotency_key or (body.local_draft_id.lower() if body.local_draft_id else None)
    async with doors.database.transaction() as uow:
        await tombstones.refuse(uow, user)
        session, job = await commands.create_session(uow, doors.playback.plans, user, body, key)
        view = await session_view(uow, session, user, doors.playback)
    return schemas.CreatedSessionView(**dict(view), audio_job_id=job.id if job else None)
