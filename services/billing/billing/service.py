"""Billing, wired."""

from functools import partial
from pathlib import Path

from billing import api, consumers, jobs, webhooks
from billing.invariants import invariants
from billing.models import Base, tombstones
from billing.pacing import RequestBudget
from billing.proof import WebhookProof
from billing.refreshing import Refresher
from billing.removing import SubscriberRemover
from billing.retention import retentions
from billing.revenuecat import RevenueCatApi
from billing.settings import BillingSettings
from common.auth import CallerVerifier
from common.clock import Clock, utc_now
from common.db.engine import Database
from common.internal_tokens import internal_token_verifier
from common.messaging.outbox import Outbox
from common.service import Service
from common.web.app import create_app
from common.web.client import HttpClient, Patience

READING = Patience(connect=3.0, read=8.0, total=10.0)


def build(
    settings: BillingSettings,
    *,
    clock: Clock = utc_now,
    verifier: CallerVerifier | None = None,
    budget: RequestBudget | None = None,
) -> Service:
    """Not yet started. ``verifier`` stands in for the gateway's tokens, ``budget`` paces by another clock."""
    outbox = Outbox("billing")
    database = Database.of(settings, outbox, clock)
    rules = settings.rules
    # no retries here: what fails is tried again from the work table, with the provider's own wait
    http = HttpClient("revenuecat", patience=READING, retries=0, clock=clock)
    budget = budget or RequestBudget(settings.revenuecat_requests_per_second)
    key = settings.revenuecat_api_key.get_secret_value()
    revenuecat = RevenueCatApi(settings.revenuecat_api_url, key, http, budget)
    refresher = Refresher(database, revenuecat, rules)
    remover = SubscriberRemover(database, revenuecat)

    app = create_app("billing", title="Entrain billing", checks={"database": database.check})
    app.state.database = database
    app.state.verifier = verifier or internal_token_verifier(settings, "billing")
    app.state.rules = rules
    app.state.refresher = refresher
    app.state.remover = remover
    app.state.tombstones = tombstones
    app.state.webhook_proof = WebhookProof(
        [value.get_secret_value() for value in settings.revenuecat_webhook_authorization],
        [secret.get_secret_value() for secret in settings.revenuecat_webhook_secrets],
    )
    app.include_router(webhooks.router)
    app.include_router(api.router)
    return Service(
        name="billing",
        app=app,
        database=database,
        outbox=outbox,
        metadata=Base.metadata,
        migrations=Path(__file__).parent / "migrations",
        subscriptions=(consumers.users,),
        loops={
            "refresh": partial(jobs.refresh_for_ever, refresher, database),
            "remove": partial(jobs.remove_for_ever, remover),
            "expire": partial(jobs.expire_for_ever, database, rules),
            "measure": partial(jobs.measure_for_ever, database),
            "retell": partial(jobs.retell_for_ever, database),
        },
        retentions=retentions(settings.raw_retention, settings.erased_user_retention),
        resources=(http,),
        rules=invariants(database, rules),
    )
