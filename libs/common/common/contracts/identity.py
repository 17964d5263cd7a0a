"""Events owned by identity."""

from datetime import datetime
from typing import ClassVar

from common.contracts.event import Event


class UserRegistered(Event):
    type: ClassVar[str] = "identity.user_registered.v1"

    user_id: str
    issuer: str
    email: str | None = None


class UserChanged(Event):
    type: ClassVar[str] = "identity.user_changed.v1"

    user_id: str
    issuer: str
    email: str | None = None


class UserDeleted(Event):
    type: ClassVar[str] = "identity.user_deleted.v1"

    user_id: str
    issuer: str
    deletion_id: str | None = None


class SessionEnded(Event):
    """The identity provider ended a signed-in session: its tokens must not be accepted any longer."""

    type: ClassVar[str] = "identity.session_ended.v1"
    about: ClassVar[str] = "session_id"

    session_id: str
    user_id: str
    ended_at: datetime
