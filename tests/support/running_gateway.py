"""A gateway on loopback between a key server and a service, all over real HTTP."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from common.service import HttpServer
from embedded.local_server import LocalServer
from gateway.routes import ROUTES, Route
from gateway.service import Gateway, build_gateway
from gateway.settings import GatewaySettings
from gateway.sign_out_feed import Connect
from tests.support.token_forge import TokenForge, new_p256_pem


@dataclass
class Received:
    """A request as the service got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value for given, value in self.headers if given.lower() == name.lower()]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None

    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}


class KeyServer(LocalServer):
    """Publishes whatever ``document`` holds and counts who asks."""

    def __init__(self, document: Any = None) -> None:
        super().__init__()
        self.document = document
        self.answer: web.Response | None = None
        self.held = asyncio.Event()
        self.held.set()
        self.asked = 0

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/jwks.json", self._keys)
        app.router.add_get("/auth/v1/.well-known/jwks.json", self._keys)
        return app

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/.well-known/jwks.json"

    async def _keys(self, _: web.Request) -> web.StreamResponse:
        self.asked += 1
        await self.held.wait()
        if self.answer is not None:
            given = self.answer
            return web.Response(status=given.status, headers=given.headers, body=given.body)
        return web.json_response(self.document)


class EchoService(LocalServer):
    """Keeps what it received and answers with it; some paths play special parts."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()

    def forget(self) -> None:
        """As new, for the next test."""
        self.received: list[Received] = []
        self.go_on = asyncio.Event()
        self.answer_status = 200
        self.answer_headers: dict[str, str] = {}

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/me/export", self._events)
        app.router.add_get("/me/curation", self._breaks_off)
        app.router.add_route("*", "/{rest:.*}", self._echo)
        return app

    @property
    def last(self) -> Received:
        return self.received[-1]

    async def _echo(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.received.append(Received(request.method, request.raw_path, list(request.headers.items()), body))
        return web.json_response({"size": len(body)}, status=self.answer_status, headers=self.answer_headers)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """One event at once, the second when told."""
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b"data: first\n\n")
        await self.go_on.wait()
        await stream.write(b"data: second\n\n")
        return stream

    async def _breaks_off(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Length": "100"})
        await stream.prepare(request)
        await stream.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return stream


@dataclass
class RunningGateway:
    gateway: Gateway
    forge: TokenForge
    keys: KeyServer
    service: EchoService
    port: int
    internal_port: int
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def internal_url(self) -> str:
        return f"http://127.0.0.1:{self.internal_port}"

    def signed_in(self, **claims: Any) -> dict[str, str]:
        """The headers of a signed-in request."""
        return {"Authorization": f"Bearer {self.forge.token(**claims)}"}

    async def status_of(self, token: str, path: str = "/voices") -> int:
        async with self.http.get(self.url + path, headers={"Authorization": f"Bearer {token}"}) as answer:
            await answer.read()
            return answer.status

    async def health(self) -> dict[str, Any]:
        """What ``/health/ready`` says."""
        async with self.http.get(f"{self.internal_url}/health/ready") as answer:
            said: dict[str, Any] = await answer.json()
            return said

    async def raw(self, request: bytes) -> tuple[int, bytes]:
        """Sends bytes as they are and reads until the gateway closes; answers the first status and everything."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        return (int(answer.split(b" ", 2)[1]) if answer else 0), answer

    async def get_raw(self, target: str, *headers: str) -> tuple[int, bytes]:
        lines = [f"GET {target} HTTP/1.1", "Host: gateway.test", "Connection: close", *headers, "", ""]
        return await self.raw("\r\n".join(lines).encode("utf-8", "surrogateescape"))


@asynccontextmanager
async def running_gateway(
    routes: Sequence[Route] = ROUTES,
    *,
    bus: Connect | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> AsyncIterator[RunningGateway]:
    """``settings`` go into ``GatewaySettings``; the rest is made to fit."""
    async with KeyServer() as keys, EchoService() as service:
        forge = TokenForge(f"http://127.0.0.1:{keys.port}")
        keys.document = forge.key_set()
        chosen: dict[str, Any] = {
            "clerk_issuers": (forge.issuer,),
            "clerk_jwks_url": keys.jwks_url,
            "gateway_signing_key": new_p256_pem(),
            **{f"{name}_url": service.url for name in ("identity", "billing", "media")},
        }
        gateway = build_gateway(GatewaySettings(**(chosen | settings)), routes, bus=bus, monotonic=monotonic)
        try:
            await gateway.start()
            async with (
                HttpServer(gateway.public_app, "127.0.0.1", 0) as public,
                HttpServer(gateway.internal_app, "127.0.0.1", 0) as internal,
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
            ):
                yield RunningGateway(gateway, forge, keys, service, public.port, internal.port, http)
        finally:
            await gateway.close()


def envelope(body: bytes) -> dict[str, Any]:
    """The error envelope at the end of a raw HTTP answer or in a body."""
    parsed: dict[str, Any] = json.loads(body.split(b"\r\n\r\n", 1)[-1])
    assert {"code", "message"} <= parsed.keys()
    return parsed


def claims_of(authorization: str | None) -> dict[str, Any]:
    """What the internal token in an ``Authorization`` header says, unverified."""
    assert authorization is not None
    scheme, _, token = authorization.partition(" ")
    assert scheme == "Bearer"
    payload = token.split(".")[1]
    parsed: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return parsed
