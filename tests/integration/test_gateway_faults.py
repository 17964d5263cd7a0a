"""Services that are down, slow or hang up, clients that leave, and keys that change under traffic."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from embedded.processes import free_ports
from gateway.routes import ROUTES
from tests.support.running_gateway import RunningGateway, envelope, running_gateway
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


def answered(body: bytes = b"{}") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """The body of a request with a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line.split(b":")[1] for line in head.splitlines() if line.lower().startswith(b"content-length"))
    return await reader.readexactly(int(length))


async def created(gateway: RunningGateway, body: bytes, path: str = "/sessions", key: str | None = "k-1") -> int:
    headers = gateway.signed_in() | ({"Idempotency-Key": key} if key else {})
    async with gateway.http.post(gateway.url + path, headers=headers, data=body) as answer:
        await answer.read()
        return answer.status


@pytest.mark.parametrize("size", [2, 64 * 1024])
async def test_a_request_with_a_key_is_sent_again_with_all_of_its_body(size: int) -> None:
    bodies: list[bytes] = []

    async def hangs_up_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await read_request(reader))
        if len(bodies) > 1:
            writer.write(answered())
        writer.close()

    async with service(hangs_up_once) as url, running_gateway(media_url=url) as gateway:
        body = bytes(range(256)) * (size // 256) or b"{}"
        assert await created(gateway, body) == 200
    assert bodies == [body, body]


@pytest.mark.parametrize(
    "path, key, size",
    [("/sessions", None, 2), ("/sessions", "k-1", 64 * 1024 + 1), ("/sessions/x/events", "k-1", 2)],
    ids=["no key", "a large body", "a service that honours no key"],
)
async def test_what_cannot_safely_be_sent_again_is_not(path: str, key: str | None, size: int) -> None:
    requests = 0

    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_request(reader)
        requests += 1
        writer.close()

    async with service(hangs_up) as url, running_gateway(media_url=url) as gateway:
        assert await created(gateway, b"x" * size, path, key) == 503
    assert requests == 1


async def test_a_request_whose_answer_began_is_not_sent_again() -> None:
    requests = 0

    async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_request(reader)
        requests += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        writer.close()

    async with service(breaks_off) as url, running_gateway(media_url=url) as gateway:
        with pytest.raises(aiohttp.ClientPayloadError):
            await created(gateway, b"{}")
    assert requests == 1


async def test_half_a_body_that_is_still_arriving_is_sent_again_whole() -> None:
    bodies: list[bytes] = []
    hung_up = asyncio.Event()

    async def hangs_up_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not hung_up.is_set():
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(5)
            hung_up.set()
        else:
            bodies.append(await read_request(reader))
            writer.write(answered())
        writer.close()

    async with service(hangs_up_early) as url, running_gateway(media_url=url) as gateway, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        authorization = gateway.signed_in()["Authorization"]
        head = f"POST /sessions HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\nIdempotency-Key: k-1\r\n"
        writer.write(f"{head}Content-Length: 10\r\n\r\nfirst".encode())
        await hung_up.wait()
        writer.write(b"other")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    assert bodies == [b"firstother"]


async def test_a_service_that_does_not_answer_is_soon_asked_no_more_and_then_again() -> None:
    requests, well = 0, False

    async def ails(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_request(reader)
        requests += 1
        if well:
            writer.write(answered())
        writer.close()

    async with service(ails) as url, running_gateway(media_url=url) as gateway, asyncio.timeout(60):
        statuses = [await created(gateway, b"{}", key=None) for _ in range(30)]
        assert set(statuses) == {503}
        assert 10 <= requests < 30  # on a slow machine a probe or two fall into this time
        async with gateway.http.post(f"{gateway.url}/sessions", headers=gateway.signed_in()) as answer:
            assert (answer.status, answer.headers["Retry-After"] in ("1", "2")) == (503, True)
            assert envelope(await answer.read())["code"] == "UNAVAILABLE"
        assert await metric(gateway, 'upstream_breaker_state{upstream="media"}') == 2
        assert await metric(gateway, 'upstream_breaker_state{upstream="identity"}') == 0
        async with gateway.http.get(f"{gateway.url}/me", headers=gateway.signed_in()) as answer:
            assert answer.status == 200
        asked, well = requests, True
        while await created(gateway, b"{}", key=None) != 200:
            await asyncio.sleep(
                0.05
            )  # who asks without a pause meets the limit of writes before the service's rest is over
        assert await metric(gateway, 'upstream_breaker_state{upstream="media"}') == 0
        assert requests == asked + 1


async def test_a_service_that_says_it_is_unavailable_is_given_a_rest() -> None:
    async with running_gateway() as gateway:
        gateway.service.answer_status = 503
        statuses = [await gateway.status_of(gateway.forge.token()) for _ in range(30)]
        assert set(statuses) == {503}
        assert 10 <= len(gateway.service.received) < 30


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 502])
async def test_any_other_answer_is_no_reason_to_stop_asking(status: int) -> None:
    async with running_gateway() as gateway:
        gateway.service.answer_status = status
        statuses = [await gateway.status_of(gateway.forge.token()) for _ in range(15)]
        assert (set(statuses), len(gateway.service.received)) == ({status}, 15)


async def test_bodies_that_clients_break_off_are_not_held_against_the_service() -> None:
    async def takes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    slow = [replace(route, total_seconds=0.2) for route in ROUTES]
    async with service(takes) as url, running_gateway(slow, media_url=url) as gateway, asyncio.timeout(30):
        authorization = gateway.signed_in()["Authorization"]
        head = f"POST /sessions HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\nContent-Length: 10\r\n\r\n"
        for _ in range(15):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(head.encode() + b"half")
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
            writer.close()
        assert await metric(gateway, 'upstream_breaker_state{upstream="media"}') == 0


async def test_a_service_that_takes_no_calls_is_at_fault_whatever_the_client_had_to_send() -> None:
    with ExitStack() as held:
        deaf = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            caller = held.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        async with running_gateway(media_url=f"http://127.0.0.1:{deaf.getsockname()[1]}") as gateway:
            statuses = await asyncio.gather(*(created(gateway, b"{}", key=None) for _ in range(12)))
            assert set(statuses) == {503}
            assert await metric(gateway, 'upstream_breaker_state{upstream="media"}') == 2


async def metric(gateway: RunningGateway, name: str) -> float:
    async with gateway.http.get(f"{gateway.internal_url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")))


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
