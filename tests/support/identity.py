"""Identity on a database of its own, with Clerk played by the stand-in, on a clock the test moves."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from common.clock import Clock, utc_now
from common.contracts.event import Event
from common.db.migrations import upgrade
from common.messaging.envelope import Envelope
from common.service import HttpServer, Service
from common.tracing import current_trace
from common.web.client import HttpClient
from embedded.clerk import ClerkStandIn
from embedded.clerk_users import webhook_body
from embedded.session_tokens import ksuid_like
from embedded.webhook_signatures import svix_headers
from identity.clerk import ClerkApi
from identity.jobs import ProviderWork
from identity.service import build
from identity.settings import IdentitySettings
from tests.support.callers import ISSUER, NOBODY, Answer, Api, FixedCallers, served
from tests.support.hand_clock import HandClock
from tests.support.schemas import rows
from tests.support.ways import way_to

NOWHERE = "http://127.0.0.1:1"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def settings(database_url: str, **more: Any) -> IdentitySettings:
    """Clerk, billing and media are nowhere to be reached unless ``more`` says where they are."""
    fixed: dict[str, Any] = {
        **way_to(database_url),
        "database_pool_size": 10,
        "gateway_jwks_url": f"{NOWHERE}/.well-known/jwks.json",
        "clerk_api_url": NOWHERE,
        "billing_url": NOWHERE,
        "media_url": NOWHERE,
    }
    return IdentitySettings(**{**fixed, **more})


@asynccontextmanager
async def identity(
    database_url: str, *, clock: Clock = utc_now, issuer: str | None = ISSUER, **more: Any
) -> AsyncIterator[Api]:
    """The migrated service, called as ``user_1``; ``more`` are settings."""
    service = build(settings(database_url, **more), clock=clock, verifier=FixedCallers(issuer))
    await upgrade(service.database.direct_url, service.metadata, service.migrations)
    async with service.opened(), served(service.app) as api:
        yield api


@dataclass
class Identity:
    """The service, the Clerk its users sign up with, and the means to see what it knows."""

    api: Api
    service: Service
    clerk: ClerkStandIn
    clock: HandClock
    database_url: str
    provider: ProviderWork
    """What the worker does at Clerk."""

    async def post_webhook(self, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """One delivery of the body as it is; with ``headers`` None it is signed as configured, under a new id."""
        signed = svix_headers(ksuid_like("msg"), body, int(self.clock().timestamp()), WEBHOOK_SECRET)
        return await self.api.signed_in_as(NOBODY).post("/webhooks/clerk", raw=body, headers=headers or signed)

    async def tell(self, kind: str, data: Mapping[str, Any]) -> Answer:
        """One webhook of this type."""
        return await self.post_webhook(webhook_body(kind, data, self.clerk.instance_id, self.clock()).encode())

    async def hear(self) -> list[int | None]:
        """Lets Clerk send the webhooks that are due; the status of each."""
        return [attempt.status for attempt in await self.clerk.webhooks.deliver_due()]

    async def deliver(self, event: Event, *, times: int = 1) -> None:
        """One message that identity's consumer is handed ``times`` times."""
        deliver = self.service.subscriptions[0].deliver_to(self.service.database, "identity")
        envelope = Envelope.of(event, at=self.clock(), trace=current_trace())
        for _ in range(times):
            await deliver(envelope)

    async def emitted(self) -> list[dict[str, Any]]:
        """Every event in the outbox, oldest first: its type without owner and version, and its data."""
        found = await self.rows("SELECT type, body FROM identity.outbox ORDER BY id")
        return [{"type": row["type"].split(".")[1], **json.loads(row["body"])["data"]} for row in found]

    async def rows(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        return await rows(self.database_url, query, *arguments)

    async def user(self, user_id: str = "user_1") -> dict[str, Any] | None:
        found = await self.rows("SELECT * FROM identity.user WHERE id = $1", user_id)
        return found[0] if found else None


@asynccontextmanager
async def identity_and_clerk(database_url: str, *, issuer: str = ISSUER, **more: Any) -> AsyncIterator[Identity]:
    """The migrated service, called as ``user_1``; ``more`` are settings."""
    clock = HandClock()
    async with ClerkStandIn(clock=clock, webhook_url=f"{NOWHERE}/", webhook_secret=WEBHOOK_SECRET) as clerk:
        fixed = {
            "clerk_secret_key": SecretStr(clerk.secret_key),
            "clerk_api_url": clerk.url,
            "clerk_webhook_signing_secrets": (SecretStr(WEBHOOK_SECRET),),
            "clerk_instance_id": clerk.instance_id,
        }
        service = build(settings(database_url, **{**fixed, **more}), clock=clock, verifier=FixedCallers(issuer))
        await upgrade(database_url, service.metadata, service.migrations)
        async with (
            service.opened(),
            HttpServer(service.app, "127.0.0.1", 0) as server,
            HttpClient("clerk", retries=0, clock=clock) as http,
            served(service.app) as api,
        ):
            clerk.webhooks.url = f"http://127.0.0.1:{server.port}/webhooks/clerk"
            provider = ProviderWork(service.database, ClerkApi(clerk.url, clerk.secret_key, http))
            yield Identity(api, service, clerk, clock, database_url, provider)
