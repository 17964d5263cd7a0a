"""Services that are down, slow or hang up, clients that leave, and keys that change under traffic."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from embedded.processes import free_ports
from gateway.routes import ROUTES
from tests.support.running_gateway import envelope, running_gateway
from tests.support.token_forge import TokenForge

Part = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def service(part: Part) -> AsyncIterator[str]:
    """A service that plays its part on every socket; yields its origin."""
    server = await asyncio.start_server(part, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_body_goes_on_while_it_is_still_arriving() -> None:
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def takes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(1000)
        arrived.set()
        assert await reader.read() == b""
        ended.set()
        writer.close()

    async with service(takes) as url, running_gateway(media_url=url) as gateway, asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        authorization = gateway.signed_in()["Authorization"]
        head = f"POST /sessions HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\nContent-Length: 2000\r\n\r\n"
        writer.write(head.encode() + b"x" * 1000)
        await arrived.wait()
        writer.close()
        await ended.wait()


@pytest.mark.parametrize("request_line", ["GET /voices", "POST /sessions", "PUT /me/struggle"])
async def test_when_the_client_leaves_the_service_is_left_too(request_line: str) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def thinks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        left.set()
        writer.close()

    async with service(thinks) as url, running_gateway(media_url=url, identity_url=url) as gateway, asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        authorization = gateway.signed_in()["Authorization"]
        body = "Content-Length: 0\r\n\r\n" if request_line.startswith("GET") else "Content-Length: 2\r\n\r\n{}"
        writer.write(f"{request_line} HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n{body}".encode())
        await asked.wait()
        writer.close()
        await left.wait()


async def test_a_service_that_is_down_is_503_with_a_time_to_try_again() -> None:
    (port,) = free_ports(1)
    async with running_gateway(media_url=f"http://127.0.0.1:{port}") as gateway:
        for method in ("GET", "POST"):
            async with gateway.http.request(method, f"{gateway.url}/sessions", headers=gateway.signed_in()) as answer:
                assert answer.status == 503
                assert int(answer.headers["Retry-After"]) > 0
                assert envelope(await answer.read())["code"] == "UNAVAILABLE"
        async with gateway.http.get(f"{gateway.url}/me", headers=gateway.signed_in()) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "method, path, sent",
    [("GET", "/sessions", 2), ("POST", "/sessions", 1), ("PUT", "/me/struggle", 1), ("DELETE", "/sessions/x", 1)],
)
async def test_only_a_harmless_request_is_sent_again_and_only_unanswered(method: str, path: str, sent: int) -> None:
    requests = 0

    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await reader.readuntil(b"\r\n\r\n")
        requests += 1
        writer.close()

    body = None if method in ("GET", "DELETE") else b"{}"
    async with service(hangs_up) as url, running_gateway(media_url=url, identity_url=url) as gateway:
        target = gateway.url + path
        async with gateway.http.request(method, target, headers=gateway.signed_in(), data=body) as answer:
            assert answer.status == 503
    assert requests == sent


@pytest.mark.parametrize("kid", ["ins_2forge", "ins_2next"], ids=["same key id", "new key id"])
async def test_a_rotation_refuses_no_genuine_request(kid: str) -> None:
    async with running_gateway() as gateway:
        statuses = [await gateway.status_of(gateway.forge.token())]
        rotated = TokenForge(gateway.forge.issuer, kid=kid)
        gateway.keys.document = rotated.key_set()
        tokens = [rotated.token() for _ in range(50)]
        statuses += await asyncio.gather(*(gateway.status_of(token) for token in tokens))
        assert (set(statuses), gateway.keys.asked) == ({200}, 2)


async def test_a_token_of_a_withdrawn_key_is_forgotten_with_it() -> None:
    async with running_gateway() as gateway:
        old = gateway.forge.token()
        assert await gateway.status_of(old) == 200
        rotated = TokenForge(gateway.forge.issuer)
        gateway.keys.document = rotated.key_set()
        assert await gateway.status_of(rotated.token()) == 200
        assert await gateway.status_of(old) == 401


async def test_while_the_key_server_is_down_users_are_served() -> None:
    async with running_gateway() as gateway:
        assert await gateway.status_of(gateway.forge.token()) == 200
        gateway.keys.answer = web.Response(status=503)
        stranger = TokenForge(gateway.forge.issuer, kid="ins_2stranger").token()
        assert await gateway.status_of(stranger) == 401
        assert [await gateway.status_of(gateway.forge.token()) for _ in range(5)] == [200] * 5


async def test_while_no_keys_were_ever_loaded_the_answer_is_503() -> None:
    (port,) = free_ports(1)
    async with running_gateway(clerk_jwks_url=f"http://127.0.0.1:{port}/jwks.json") as gateway:
        async with gateway.http.get(f"{gateway.url}/voices", headers=gateway.signed_in()) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
        async with gateway.http.get(f"{gateway.internal_url}/health/ready") as answer:
            assert (answer.status, "issuer_keys" in (await answer.json())["missing"]) == (503, True)


@pytest.mark.parametrize(
    "trusted, claimed, seen",
    [
        ((), "6.6.6.6", "127.0.0.1"),
        (("127.0.0.0/8",), "6.6.6.6", "6.6.6.6"),
        (("127.0.0.0/8", "10.0.0.0/8"), "6.6.6.6, 7.7.7.7, 10.1.1.1", "7.7.7.7"),
        (("127.0.0.0/8",), "nonsense", "127.0.0.1"),
    ],
    ids=str,
)
async def test_the_client_address_is_believed_from_trusted_proxies_only(
    trusted: tuple[str, ...], claimed: str, seen: str
) -> None:
    async with running_gateway(trusted_proxies=trusted, public_url="https://api.example.com") as gateway:
        headers = gateway.signed_in() | {"X-Forwarded-For": claimed, "X-Forwarded-Host": "evil.example"}
        async with gateway.http.get(f"{gateway.url}/voices", headers=headers) as answer:
            assert "Strict-Transport-Security" in answer.headers
        received = gateway.service.last
    assert received.header("X-Forwarded-For") == seen
    assert received.header("X-Forwarded-Host") == "api.example.com"
    assert received.header("X-Forwarded-Proto") == "https"


async def test_a_service_that_stays_silent_is_given_up() -> None:
    impatient = [replace(route, idle_seconds=0.1) for route in ROUTES]

    async def stays_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with (
        service(stays_silent) as url,
        running_gateway(impatient, media_url=url) as gateway,
        gateway.http.get(f"{gateway.url}/voices", headers=gateway.signed_in()) as answer,
    ):
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert envelope(await answer.read())["code"] == "UNAVAILABLE"


async def test_a_service_that_speaks_no_http_is_503() -> None:
    async def babbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"hello\r\n\r\n")
        writer.close()

    async with service(babbles) as url, running_gateway(media_url=url) as gateway:
        assert await gateway.status_of(gateway.forge.token()) == 503
