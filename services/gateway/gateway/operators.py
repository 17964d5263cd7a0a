"""The internal listener's pages: for operators and for the services, not for the public."""

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from common.internal_tokens import InternalTokenIssuer
from common.web.app import create_app
from gateway.issuers import KeySources
from gateway.sign_out_feed import SignOutFeed


def internal_pages(issuer: InternalTokenIssuer, keys: KeySources, feed: SignOutFeed | None) -> FastAPI:
    """Health, metrics and the keys of internal tokens."""
    impairments = {"issuers": keys.impaired, **({"sign_outs": feed.impaired} if feed else {})}
    app = create_app(
        "gateway", title="Entrain gateway, internal", checks={"issuer_keys": keys.check}, impairments=impairments
    )

    @app.get("/.well-known/jwks.json", include_in_schema=False)
    async def key_set() -> JSONResponse:
        return JSONResponse(issuer.key_set(), headers={"Cache-Control": "public, max-age=60"})

    return app
