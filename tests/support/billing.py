"""Billing on a database of its own, with RevenueCat played by the stand-in, on a clock the test moves."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from billing.entitlement import Rules
from billing.jobs import expire_due
from billing.pacing import RequestBudget
from billing.refreshing import Refresher
from billing.removing import SubscriberRemover
from billing.revenuecat import RevenueCatApi
from billing.service import build
from billing.settings import BillingSettings
from common.contracts.billing import SubscriptionChanged, UserDataErased
from common.contracts.identity import UserDeleted
from common.db.migrations import upgrade
from common.messaging.envelope import Envelope
from common.service import HttpServer, Service
from common.tracing import current_trace
from common.web.client import HttpClient
from embedded.revenuecat import RevenueCatStandIn
from embedded.webhook_signatures import revenuecat_headers
from tests.support.callers import Answer, Api, FixedCallers, served
from tests.support.hand_clock import HandClock
from tests.support.schemas import rows
from tests.support.ways import way_to

FIXTURES = Path(__file__).parent.parent / "fixtures" / "revenuecat"
WEBHOOK_BODIES = sorted(FIXTURES.glob("composed__*.json"))
AUTHORIZATION = "Bearer a-long-webhook-password"
SIGNING_SECRET = "whsec_a_long_signing_secret"
API_KEY = "sk_for_the_stand_in"
NOWHERE = "http://127.0.0.1:1"
ANONYMOUS = "$RCAnonymousID:" + "a" * 32


def settings(database_url: str = "postgresql://nowhere/db", **more: Any) -> BillingSettings:
    fixed: dict[str, Any] = {
        **way_to(database_url),
        "database_pool_size": 10,
        "gateway_jwks_url": f"{NOWHERE}/.well-known/jwks.json",
        "revenuecat_api_key": API_KEY,
        "revenuecat_api_url": NOWHERE,
        "revenuecat_webhook_authorization": (AUTHORIZATION,),
        "revenuecat_webhook_secrets": (SIGNING_SECRET,),
    }
    return BillingSettings(**{**fixed, **more})


@dataclass
class Billing:
    """One process of the service, the store its users buy in, and the means to see what it knows."""

    api: Api
    service: Service
    store: RevenueCatStandIn
    clock: HandClock
    database_url: str
    provider: RevenueCatApi
    """The store's REST API, read outside the service."""
    process: Callable[[], Service]
    """Builds the service of one more process."""

    @property
    def rules(self) -> Rules:
        rules: Rules = self.service.app.state.rules
        return rules

    @property
    def refresher(self) -> Refresher:
        refresher: Refresher = self.service.app.state.refresher
        return refresher

    async def post_webhook(self, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """One delivery of the body as it is; with ``headers`` None it is signed as configured."""
        signed = revenuecat_headers(body, int(self.clock().timestamp()), AUTHORIZATION, SIGNING_SECRET)
        return await self.api.signed_in_as(None).post("/webhooks/revenuecat", raw=body, headers=headers or signed)

    async def hear(self) -> list[int | None]:
        """Lets RevenueCat send the webhooks that are due; the status of each."""
        return [attempt.status for attempt in await self.store.deliver_due()]

    async def work(self) -> int:
        """What a worker would do now: readings that are due, then what time has ended."""
        taken = await self.refresher.work_off()
        await expire_due(self.service.database, self.rules)
        return taken

    async def hear_and_work(self) -> None:
        assert set(await self.hear()) <= {200}
        await self.work()

    async def later(self, **by: float) -> None:
        """Time passes, and the worker does what became due."""
        self.clock.forward(**by)
        await self.work()

    async def subscription(self, user_id: str = "user_1") -> dict[str, Any]:
        answer = await self.api.signed_in_as(user_id).get("/me/subscription")
        assert answer.status == 200, answer.text
        body: dict[str, Any] = answer.json
        return body

    async def plan(self, user_id: str = "user_1") -> str:
        return str((await self.subscription(user_id))["plan"])

    async def causes(self, user_id: str = "user_1") -> list[tuple[str, str, str]]:
        """(plan, status, kind of cause) of each change, the oldest first."""
        answer = await self.api.signed_in_as(user_id).get("/me/subscription/history")
        changes = reversed(answer.json["changes"])
        return [(change["plan"], change["status"], change["cause"]["kind"]) for change in changes]

    async def announced(self, user_id: str = "user_1") -> list[SubscriptionChanged]:
        """The events emitted about the user, in order."""
        query = "SELECT body FROM billing.outbox WHERE subject = $1 AND type = $2 ORDER BY id"
        found = await self.rows(query, user_id, SubscriptionChanged.type)
        return [SubscriptionChanged.model_validate(Envelope.from_json(row["body"]).data) for row in found]

    async def erase(self, user_id: str = "user_1", deletion_id: str | None = "deletion-1") -> Envelope:
        """Identity's word that the user was deleted reaches billing's consumer; the message, to be delivered again."""
        deleted = UserDeleted(user_id=user_id, issuer="test", deletion_id=deletion_id, sequence=9)
        envelope = Envelope.of(deleted, at=self.clock(), trace=current_trace())
        await self.deliver(envelope)
        return envelope

    async def deliver(self, envelope: Envelope) -> None:
        await self.service.subscriptions[0].deliver_to(self.service.database, "billing")(envelope)

    async def remove(self, **later: float) -> int:
        """Time passes, 6 seconds by default, and a worker deletes at RevenueCat what is due; how many steps it took."""
        self.clock.forward(**(later or {"seconds": 6}))
        remover: SubscriberRemover = self.service.app.state.remover
        return await remover.work_off()

    async def receipts(self) -> list[UserDataErased]:
        """What billing said of erased data, in order."""
        query = "SELECT body FROM billing.outbox WHERE type = $1 ORDER BY id"
        found = await self.rows(query, UserDataErased.type)
        return [UserDataErased.model_validate(Envelope.from_json(row["body"]).data) for row in found]

    async def rows(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        return await rows(self.database_url, query, *arguments)

    async def count(self, table: str) -> int:
        return int((await self.rows(f"SELECT count(*) FROM billing.{table}"))[0]["count"])


@asynccontextmanager
async def billing(database_url: str, clock: HandClock | None = None, **more: Any) -> AsyncIterator[Billing]:
    """The migrated service, called as ``user_1``; ``more`` are settings."""
    clock = clock or HandClock()
    async with AsyncExitStack() as stack:
        store = RevenueCatStandIn(
            clock,
            api_key=API_KEY,
            webhook_url=f"{NOWHERE}/",
            webhook_authorization=AUTHORIZATION,
            webhook_secret=SIGNING_SECRET,
        )
        await stack.enter_async_context(store)
        chosen = settings(database_url, **{"revenuecat_api_url": store.url, **more})
        pace = RequestBudget(1_000_000, monotonic=lambda: clock().timestamp())

        def process() -> Service:
            return build(chosen, clock=clock, verifier=FixedCallers(), budget=pace)

        service = process()
        database_url = service.database.direct_url
        await upgrade(database_url, service.metadata, service.migrations)
        await stack.enter_async_context(service.opened())
        server = await stack.enter_async_context(HttpServer(service.app, "127.0.0.1", 0))
        store.webhooks.url = f"http://127.0.0.1:{server.port}/webhooks/revenuecat"
        api = await stack.enter_async_context(served(service.app))
        http = await stack.enter_async_context(HttpClient("store", retries=0))
        provider = RevenueCatApi(store.url, API_KEY, http, pace)
        yield Billing(api, service, store, clock, database_url, provider, process)


def event_body(**event: Any) -> bytes:
    """A webhook with these members and the three that every event has."""
    required = {"id": "E1", "type": "RENEWAL", "event_timestamp_ms": 1788256800000}
    return json.dumps({"api_version": "1.0", "event": {**required, **event}}).encode()


async def eventful(world: Billing) -> None:
    """user_1 bought before signing in, renewed and cancelled; user_2 bought too."""
    world.store.purchase(ANONYMOUS)
    await world.hear_and_work()
    world.store.log_in(ANONYMOUS, "user_1")
    world.store.renew("user_1")
    world.store.purchase("user_2")
    await world.hear_and_work()
    world.store.cancel("user_1")
    await world.hear_and_work()
