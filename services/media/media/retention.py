"""How long media keeps what happened. Sessions and their audio stay until their owner removes them."""

from datetime import timedelta

from common.db.retention import Retention
from common.db.tables import erased_user_of
from media.models import DailyUse, Job, ListeningEvent, SessionStart

JOBS_KEPT = timedelta(days=30)
"""The app asks after a job while it waits for it. The audio's own row says how it came to be."""
USE_KEPT = timedelta(days=90)
"""The free tier looks at one day. The others answer a user who asks what became of their sessions."""


def retentions(listening_kept: timedelta, erased_user_kept: timedelta) -> list[Retention]:
    return [
        Retention.of(Job, "finished_at", JOBS_KEPT),
        Retention.of(DailyUse, "day", USE_KEPT),
        Retention.of(SessionStart, "day", USE_KEPT),
        Retention.of(ListeningEvent, "occurred_at", listening_kept),
        Retention(erased_user_of("media"), "erased_at", erased_user_kept),
    ]
