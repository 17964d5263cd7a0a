"""The way through the gateway: what passes, what is stripped, what happens when either side leaves. Over real HTTP."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from common.internal_tokens import InternalTokenVerifier
from common.jwks import JwksClient
from embedded.processes import free_ports
from gateway.docs import ConflictingSchemas, merge
from gateway.routes import OWN, ROUTES
from tests.support.running_gateway import RunningGateway, envelope, running_gateway
from tests.support.token_forge import TokenForge

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORIGIN = "https://app.example.com"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[RunningGateway]:
    async with running_gateway(allowed_origins=(ORIGIN,)) as running:
        yield running


@pytest.fixture
def gateway(shared: RunningGateway) -> RunningGateway:
    """The shared gateway, with the service behind it as new."""
    shared.service.received.clear()
    shared.service.answer_headers = {}
    shared.service.go_on = asyncio.Event()
    return shared


def claims_of(authorization: str | None) -> dict[str, Any]:
    assert authorization is not None
    scheme, _, token = authorization.partition(" ")
    assert scheme == "Bearer"
    payload = token.split(".")[1]
    parsed: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return parsed


async def test_the_service_gets_an_internal_token_it_can_verify(gateway: RunningGateway) -> None:
    assert await gateway.status_of(gateway.forge.token(), "/sessions") == 200
    sent = (gateway.service.last.header("Authorization") or "").removeprefix("Bearer ")
    address = f"{gateway.internal_url}/.well-known/jwks.json"
    keys = JwksClient(address, source="test", algorithms={"ES256"})
    caller = await InternalTokenVerifier("media", keys).verify(sent)
    assert (caller.user_id, caller.session_id, caller.issuer) == ("user_2abc", "sess_2abc", gateway.forge.issuer)


@pytest.mark.parametrize(
    "name",
    [
        *("X-User-Id", "X_User_Id", "X.User.Id", "x-user_email", "X-Auth-Request-User", "X-Identity-Token"),
        *("X-Internal-Identity", "X_Internal.Token", "X-Clerk-Auth", "X-Remote-User", "Remote-User", "Remote_User"),
        *("X-Webhook-Authorization", "X_Webhook_Authorization", "X-Forwarded-User", "X-Forwarded-Client-Cert"),
        *("X-Amzn-Oidc-Data", "X-Goog-Authenticated-User", "X-Ms-Client-Principal-Id", "X-SSL-Client-Cert"),
        *("Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP", "X-Original-URL"),
        *("X-Rewrite-URL", "X-HTTP-Method-Override", "Cookie", "Proxy-Authorization", "TE", "Keep-Alive", "Txn-Token"),
        *("tracestate", "baggage", "Via", "svix-id", "Svix_Signature", "X-RevenueCat-Webhook-Signature"),
        *("webhook-signature", "X-Entrain-Plan"),
    ],
)
async def test_a_client_cannot_speak_in_our_name(gateway: RunningGateway, name: str) -> None:
    headers = gateway.signed_in() | {name: "evil"}
    async with gateway.http.get(f"{gateway.url}/voices", headers=headers) as answer:
        assert answer.status == 200
    assert "evil" not in [value for _, value in gateway.service.last.headers]


async def test_headers_listed_by_connection_end_here(gateway: RunningGateway) -> None:
    headers = gateway.signed_in() | {"Connection": "close, X-Hop, authorization, x-request-id", "X-Hop": "evil"}
    async with gateway.http.get(f"{gateway.url}/voices", headers=headers) as answer:
        assert answer.status == 200
    assert "x-hop" not in gateway.service.last.names()
    assert claims_of(gateway.service.last.header("Authorization"))["sub"] == "user_2abc"
    assert gateway.service.last.header("X-Request-Id")


async def test_ordinary_headers_pass(gateway: RunningGateway) -> None:
    ordinary = {"Accept-Language": "de", "Idempotency-Key": "k-1", "If-None-Match": '"a"', "X-App-Version": "3 – β"}
    async with gateway.http.get(f"{gateway.url}/voices", headers=gateway.signed_in() | ordinary) as answer:
        assert answer.status == 200
    assert {name: gateway.service.last.header(name) for name in ordinary} == ordinary


async def test_a_header_that_is_no_text_is_a_bad_request(gateway: RunningGateway) -> None:
    token = gateway.forge.token()
    status, _ = await gateway.get_raw("/voices", f"Authorization: Bearer {token}", "X-App: \udcff\udcfe")
    assert status == 400


async def test_what_a_service_says_of_itself_stays_inside(gateway: RunningGateway) -> None:
    gateway.service.answer_headers = {
        "Server": "inside/1.0",
        "X-Powered-By": "x",
        "Set-Cookie": "a=b",
        "X-Internal-Node": "7",
        "Access-Control-Allow-Origin": "*",
        "Connection": "X-Hop",
        "X-Hop": "1",
        "ETag": '"v1"',
        "X-Total": "3",
    }
    async with gateway.http.get(f"{gateway.url}/voices", headers=gateway.signed_in()) as answer:
        names = {name.lower() for name in answer.headers}
        assert answer.headers["ETag"] == '"v1"'
        assert answer.headers["X-Total"] == "3"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert len(answer.headers.getall("Date")) == 1
    hidden = {"server", "x-powered-by", "set-cookie", "x-internal-node", "access-control-allow-origin", "x-hop"}
    assert not names & hidden


async def test_request_id_and_trace_go_through_to_the_service_and_back(gateway: RunningGateway) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = gateway.signed_in() | {"X-Request-Id": "request-from-app", "traceparent": trace}
    async with gateway.http.get(f"{gateway.url}/voices", headers=headers) as answer:
        assert answer.headers.getall("X-Request-Id") == ["request-from-app"]
    assert gateway.service.last.header("X-Request-Id") == "request-from-app"
    passed = gateway.service.last.header("traceparent") or ""
    assert passed.split("-")[1] == trace.split("-")[1]
    assert passed != trace


async def test_a_malformed_request_id_is_replaced(gateway: RunningGateway) -> None:
    headers = gateway.signed_in() | {"X-Request-Id": 'x" injected="1'}
    async with gateway.http.get(f"{gateway.url}/voices", headers=headers) as answer:
        assert answer.headers["X-Request-Id"] == gateway.service.last.header("X-Request-Id")
        assert "injected" not in answer.headers["X-Request-Id"]


async def test_path_and_query_arrive_as_they_were_written(gateway: RunningGateway) -> None:
    target = "/sessions/a%20b~c?limit=5&q=%2F%C3%A9&empty="
    status, _ = await gateway.get_raw(target, f"Authorization: Bearer {gateway.forge.token()}")
    assert (status, gateway.service.last.target) == (200, target)


@pytest.mark.parametrize("size", [0, 2, 70_000, 1024 * 1024])
async def test_bodies_arrive_byte_by_byte(gateway: RunningGateway, size: int) -> None:
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    headers = gateway.signed_in() | {"Content-Type": "application/json"}
    async with gateway.http.post(f"{gateway.url}/sessions", headers=headers, data=body) as answer:
        assert (answer.status, (await answer.json())["size"]) == (200, size)
    assert gateway.service.last.body == body
    assert gateway.service.last.header("Content-Type") == "application/json"


async def in_pieces(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


async def test_a_body_of_unknown_length_streams_through(gateway: RunningGateway) -> None:
    headers = gateway.signed_in()
    async with gateway.http.put(f"{gateway.url}/me/struggle", headers=headers, data=in_pieces(10, 9_999)) as answer:
        assert (await answer.json())["size"] == 99_990


async def test_a_body_goes_on_while_it_is_still_arriving() -> None:
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def takes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(1000)
        arrived.set()
        assert await reader.read() == b""
        ended.set()
        writer.close()

    server = await asyncio.start_server(takes, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running_gateway(media_url=f"http://127.0.0.1:{port}") as gateway, asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        authorization = gateway.signed_in()["Authorization"]
        head = f"POST /sessions HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\nContent-Length: 2000\r\n\r\n"
        writer.write(head.encode() + b"x" * 1000)
        await arrived.wait()
        writer.close()
        await ended.wait()


async def test_a_body_over_the_limit_is_refused_declared_or_not(gateway: RunningGateway) -> None:
    for body in (b"x" * (1024 * 1024 + 1), in_pieces(20, 100_000)):
        async with gateway.http.post(f"{gateway.url}/sessions", headers=gateway.signed_in(), data=body) as answer:
            assert answer.status == 413
            assert envelope(await answer.read())["code"] == "PAYLOAD_TOO_LARGE"
    assert gateway.service.received == []


async def test_a_body_is_not_read_before_the_caller_is_known(gateway: RunningGateway) -> None:
    text = "POST /sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\nConnection: close\r\n\r\n"
    status, _ = await gateway.raw(text.encode())
    assert status == 401


async def test_events_arrive_as_they_happen(gateway: RunningGateway) -> None:
    async with gateway.http.get(f"{gateway.url}/me/export", headers=gateway.signed_in()) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert await answer.content.readline() == b"data: first\n"
        gateway.service.go_on.set()
        assert (await answer.content.read()).endswith(b"data: second\n\n")


async def test_when_the_client_leaves_the_service_is_left_too() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def thinks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        left.set()
        writer.close()

    server = await asyncio.start_server(thinks, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running_gateway(media_url=f"http://127.0.0.1:{port}") as gateway, asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        authorization = gateway.signed_in()["Authorization"]
        writer.write(f"GET /voices HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n\r\n".encode())
        await asked.wait()
        writer.close()
        await left.wait()


async def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(gateway: RunningGateway) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        async with gateway.http.get(f"{gateway.url}/me/curation", headers=gateway.signed_in()) as answer:
            await answer.read()


async def test_head_is_answered_without_a_body(gateway: RunningGateway) -> None:
    async with gateway.http.head(f"{gateway.url}/voices", headers=gateway.signed_in()) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 0
    assert gateway.service.last.method == "GET"
    async with gateway.http.head(f"{gateway.url}/play/grant") as answer:
        assert answer.status == 200
    assert gateway.service.last.method == "HEAD"


async def test_a_method_the_address_does_not_take_is_405(gateway: RunningGateway) -> None:
    async with gateway.http.patch(f"{gateway.url}/me/struggle") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, PUT"
        assert envelope(await answer.read())["code"] == "METHOD_NOT_ALLOWED"


async def test_every_route_but_the_public_ones_needs_a_token(gateway: RunningGateway) -> None:
    for route in ROUTES:
        path = route.path.replace("{id}", "x").replace("{grant}", "x")
        for method in route.methods:
            async with gateway.http.request(method, gateway.url + path) as answer:
                assert (answer.status == 401) is not route.public, (method, path)
    public = {route.path for route in ROUTES if route.public}
    assert public == {"/health", "/docs", "/openapi.json", "/webhooks/clerk", "/webhooks/revenuecat", "/play/{grant}"}


async def test_a_webhook_arrives_whole_and_as_nobody(gateway: RunningGateway) -> None:
    body = b'{ "event" :  {"id": "1"} }\n'
    signed = {"X-RevenueCat-Webhook-Signature": "t=1,v1=ab", "svix-id": "msg_1", "svix-signature": "v1,ab"}
    headers = signed | {"Authorization": "the shared secret", "X-Webhook-Authorization": "evil"}
    async with gateway.http.post(f"{gateway.url}/webhooks/revenuecat", headers=headers, data=body) as answer:
        assert answer.status == 200
    received = gateway.service.last
    assert received.body == body
    assert {name: received.header(name) for name in signed} == signed
    assert received.header("X-Webhook-Authorization") == "the shared secret"
    claims = claims_of(received.header("Authorization"))
    assert claims["aud"] == "billing"
    assert "sub" not in claims


async def test_a_player_without_a_token_is_passed_on_as_nobody(gateway: RunningGateway) -> None:
    async with gateway.http.get(f"{gateway.url}/play/abc.def", headers={"Authorization": "Basic x"}) as answer:
        assert answer.status == 200
    assert "sub" not in claims_of(gateway.service.last.header("Authorization"))
    assert gateway.service.last.header("X-Webhook-Authorization") is None


async def test_browsers_of_listed_origins_may_call(gateway: RunningGateway) -> None:
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    async with gateway.http.options(f"{gateway.url}/me/struggle", headers=headers) as answer:
        assert (answer.status, await answer.read()) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert answer.headers["Access-Control-Max-Age"] == "86400"
    async with gateway.http.get(f"{gateway.url}/voices", headers={"Origin": ORIGIN}) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{ORIGIN}.evil.example", ORIGIN.upper()])
async def test_browsers_of_other_origins_may_not(gateway: RunningGateway, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    async with gateway.http.options(f"{gateway.url}/me/struggle", headers=headers) as answer:
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
        assert "Origin" in answer.headers["Vary"]


async def test_the_public_listener_shows_health_and_documents_only(gateway: RunningGateway) -> None:
    async with gateway.http.get(f"{gateway.url}/health") as answer:
        assert (answer.status, await answer.json()) == (200, {"ok": True})
    async with gateway.http.get(f"{gateway.url}/openapi.json") as answer:
        assert (await answer.json())["openapi"] == "3.1.0"
    async with gateway.http.get(f"{gateway.url}/docs") as answer:
        page = await answer.text()
        assert "sha256-" in answer.headers["Content-Security-Policy"]
    assert "://" not in page
    assert "src=" not in page
    for path in ("/health/live", "/metrics", "/.well-known/jwks.json"):
        async with gateway.http.get(gateway.url + path) as answer:
            assert answer.status == 404


async def test_the_internal_listener_tells_operators(gateway: RunningGateway) -> None:
    async with gateway.http.get(f"{gateway.internal_url}/health/ready") as answer:
        assert (answer.status, await answer.json()) == (200, {"ok": True, "missing": {}})
    async with gateway.http.get(f"{gateway.internal_url}/metrics") as answer:
        text = await answer.text()
    for name in (
        "http_requests_total",
        "upstream_answer_seconds",
        "key_set_age_seconds",
        "verified_token_lookups_total",
    ):
        assert name in text


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

    server = await asyncio.start_server(hangs_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    services = {f"{name}_url": f"http://127.0.0.1:{port}" for name in ("identity", "media")}
    async with server, running_gateway(**services) as gateway:
        body = None if method in ("GET", "DELETE") else b"{}"
        url = gateway.url + path
        async with gateway.http.request(method, url, headers=gateway.signed_in(), data=body) as answer:
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


def service_document(path: str, **schemas: Any) -> dict[str, Any]:
    operation = {"operationId": "read", "responses": {"200": {"description": "ok"}, "422": {"description": "no"}}}
    return {"paths": {path: {"get": operation}, "/health/live": {"get": operation}}, "components": {"schemas": schemas}}


async def test_one_document_holds_what_the_services_offer_to_the_public() -> None:
    merged = merge(
        [service_document("/sessions/{session_id}", Session={"type": "object"}), service_document("/secret")]
    )
    assert merged["paths"].keys() == {"/health", "/sessions/{session_id}"}
    operation = merged["paths"]["/sessions/{session_id}"]["get"]
    assert operation["responses"].keys() == {"200", "400", "401", "413", "503"}
    assert operation["tags"] == ["media"]
    assert merged["components"]["schemas"].keys() == {"Error", "Session"}


async def test_two_schemas_under_one_name_are_not_merged_in_silence() -> None:
    with pytest.raises(ConflictingSchemas):
        merge([service_document("/me", A={"type": "object"}), service_document("/voices", A={"type": "string"})])


async def test_the_gateway_forwards_to_three_services_and_no_other() -> None:
    assert {route.service for route in ROUTES} == {OWN, "identity", "billing", "media"}
