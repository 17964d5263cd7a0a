"""The door for RevenueCat's webhooks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from billing import commands
from billing.notice import Notice, parse_notice
from billing.proof import WebhookProof
from billing.schemas import Stored
from common.web.app import WireRoute
from common.web.transactions import Transaction

router = APIRouter(route_class=WireRoute)


async def _proven(request: Request) -> tuple[Notice, bytes]:
    """The notice in a body that is proven to be RevenueCat's."""
    proof: WebhookProof = request.app.state.webhook_proof
    now = request.app.state.database.clock()
    body = await request.body()
    proof.check(request.headers, body, now)
    return parse_notice(body, now), body


ProvenNotice = Annotated[tuple[Notice, bytes], Depends(_proven)]


@router.post("/webhooks/revenuecat")
async def revenuecat(received: ProvenNotice, uow: Transaction) -> Stored:
    """Stores the event and the work it makes; answers 200 once both are safe, and never reads anything itself."""
    notice, body = received
    return Stored(duplicate=not await commands.take_notice(uow, notice, body))
