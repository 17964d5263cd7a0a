"""What the gateway serves itself: health, the API document, and a page that shows it without any outside host."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from common.errors import NotFound
from gateway.docs import public_document

_READ = ["GET", "HEAD"]
_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{script}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def own_pages() -> FastAPI:
    """``/health``, ``/openapi.json``, and ``/docs`` with its parts."""
    app = FastAPI(title="Entrain", docs_url=None, redoc_url=None, openapi_url=None)

    @app.api_route("/health", methods=_READ)
    async def health() -> dict[str, bool]:
        return {"ok": True}

    @app.api_route("/openapi.json", methods=_READ)
    async def openapi() -> Response:
        return Response(public_document(), media_type="application/json")

    @app.api_route("/docs", methods=_READ)
    async def docs() -> Response:
        page, policy = _docs_page()
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": policy})

    @app.api_route("/docs/{name}", methods=_READ)
    async def part_of_docs(name: str) -> Response:
        if name not in _ASSETS:
            unknown = NotFound("There is nothing at this address.")
            return JSONResponse(unknown.envelope(), unknown.status)
        return Response(_asset(name), media_type=_ASSETS[name], headers={"Cache-Control": "public, max-age=3600"})

    return app


@cache
def _asset(name: str) -> bytes:
    return files("fastapi_swagger.resources").joinpath(name).read_bytes()


@cache
def _docs_page() -> tuple[bytes, str]:
    """The page, and the Content-Security-Policy that lets nothing but its own scripts run."""
    page = files("gateway").joinpath("docs.html").read_text("utf-8")
    script = _SCRIPT.search(page)
    assert script, "docs.html has one inline script"
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    return page.encode(), _POLICY.format(script=digest)
