"""Which subjects of other issuers are one of our users: decided by an operator, believed by the gateway."""

from sqlalchemy import delete
from sqlmodel import col

from common.db.uow import UnitOfWork
from common.errors import Conflict, InvalidInput, NotFound
from identity import queries
from identity.models import Link

LONGEST_NAME = 512
"""Characters of an issuer or a subject."""


class SubjectTaken(Conflict):
    """The link would make one person two users, or one user two persons."""


async def link_subject(uow: UnitOfWork, issuer: str, subject: str, user_id: str) -> bool:
    """Makes the subject the user; False when it is already. Raises InvalidInput, NotFound or SubjectTaken."""
    for name in (issuer, subject):
        if not 1 <= len(name) <= LONGEST_NAME or "\0" in name:
            raise InvalidInput(f"an issuer or a subject has 1 to {LONGEST_NAME} characters")
    if subject == user_id:
        raise InvalidInput(f"{subject} is the user already: without a link a subject is itself a user")
    for each in sorted({subject, user_id}):  # in one order everywhere, so that two links never wait for each other
        await queries.hold_subject(uow, each)
    linked = await queries.link(uow, issuer, subject)
    if linked is not None and linked.user_id == user_id:
        return False
    if linked is not None:
        raise SubjectTaken(f"{subject} of {issuer} is linked to {linked.user_id}: unlink it first")
    if await queries.user(uow, user_id) is None:
        raise NotFound(f"there is no user {user_id}")
    if await queries.user(uow, subject) is not None:
        raise SubjectTaken(f"{subject} has signed in and is a user with data of its own: delete that account first")
    if await queries.tombstone(uow, subject) is not None:
        raise SubjectTaken(f"{subject} was a user whose account is deleted")
    uow.session.add(Link(issuer=issuer, subject=subject, user_id=user_id, created_at=uow.now))
    return True


async def unlink_subject(uow: UnitOfWork, issuer: str, subject: str) -> str:
    """Ends the link and returns whose it was: the subject becomes a user of its own. Raises NotFound."""
    await queries.hold_subject(uow, subject)
    here = (col(Link.issuer) == issuer, col(Link.subject) == subject)
    user_id = await uow.session.scalar(delete(Link).where(*here).returning(col(Link.user_id)))
    if user_id is None:
        raise NotFound(f"{subject} of {issuer} is not linked")
    return str(user_id)
