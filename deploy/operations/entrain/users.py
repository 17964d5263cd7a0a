"""Everything that is known of a user, for support: no secret, and nothing of what they wrote."""

from typing import Any

from sqlalchemy import text

from billing import queries as billing
from billing.models import tombstones
from billing.support import explanation
from common.db.uow import UnitOfWork
from entrain.deployment import Deployment
from entrain.jobs import described
from identity import queries as identity
from identity.models import User
from identity.schemas import DeletionView
from media import queries as media
from media.plans import UNLIMITED, Plans
from media.quota import limits_of

MOST = 10
"""Of each list, the newest."""
NEWEST = 100_000
"""Events of each service that are looked through: most name their user in their body alone, where no index leads."""
_EVENTS = """
    SELECT type, created_at, published_at
    FROM (SELECT * FROM {schema}.outbox ORDER BY id DESC LIMIT :newest) AS told
    WHERE subject = :user_id OR body::json #>> '{{data,userId}}' = :user_id ORDER BY id DESC LIMIT :most
"""


async def ids_of(deployment: Deployment, user: str) -> list[str]:
    """The ids that a user id or an address stands for; an id is taken as it is, known or not."""
    if "@" not in user:
        return [user]
    async with deployment.transaction("identity") as uow:
        return [found.id for found in await identity.users_with_address(uow, user)]


async def known_of(deployment: Deployment, user_id: str) -> dict[str, Any]:
    """Raises what the databases raise."""
    events: list[dict[str, Any]] = []
    async with deployment.transaction("identity") as uow:
        who = await _identity(uow, user_id)
        events += await _events(uow, "identity", user_id)
    async with deployment.transaction("billing") as uow:
        plan = await _plan(deployment, uow, user_id)
        events += await _events(uow, "billing", user_id)
    async with deployment.transaction("media") as uow:
        use = await _use(deployment, uow, user_id)
        events += await _events(uow, "media", user_id)
    newest = sorted(events, key=lambda event: event["createdAt"], reverse=True)[:MOST]
    return {"user": user_id, "identity": who, "billing": plan, "media": use, "events": newest}


async def _identity(uow: UnitOfWork, user_id: str) -> dict[str, Any]:
    user = await identity.user(uow, user_id)
    tombstone = await identity.tombstone(uow, user_id)
    deletion = await identity.deletion_of(uow, user_id)
    receipts = await identity.receipts(uow, deletion.id) if deletion else []
    return {
        "known": _described(user) if user else None,
        "deletedAt": tombstone.deleted_at if tombstone else None,
        "deletion": DeletionView.of(deletion, receipts).model_dump(mode="json", by_alias=True) if deletion else None,
        "links": [
            {"subject": link.subject, "of": link.issuer, "since": link.created_at}
            for link in await identity.links(uow, user_id)
        ],
    }


def _described(user: User) -> dict[str, Any]:
    return {
        "email": user.email,
        "issuer": user.issuer,
        "since": user.created_at,
        "changedAt": user.updated_at,
        "toBeAskedAtClerk": user.lookup_at,
    }


async def _plan(deployment: Deployment, uow: UnitOfWork, user_id: str) -> dict[str, Any]:
    if erased_at := await tombstones.erased_at(uow, user_id):
        return {"erasedAt": erased_at}
    known = await billing.customer(uow, user_id)
    if known is None:
        return {"plan": "free", "sequence": 0, "why": ["nothing was ever heard of the user"]}
    why = await explanation(uow, deployment.billing.rules, user_id)
    return {"plan": known.plan, "sequence": known.sequence, "why": why}


async def _use(deployment: Deployment, uow: UnitOfWork, user_id: str) -> dict[str, Any]:
    settings = deployment.media
    plans = Plans(settings.media_free_tier, settings.media_free_daily_sessions)
    heard = await media.entitlement_of(uow, user_id)
    used = await media.use_on(uow, user_id, uow.now.date())
    limits = await limits_of(uow, plans, user_id)
    sessions = await media.latest_sessions_of(uow, user_id, MOST)
    audio = await media.audio_by_session(uow, [session.id for session in sessions])
    return {
        "plan": {"heard": heard.plan, "status": heard.status, "until": heard.expires_at, "sequence": heard.sequence}
        if heard
        else None,
        "today": {
            "counted": limits.counted,
            "used": used.starts if limits.counted == "starts" else used.creations,
            "allowed": "without limit" if limits.daily == UNLIMITED else limits.daily,
        },
        "sessions": [
            {
                "id": each.id,
                "source": each.source,
                "since": each.created_at,
                "audio": "yes" if each.id in audio else "no",
            }
            for each in sessions
        ],
        "jobs": [described(job) for job in await media.latest_jobs_of(uow, user_id, MOST)],
    }


async def _events(uow: UnitOfWork, schema: str, user_id: str) -> list[dict[str, Any]]:
    """What was told of the user lately; an outbox keeps a week."""
    asked = {"user_id": user_id, "most": MOST, "newest": NEWEST}
    rows = await uow.session.execute(text(_EVENTS.format(schema=schema)), asked)
    return [{"type": row.type, "createdAt": row.created_at, "publishedAt": row.published_at} for row in rows]
