"""The gateway, wired: everything it is made of, on one page."""

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from fastapi import FastAPI
from starlette.types import ASGIApp

from common.internal_tokens import InternalTokenIssuer
from common.messaging.rabbit import RabbitBus
from common.observability import logger
from common.web.app import RequestContext
from gateway.admission import Admission
from gateway.callers import Callers
from gateway.clients import ClientAddresses
from gateway.cors import CorsRules
from gateway.directory import IdentityDirectory
from gateway.edge import Edge
from gateway.forwarding import Forwarder
from gateway.freshness import KeptFresh
from gateway.issuers import KeySources, issuers_of
from gateway.links import LinkedUsers
from gateway.operators import internal_pages
from gateway.pages import own_pages
from gateway.rate_limits import RateLimits, SharedStorage
from gateway.routes import ROUTES, Route, RouteTable
from gateway.settings import GatewaySettings
from gateway.sign_out_feed import Connect, SignOutFeed
from gateway.sign_outs import SignOuts
from gateway.supabase import issuer_of_project

log = logger("gateway")


@dataclass
class Gateway:
    """The gateway, not yet started. ``public_app`` answers clients, ``internal_app`` operators and the services."""

    public_app: ASGIApp
    internal_app: FastAPI
    forwarder: Forwarder
    keys: KeySources
    directory: IdentityDirectory
    feed: SignOutFeed | None
    shared: SharedStorage | None
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        """Opens the pools, and begins to keep the issuers' keys fresh and to hear of sign-outs.

        In the event loop that will serve the apps. Raises UnusableIssuer.
        """
        await self.keys.refuse_unusable()
        if self.shared is not None:
            await self._open.enter_async_context(self.shared)
        await self._open.enter_async_context(self.forwarder)
        await self._open.enter_async_context(self.directory)
        for keys in self.keys.fetched():
            await self._open.enter_async_context(KeptFresh(keys))
        if self.feed is not None:
            await self._open.enter_async_context(self.feed)
        else:
            log.warning("sign_outs_not_heard", why="RABBITMQ_URL is not set: a token outlives its session's end")

    async def close(self) -> None:
        """Closes what ``start`` opened. Stop serving first."""
        await self._open.aclose()


def build_gateway(
    settings: GatewaySettings,
    routes: Sequence[Route] = ROUTES,
    *,
    bus: Connect | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Gateway:
    """``bus`` takes the place of the broker at RABBITMQ_URL; ``monotonic`` ages the issuers' keys."""
    rotation = settings.rotation_key
    issuer = InternalTokenIssuer(settings.signing_key, also_published=[rotation] if rotation else [])
    keys = KeySources(settings, monotonic)
    directory = IdentityDirectory(settings.identity_url, issuer)
    sign_outs = SignOuts(kept=settings.gateway_token_lifetime_seconds + 2 * settings.gateway_token_leeway_seconds)
    linked = [issuer_of_project(settings.supabase_url)] if settings.supabase_url else []
    callers = Callers(
        issuers_of(settings, keys),
        issuer,
        sign_outs=sign_outs,
        links={name: LinkedUsers(name, directory) for name in linked},
        leeway=settings.gateway_token_leeway_seconds,
        development_user=settings.gateway_development_user,
    )
    storage_url = settings.rate_limit_storage_url
    shared = SharedStorage(storage_url.get_secret_value()) if storage_url else None
    addresses = ClientAddresses(settings.trusted_proxies, settings.public_url)
    admission = Admission(callers, RateLimits(shared.storage if shared else None), addresses)
    forwarder = Forwarder(settings.upstreams, addresses)
    everyone = settings.entrain_env == "development" and not settings.allowed_origins
    cors = CorsRules(settings.allowed_origins, everyone=everyone)
    https = (settings.public_url or "").startswith("https://")
    edge = Edge(RouteTable(routes), admission, forwarder, own_pages(), cors, https=https)
    connect = bus or broker(settings)
    feed = SignOutFeed(sign_outs, directory, connect) if connect else None
    public, internal = RequestContext(edge, service="gateway"), internal_pages(issuer, keys, feed)
    return Gateway(public, internal, forwarder, keys, directory, feed, shared)


def broker(settings: GatewaySettings) -> Connect | None:
    url = settings.rabbitmq_url
    return (lambda: RabbitBus(url.get_secret_value(), name="gateway")) if url else None
