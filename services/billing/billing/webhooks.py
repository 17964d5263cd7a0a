"""The door for RevenueCat's webhooks."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request, Security
from fastapi.security import APIKeyHeader
from prometheus_client import Counter

from billing import commands
from billing.notice import Notice, parse_notice
from billing.proof import SIGNATURE_HEADERS, NotFromRevenueCat, WebhookProof
from billing.schemas import RevenueCatWebhook, Stored
from billing.showing import redacted
from common.errors import InvalidInput
from common.observability import logger
from common.web.app import WireRoute
from common.web.openapi import raw_body, refusals
from common.web.transactions import Transaction

SIGNATURE = Security(APIKeyHeader(name=SIGNATURE_HEADERS[0], scheme_name="revenuecat", auto_error=False))
"""Named for the published API; what proves the sender is in ``proof``."""

router = APIRouter(route_class=WireRoute, dependencies=[SIGNATURE])
WEBHOOKS = Counter("billing_webhooks_total", "Webhooks of RevenueCat", ["outcome"])
for _outcome in ("stored", "duplicate", "refused", "not_understood"):
    WEBHOOKS.labels(_outcome)
log = logger("webhooks")


async def _proven(request: Request) -> tuple[Notice, bytes]:
    """The notice in a body that is proven to be RevenueCat's."""
    proof: WebhookProof = request.app.state.webhook_proof
    now = request.app.state.database.clock()
    body = await request.body()
    try:
        proof.check(request.headers, body, now)
    except NotFromRevenueCat:
        WEBHOOKS.labels("refused").inc()
        raise
    try:
        notice = parse_notice(body, now)
    except InvalidInput as error:
        WEBHOOKS.labels("not_understood").inc()
        log.warning("webhook_not_understood", problem=error.details or error.message, webhook=redacted(body))
        raise
    structlog.contextvars.bind_contextvars(event_id=notice.id)
    return notice, body


ProvenNotice = Annotated[tuple[Notice, bytes], Depends(_proven)]


@router.post("/webhooks/revenuecat", responses=refusals(NotFromRevenueCat), openapi_extra=raw_body(RevenueCatWebhook))
async def revenuecat(received: ProvenNotice, uow: Transaction) -> Stored:
    """Stores the event and the work it makes; answers 200 once both are safe, and never reads anything itself."""
    notice, body = received
    first = await commands.take_notice(uow, notice, body)
    WEBHOOKS.labels("stored" if first else "duplicate").inc()
    return Stored(duplicate=not first)
