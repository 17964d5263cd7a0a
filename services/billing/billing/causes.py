"""Why something happens to a subscription, in words that support and the user understand."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from billing.notice import Notice

CauseKind = Literal["webhook", "provisional", "check", "time", "sync", "claim", "reconcile"]


@dataclass(frozen=True, slots=True)
class Cause:
    kind: CauseKind
    text: str
    event_id: str | None = None
    event_type: str | None = None
    heard_at: datetime | None = None
    """When the webhook came in."""


CHECK = Cause("check", "read at RevenueCat as planned")
TIME = Cause("time", "time passed: a paid or grace period ended")
SYNC = Cause("sync", "the app asked for a fresh look")
RECONCILE = Cause("reconcile", "an operator asked for a fresh look")


def told_by(notice: Notice) -> Cause:
    return Cause(
        "webhook", f"RevenueCat sent {notice.type} (event {notice.id})", notice.id, notice.type, notice.received_at
    )


def replayed(notice: Notice) -> Cause:
    text = f"an operator replayed {notice.type} of RevenueCat (event {notice.id})"
    return Cause("reconcile", text, notice.id, notice.type)


def honoured(notice: Notice) -> Cause:
    text = f"RevenueCat sent {notice.type} (event {notice.id}) and cannot be read now: honoured until it can, for a day"
    return Cause("provisional", f"{text} at most", notice.id, notice.type, notice.received_at)


def claimed(anonymous_id: str) -> Cause:
    return Cause("claim", f"the user claimed what was bought as {anonymous_id}")


def lost_to_owner(anonymous_id: str) -> Cause:
    return Cause("claim", f"what was bought as {anonymous_id} belongs to another account")
