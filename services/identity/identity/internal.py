"""What the gateway asks. These paths are in no route table: from outside they cannot be reached."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from common.auth import AnyCaller
from common.errors import Forbidden
from common.web.app import WireRoute
from common.web.transactions import Transaction
from identity import queries
from identity.links import LONGEST_NAME
from identity.schemas import DeletedUser, SignedOutSession, SignOuts, SubjectUser

MOST_SIGN_OUTS = 10_000
"""Of each kind, the newest: what is older matters least, because its tokens have died."""


def _for_nobody(caller: AnyCaller) -> None:
    """The gateway asks for itself. A user's token, carried here by a service, opens nothing."""
    if caller.user_id is not None:
        raise Forbidden("This is not for users.")


router = APIRouter(
    prefix="/internal", route_class=WireRoute, include_in_schema=False, dependencies=[Depends(_for_nobody)]
)
Name = Annotated[str, Query(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00]*$")]


@router.get("/users")
async def user_of_subject(issuer: Name, subject: Name, uow: Transaction) -> SubjectUser:
    """Whose tokens these are: the linked user's, or the subject is a user itself."""
    link = await queries.link(uow, issuer, subject)
    return SubjectUser(user_id=link.user_id if link else subject)


@router.get("/sign-outs")
async def sign_outs(since: Annotated[AwareDatetime, Query()], uow: Transaction) -> SignOuts:
    """Sessions that ended and users who were deleted since then, for a gateway that may have missed the events."""
    sessions = await queries.sessions_ended_since(uow, since, MOST_SIGN_OUTS)
    users = await queries.users_deleted_since(uow, since, MOST_SIGN_OUTS)
    return SignOuts(
        sessions=[SignedOutSession.of(session) for session in sessions], users=[DeletedUser.of(user) for user in users]
    )
