"""Identity, wired."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from common.auth import CallerVerifier
from common.clock import Clock, utc_now
from common.db.engine import Database
from common.internal_tokens import internal_token_verifier
from common.messaging.outbox import Outbox
from common.service import Loop, Service
from common.web.app import create_app
from common.web.client import HttpClient, Patience
from identity import account, api, consumers, internal, jobs, webhooks
from identity.clerk import ClerkApi, IdentityProvider
from identity.exporting import Exporters
from identity.invariants import invariants
from identity.models import Base
from identity.retention import retentions
from identity.settings import IdentitySettings
from identity.subscriptions import BRIEFLY, Subscriptions

PROVIDER_PATIENCE = Patience(connect=3.0, read=8.0, total=10.0)


def build(settings: IdentitySettings, *, clock: Clock = utc_now, verifier: CallerVerifier | None = None) -> Service:
    """The service, not yet started. ``verifier`` stands in for the gateway's tokens."""
    outbox = Outbox("identity")
    database = Database.of(settings, outbox, clock)
    # no retries in either client: the work at Clerk is tried again from its rows, and billing is asked out of courtesy
    clerk_http = HttpClient("clerk", patience=PROVIDER_PATIENCE, retries=0, clock=clock)
    billing_http = HttpClient("billing", patience=BRIEFLY, retries=0, ours=True, clock=clock)
    exporters = Exporters({"billing": settings.billing_url, "media": settings.media_url})
    provider = _provider(settings, clerk_http)

    app = create_app("identity", title="Entrain identity", checks={"database": database.check})
    app.state.database = database
    app.state.verifier = verifier or internal_token_verifier(settings, "identity")
    app.state.webhook_proof = settings.webhook_proof()
    app.state.clerk_instance_id = settings.clerk_instance_id
    app.state.subscriptions = Subscriptions(settings.billing_url, billing_http)
    app.state.deletes_at_provider = provider is not None
    app.state.exporters = exporters
    for router in (api.router, account.router, webhooks.router, internal.router):
        app.include_router(router)
    return Service(
        name="identity",
        app=app,
        database=database,
        outbox=outbox,
        metadata=Base.metadata,
        migrations=Path(__file__).parent / "migrations",
        subscriptions=(consumers.deletions,),
        loops=_loops(database, provider),
        retentions=retentions(settings.erased_user_retention),
        resources=(clerk_http, billing_http, exporters),
        rules=invariants(database),
    )


def _provider(settings: IdentitySettings, http: HttpClient) -> IdentityProvider | None:
    """None without a key: addresses then come by webhook alone, and users are not deleted at Clerk."""
    if settings.clerk_secret_key is None:
        return None
    return ClerkApi(settings.clerk_api_url, settings.clerk_secret_key.get_secret_value(), http)


def _loops(database: Database, provider: IdentityProvider | None) -> Mapping[str, Loop]:
    loops: dict[str, Loop] = {"measure": partial(jobs.measure_for_ever, database)}
    if provider is not None:
        loops["provider"] = jobs.ProviderWork(database, provider).run
    return loops
