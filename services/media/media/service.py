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
from common.web.client import HttpClient, Patience
from media import authoring, render_metrics
from media.api import router
from media.consumers import entitlements, users
from media.delivery import audio_urls
from media.engines import engine_named
from media.invariants import invariants
from media.jobs import Renderer
from media.language_model import ChatModel
from media.models import Base, tombstones
from media.moderation import ModerationApi, Moderator
from media.plans import Plans
from media.playback import Playback
from media.provider_speech import ProviderSpeech
from media.removals import Removals
from media.retention import retentions
from media.settings import MediaSettings
from media.speech import Speech
from media.storage import S3Storage
from media.sweeping import Sweeper
from media.writing import Writer

MODEL = Patience(connect=3.0, read=20.0, total=25.0)
JUDGING = Patience(connect=2.0, read=4.0, total=6.0)
"""Somebody waits for both, and both can be done without."""


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
    speech = speech or engine_named(settings.media_speech, settings)
    fallback = engine_named(settings.media_speech_fallback, settings) if settings.media_speech_fallback else None
    plans = Plans(settings.media_free_tier, settings.media_free_daily_sessions)
    renderer = Renderer(
        database,
        storage,
        speech,
        fallback=fallback,
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
    model_http = HttpClient("language_model", patience=MODEL, retries=1, clock=clock)
    moderation_http = HttpClient("moderation", patience=JUDGING, retries=1, clock=clock)
    app.state.moderator, app.state.writer = _judged_writing(settings, model_http, moderation_http)
    app.include_router(router)
    app.include_router(authoring.router)

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
            "sweeping": Sweeper(database, storage).run,
            "measure": partial(render_metrics.measure_for_ever, database),
        },
        retentions=retentions(kept, settings.erased_user_retention),
        resources=[storage, model_http, moderation_http, *_to_open(speech, fallback)],
        rules=invariants(database, storage, plans),
    )


def _to_open(*engines: Speech | None) -> list[ProviderSpeech]:
    return [engine for engine in engines if isinstance(engine, ProviderSpeech)]


def _judged_writing(
    settings: MediaSettings, model_http: HttpClient, moderation_http: HttpClient
) -> tuple[Moderator, Writer]:
    """With a key by the provider, else offline."""
    if settings.openai_api_key is None:
        return (moderator := Moderator()), Writer(None, moderator)
    url, key = settings.openai_base_url, settings.openai_api_key.get_secret_value()
    moderator = Moderator(ModerationApi(moderation_http, url, key) if settings.openai_moderation else None)
    return moderator, Writer(ChatModel(model_http, url, key, settings.openai_model), moderator)
