"""What Clerk's webhooks say, as far as it concerns us. Metadata, names and all else they carry are not looked at."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.clock import from_milliseconds
from common.errors import InvalidInput
from common.web.text import storable
from identity.models import Profile

LONGEST_EMAIL = 320
_ID = re.compile(r"[A-Za-z0-9_.:|@-]{1,128}")
_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_USER_TYPES = frozenset({"user.created", "user.updated"})
_SESSION_TYPES = frozenset({"session.ended", "session.removed", "session.revoked"})
KNOWN_TYPES = _USER_TYPES | _SESSION_TYPES | {"user.deleted"}


class NotUnderstood(InvalidInput):
    def __init__(self, what: str) -> None:
        super().__init__(f"The webhook cannot be understood: {what}.")


@dataclass(frozen=True, slots=True)
class UserGone:
    user_id: str


@dataclass(frozen=True, slots=True)
class SignedOut:
    session_id: str
    user_id: str
    ended_at: datetime


Fact = Profile | UserGone | SignedOut


@dataclass(frozen=True, slots=True)
class Notice:
    """A webhook. ``fact`` is None when it tells nothing that we keep."""

    id: str
    type: str
    fact: Fact | None


def read_webhook(message_id: str, body: bytes, instance_id: str | None, now: datetime) -> Notice:
    """Reads a body that is proven to be Clerk's. Raises NotUnderstood, also for a webhook of another instance."""
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        raise NotUnderstood("it is not JSON") from None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("data"), dict):
        raise NotUnderstood("data must be an object")
    sender = envelope.get("instance_id")
    if instance_id is not None and sender is not None and sender != instance_id:
        raise NotUnderstood("it is of another instance")
    kind = envelope.get("type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise NotUnderstood("type must be a name")
    return Notice(message_id, kind, _fact(kind, envelope["data"], envelope.get("timestamp"), now))


def _fact(kind: str, data: Mapping[str, Any], timestamp: Any, now: datetime) -> Fact | None:
    if kind in _USER_TYPES:
        return read_profile(data)
    if kind == "user.deleted":  # Clerk's own types let the id be absent: then there is nobody to delete
        return UserGone(_id(data, "id")) if data.get("id") is not None else None
    if kind in _SESSION_TYPES and data.get("user_id") is not None:
        ended_at = now if timestamp is None else min(_instant(timestamp, "timestamp"), now)
        return SignedOut(_id(data, "id"), _id(data, "user_id"), ended_at)
    return None


def read_profile(user: Mapping[str, Any]) -> Profile:
    """A user object, as webhooks and the Backend API show it. Raises NotUnderstood."""
    return Profile(_id(user, "id"), _verified_email(user), _instant(user.get("updated_at"), "updated_at"))


def _verified_email(user: Mapping[str, Any]) -> str | None:
    """The primary address, once its owner has proven that it is theirs."""
    addresses, primary = user.get("email_addresses"), user.get("primary_email_address_id")
    if not isinstance(addresses, list) or not isinstance(primary, str):
        return None
    for address in addresses:
        if isinstance(address, dict) and address.get("id") == primary:
            verification = address.get("verification")
            verified = isinstance(verification, dict) and verification.get("status") == "verified"
            return _email(address.get("email_address")) if verified else None
    return None


def _email(value: Any) -> str | None:
    if not isinstance(value, str) or not 3 <= len(value) <= LONGEST_EMAIL or "\0" in value:
        return None
    return str(storable(value))


def _id(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise NotUnderstood(f"{name} must be an id")
    return value


def _instant(value: Any, name: str) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise NotUnderstood(f"{name} must be a time in milliseconds")
    try:
        return from_milliseconds(value)
    except (ValueError, OverflowError, OSError):
        raise NotUnderstood(f"{name} must be a time in milliseconds") from None
