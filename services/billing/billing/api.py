"""Billing's HTTP doors for users."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from billing import export, queries
from billing.commands import AskedTooOften, ClaimedByAnother, TooManyClaims
from billing.entitlement import Rules
from billing.models import tombstones
from billing.refreshing import Refresher
from billing.schemas import HistoryView, SubscriptionView, SyncRequest
from common.auth import UserId
from common.db.engine import Database
from common.db.uow import UnitOfWork
from common.web.app import WireRoute
from common.web.erasure import Belongings, refuse_erased
from common.web.openapi import refusals
from common.web.pagination import Paging
from common.web.transactions import Transaction

router = APIRouter(route_class=WireRoute)
PRESENT = [Depends(refuse_erased)]
"""On every route; but where RevenueCat is asked, which no open transaction may wait for, the refresher refuses."""


def _rules(request: Request) -> Rules:
    rules: Rules = request.app.state.rules
    return rules


def _refresher(request: Request) -> Refresher:
    refresher: Refresher = request.app.state.refresher
    return refresher


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


TheRules = Annotated[Rules, Depends(_rules)]
TheDatabase = Annotated[Database, Depends(_database)]


async def _subscription(uow: UnitOfWork, rules: Rules, user_id: str) -> SubscriptionView:
    state, sequence, as_of = await queries.subscription(uow, rules, user_id)
    return SubscriptionView.of(state, sequence, as_of)


@router.get("/me/subscription", dependencies=PRESENT)
async def subscription(uow: Transaction, rules: TheRules, user_id: UserId) -> SubscriptionView:
    """What the user has paid for, as of now."""
    return await _subscription(uow, rules, user_id)


@router.post("/me/subscription/sync", responses=refusals(ClaimedByAnother, TooManyClaims, AskedTooOften))
async def sync(
    user_id: UserId,
    rules: TheRules,
    refresher: Annotated[Refresher, Depends(_refresher)],
    database: TheDatabase,
    asked: SyncRequest | None = None,
) -> SubscriptionView:
    """Reads RevenueCat now and answers within two seconds: with the fresh state, or the last known and its `asOf`.

    Who asks too often has nothing read. `appUserId` claims what was bought under an anonymous id; 409 when it belongs
    to another account, 429 when claims come too quickly.
    """
    if asked is not None and asked.app_user_id is not None:
        await refresher.claim_anonymous(user_id, asked.app_user_id)
    else:
        await refresher.sync(user_id)
    # no transaction was open while RevenueCat was asked
    async with database.transaction() as uow:
        return await _subscription(uow, rules, user_id)


@router.get("/me/subscription/history", dependencies=PRESENT)
async def history(uow: Transaction, rules: TheRules, user_id: UserId, page: Paging) -> HistoryView:
    """Why the plan is what it is: each change with its cause, newest first; and what happens next."""
    changes = await queries.history(uow, user_id, page)
    return HistoryView.of(changes, await queries.outlook(uow, rules, user_id), page)


@router.get("/internal/export", include_in_schema=False, dependencies=PRESENT)
async def export_everything(
    user_id: UserId, database: TheDatabase, uow: Transaction, rules: TheRules
) -> StreamingResponse:
    """Everything billing holds about the user, as it is kept."""
    now = await _subscription(uow, rules, user_id)
    return export.of(Belongings(database, tombstones, user_id), now)
