"""Media's whole wiring."""

from datetime import timedelta
from functools import partial
from pathlib import Path

from common.auth import CallerVerifier
from common.clock import Clock, utc_now
from common.db.engine import Database
from common.internal_tokens import internal_token_verifier
from common.messaging.outbox import Outbox
from common.service import Service
from common.web.app import create_app
from media import listening
from media.api import router
from media.consumers import entitlements, users
from media.delivery import audio_urls
from media.jobs import Renderer
from media.models import Base, tombstones
from media.plans import Plans
from media.playback import Playback
from media.removals import Removals
from media.settings import MediaSettings
from media.speech import HibariSpeech, Speech
from media.storage import S3Storage
from media.sweeping import Sweeper


def build(
    settings: MediaSettings,
    *,
    clock: Clock = utc_now,
    verifier: CallerVerifier | None = None,
    speech: Speech | None = None,
    render_slots: int = 1,
) -> Service:
    outbox = Outbox("media")
    database = Database.of(settings, outbox, clock)
    storage = S3Storage(settings)
    plans = Plans(settings.media_free_tier, settings.media_free_daily_sessions)
    renderer = Renderer(
        database,
        storage,
        speech or HibariSpeech(),
        slots=render_slots,
        lease=timedelta(seconds=settings.media_job_lease_seconds),
        cool_down=timedelta(seconds=settings.media_job_cool_down_seconds),
    )
    kept = timedelta(days=settings.media_listening_retention_days)

    app = create_app("media", title="Entrain media", checks={"database": database.check})
    app.state.database = database
    app.state.verifier = verifier or internal_token_verifier(settings, audience="media")
    app.state.storage = storage
    app.state.tombstones = tombstones
    app.state.playback = Playback(plans, audio_urls(settings, storage, clock), settings.public_url)
    app.include_router(router)

    return Service(
        name="media",
        app=app,
        database=database,
        outbox=outbox,
        metadata=Base.metadata,
        migrations=Path(__file__).parent / "migrations",
        subscriptions=[entitlements, users],
        loops={
            "render": renderer.run,
            "removals": Removals(database, storage).run,
            "forget": partial(listening.forget_for_ever, database, kept),
            "sweeping": Sweeper(database, storage).run,
        },
        resources=[storage],
    )
