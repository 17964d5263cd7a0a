"""The gateway, wired: everything it is made of, on one page."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp

from common.internal_tokens import InternalTokenIssuer
from common.jwks import JwksClient, Keys, StaticKeys
from common.web.app import RequestContext, create_app
from gateway.admission import Admission
from gateway.callers import Callers
from gateway.clerk import ClerkVerifier
from gateway.clients import ClientAddresses
from gateway.cors import CorsRules
from gateway.docs import docs_page, public_document
from gateway.edge import Edge
from gateway.forwarding import Forwarder
from gateway.freshness import KeptFresh
from gateway.rate_limits import RateLimits, SharedStorage
from gateway.routes import ROUTES, Route, RouteTable
from gateway.settings import GatewaySettings


@dataclass
class Gateway:
    """The gateway, not yet started. ``public_app`` answers clients, ``internal_app`` operators and the services."""

    public_app: ASGIApp
    internal_app: FastAPI
    forwarder: Forwarder
    keys: Keys
    shared: SharedStorage | None
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        """Opens the pool and begins to keep the issuer's keys fresh. In the event loop that will serve the apps."""
        if self.shared is not None:
            await self._open.enter_async_context(self.shared)
        await self._open.enter_async_context(self.forwarder)
        if isinstance(self.keys, JwksClient):
            await self._open.enter_async_context(KeptFresh(self.keys))

    async def close(self) -> None:
        """Closes what ``start`` opened. Stop serving first."""
        await self._open.aclose()


def build_gateway(settings: GatewaySettings, routes: Sequence[Route] = ROUTES) -> Gateway:
    rotation = settings.rotation_key
    issuer = InternalTokenIssuer(settings.signing_key, also_published=[rotation] if rotation else [])
    keys = clerk_keys(settings)
    verifier = ClerkVerifier(
        keys,
        settings.issuers,
        authorized_parties=settings.clerk_authorized_parties,
        leeway=settings.gateway_token_leeway_seconds,
        longest=settings.gateway_token_lifetime_seconds,
    )
    callers = Callers(
        verifier,
        issuer,
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
    return Gateway(RequestContext(edge, service="gateway"), internal_pages(issuer, keys), forwarder, keys, shared)


def clerk_keys(settings: GatewaySettings) -> Keys:
    bootstrap = settings.bootstrap_key
    if settings.jwks_url is not None:
        return JwksClient(settings.jwks_url, source="clerk", algorithms={"RS256"}, bootstrap=bootstrap)
    return StaticKeys([bootstrap] if bootstrap else [], any_kid=True)


def own_pages() -> FastAPI:
    """``/health``, ``/docs`` and ``/openapi.json``."""
    app = FastAPI(title="Entrain", docs_url=None, redoc_url=None, openapi_url=None)

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> dict[str, bool]:
        return {"ok": True}

    @app.api_route("/openapi.json", methods=["GET", "HEAD"])
    async def openapi() -> Response:
        return Response(public_document(), media_type="application/json")

    @app.api_route("/docs", methods=["GET", "HEAD"])
    async def docs() -> Response:
        page, policy = docs_page()
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": policy})

    return app


def internal_pages(issuer: InternalTokenIssuer, keys: Keys) -> FastAPI:
    """Health, metrics and the keys of internal tokens; not for the public listener."""

    async def keys_loaded() -> str | None:
        missing = isinstance(keys, JwksClient) and not keys.usable
        return "the issuer's keys were never loaded" if missing else None

    app = create_app("gateway", title="Entrain gateway, internal", checks={"issuer_keys": keys_loaded})

    @app.get("/.well-known/jwks.json", include_in_schema=False)
    async def key_set() -> JSONResponse:
        return JSONResponse(issuer.key_set(), headers={"Cache-Control": "public, max-age=60"})

    return app
