"""How long billing keeps what was told to it. What it made of that, the users' history, stays with the users."""

from datetime import timedelta

from billing.models import WebhookEvent
from common.db.retention import Retention
from common.db.tables import erased_user_of


def retentions(raw_kept: timedelta, erased_user_kept: timedelta) -> list[Retention]:
    return [
        Retention.of(WebhookEvent, "received_at", raw_kept),
        Retention(erased_user_of("billing"), "erased_at", erased_user_kept),
    ]
