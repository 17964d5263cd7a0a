"""How long identity keeps what is nobody's any more."""

from datetime import timedelta

from sqlalchemy import select
from sqlmodel import col

from common.db.retention import Retention
from identity.models import Deletion, EndedSession, Link, Tombstone, User, WebhookSeen

KEPT = timedelta(days=15)
"""Webhooks and ended sessions: longer than a webhook is repeated, or a token accepted."""


def retentions(erased_user_kept: timedelta) -> list[Retention]:
    known = select(col(User.id)).where(col(User.id) == col(Link.user_id)).exists()
    remembered = select(col(Tombstone.user_id)).where(col(Tombstone.user_id) == col(Link.user_id)).exists()
    return [
        Retention.of(WebhookSeen, "received_at", KEPT),
        Retention.of(EndedSession, "recorded_at", KEPT),
        Retention.of(Deletion, "completed_at", erased_user_kept),
        Retention.of(Tombstone, "deleted_at", erased_user_kept),
        # a subject stays with its user for as long as anybody knows that there was one
        Retention.of(Link, "created_at", erased_user_kept, only=~known & ~remembered),
    ]
