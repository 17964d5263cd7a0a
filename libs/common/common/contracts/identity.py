"""Events owned by identity."""

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
