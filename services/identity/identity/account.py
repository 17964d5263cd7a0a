"""The doors of a user to their account as a whole: deleting it, following that, and taking everything along."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from common.auth import AnyCaller, UserId
from common.db.engine import Database
from common.errors import Forbidden, NotFound
from common.web.app import WireRoute
from common.web.openapi import leads_to, refusals
from common.web.transactions import Transaction
from identity import commands, queries
from identity.deletions import delete_account
from identity.exporting import Exporters, ExportResponse, held_here
from identity.schemas import DELETION_ID, DeletionStarted, DeletionView, ExportView
from identity.subscriptions import Subscriptions

router = APIRouter(route_class=WireRoute)
_DELETION_ID = re.compile(DELETION_ID)


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


TheDatabase = Annotated[Database, Depends(_database)]
"""For doors that ask another service: no transaction may be open meanwhile."""


@router.delete("/me", status_code=202, responses={202: leads_to(getMeDeletion="/deletionId"), **refusals(Forbidden)})
async def delete_me(request: Request, user_id: UserId, caller: AnyCaller, database: TheDatabase) -> DeletionStarted:
    """Deletes the account and everything held about it, everywhere. Keep `deletionId`: it shows how far that is.

    A subscription goes on billing until it is ended at its store; `subscription` names it.
    """
    if caller.actor is not None:
        raise Forbidden("Only the user can delete the account, not somebody acting for them.")
    subscriptions: Subscriptions = request.app.state.subscriptions
    subscription = await subscriptions.still_billing(request.headers["authorization"])
    through_provider: bool = request.app.state.deletes_at_provider
    async with database.transaction() as uow:
        deletion = await delete_account(uow, user_id, caller.issuer, through_provider=through_provider)
    return DeletionStarted(deletion_id=deletion.id, status=deletion.status, subscription=subscription)


@router.get("/me/deletions/{id}", responses=refusals(NotFound))
async def deletion(
    identity: Annotated[str, Path(alias="id", json_schema_extra={"pattern": DELETION_ID})],
    uow: Transaction,
    _: AnyCaller,
    response: Response,
) -> DeletionView:
    """How far a deletion is, store by store. Needs no sign-in: whoever was given the id may ask."""
    found = await queries.deletion(uow, identity) if _DELETION_ID.fullmatch(identity) else None
    if found is None:
        raise NotFound("There is no such deletion.")
    response.headers["Cache-Control"] = "no-store"
    return DeletionView.of(found, await queries.receipts(uow, found.id))


@router.get("/me/export", response_model=ExportView)
async def export(request: Request, user_id: UserId, caller: AnyCaller, database: TheDatabase) -> Response:
    """Everything held about the user, from every service, as one JSON document."""
    async with database.transaction() as uow:
        user = await commands.register_at_first_sight(uow, user_id, caller.issuer)
        held, at = await held_here(uow, user), uow.now
    exporters: Exporters = request.app.state.exporters
    parts = await exporters.open(request.headers["authorization"])
    return ExportResponse(user.id, held, parts, at)
