"""The door for Clerk's webhooks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from prometheus_client import Counter

from common.db.uow import UnitOfWork
from common.errors import NotFound
from common.observability import logger
from common.web.app import WireRoute
from common.web.openapi import raw_body, refusals
from common.web.transactions import Transaction
from identity import commands
from identity.clerk_events import KNOWN_TYPES, Notice, SignedOut, UserGone, read_webhook
from identity.deletions import delete_account
from identity.models import Profile
from identity.schemas import ClerkWebhook, WebhookTaken
from identity.svix import NotFromClerk, SvixProof

WEBHOOKS = Counter("identity_webhooks_total", "Webhooks of the identity provider", ["type", "outcome"])
log = logger("webhooks")
router = APIRouter(route_class=WireRoute)


class WebhooksNotConfigured(NotFound):
    """Webhooks are not taken here: no signing secret is configured."""

    # not a 503: nothing is down, and the gateway would rest a service that says so to anybody who asks
    code = "WEBHOOKS_NOT_CONFIGURED"

    def __init__(self) -> None:
        super().__init__("Webhooks are not taken here: no signing secret is configured.")


async def _proven(request: Request) -> Notice:
    """What a body says that is proven to be Clerk's."""
    proof: SvixProof = request.app.state.webhook_proof
    if not proof.configured:
        raise WebhooksNotConfigured
    now = request.app.state.database.clock()
    body = await request.body()
    message_id = proof.check(request.headers, body, now)
    return read_webhook(message_id, body, request.app.state.clerk_instance_id, now)


@router.post(
    "/webhooks/clerk",
    responses=refusals(NotFromClerk, WebhooksNotConfigured),
    openapi_extra=raw_body(ClerkWebhook) | {"security": []},
)
async def clerk(notice: Annotated[Notice, Depends(_proven)], uow: Transaction) -> WebhookTaken:
    """Takes the event in one transaction and answers 200 once it is safe; what was seen before changes nothing."""
    first = await commands.first_webhook(uow, notice.id, notice.type)
    outcome = await _take(uow, notice) if first else "duplicate"
    WEBHOOKS.labels(notice.type if notice.type in KNOWN_TYPES else "other", outcome).inc()
    log.info("webhook", message_id=notice.id, type=notice.type, outcome=outcome)
    return WebhookTaken(duplicate=not first)


async def _take(uow: UnitOfWork, notice: Notice) -> str:
    match notice.fact:
        case Profile() as profile:
            return "taken" if await commands.take_profile(uow, profile) else "of_deleted_user"
        case SignedOut() as signed_out:
            return "taken" if await commands.end_session(uow, signed_out) else "of_deleted_user"
        case UserGone(user_id):
            await delete_account(uow, user_id, through_provider=False, gone_there=True)
            return "taken"
        case None:
            return "not_for_us"
