"""Events owned by identity."""

from datetime import datetime
from typing import ClassVar

from common.contracts.event import Event


class UserRegistered(Event):
    """A user was seen, or told of by the identity provider, for the first time."""

    type: ClassVar[str] = "identity.user_registered.v1"

    user_id: str
    """The user: the subject of their tokens."""
    issuer: str
    """Who signs their tokens; `clerk` until a first token has named the issuer."""
    email: str | None = None
    """Their verified primary address; absent while there is none."""


class UserChanged(Event):
    """A user's address changed at the identity provider, or the issuer became known."""

    type: ClassVar[str] = "identity.user_changed.v1"

    user_id: str
    """The user."""
    issuer: str
    """Who signs their tokens; `clerk` until a first token has named the issuer."""
    email: str | None = None
    """Their verified primary address now; absent while there is none."""


class UserDeleted(Event):
    """An account was deleted, by its owner or at the identity provider: everything held about the user must go."""

    type: ClassVar[str] = "identity.user_deleted.v1"

    user_id: str
    """The user who is no more."""
    issuer: str
    """Who signed their tokens; `clerk` when none ever came."""
    deletion_id: str | None = None
    """The deletion that waits for receipts; absent when nobody waits for one."""


class SessionEnded(Event):
    """The identity provider ended a signed-in session: its tokens must not be accepted any longer."""

    type: ClassVar[str] = "identity.session_ended.v1"
    about: ClassVar[str] = "session_id"

    session_id: str
    """The session, as tokens name it in `sid`."""
    user_id: str
    """Whose session it was."""
    ended_at: datetime
    """Since when its tokens must be refused."""
