"""What passes the gateway in either direction, and what is stripped. Over real HTTP."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from common.internal_tokens import InternalTokenVerifier
from common.jwks import JwksClient
from common.web.deadlines import BUDGET_HEADER
from tests.support.running_gateway import RunningGateway, claims_of, envelope, running_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[RunningGateway]:
    async with running_gateway() as running:
        yield running


@pytest.fixture
def gateway(shared: RunningGateway) -> RunningGateway:
    shared.service.forget()
    return shared


async def test_the_service_gets_an_internal_token_it_can_verify(gateway: RunningGateway) -> None:
    assert await gateway.status_of(gateway.forge.token(), "/sessions") == 200
    sent = (gateway.service.last.header("Authorization") or "").removeprefix("Bearer ")
    address = f"{gateway.internal_url}/.well-known/jwks.json"
    keys = JwksClient(address, source="test", algorithms={"ES256"})
    caller = await InternalTokenVerifier("media", keys).verify(sent)
    assert (caller.user_id, caller.session_id, caller.issuer) == ("user_2abc", "sess_2abc", gateway.forge.issuer)


@pytest.mark.attack("E6")
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
        *("webhook-signature", "X-Entrain-Plan", "X_Request.Timeout-Ms"),
    ],
)
async def test_a_client_cannot_speak_in_our_name(gateway: RunningGateway, name: str) -> None:
    headers = gateway.signed_in() | {name: "evil"}
    async with gateway.http.get(f"{gateway.url}/voices", headers=headers) as answer:
        assert answer.status == 200
    assert "evil" not in [value for _, value in gateway.service.last.headers]


@pytest.mark.attack("E7")
async def test_headers_listed_by_connection_end_here(gateway: RunningGateway) -> None:
    listed = "close, X-Hop, authorization, x-request-id, X-Forwarded-For"
    headers = gateway.signed_in() | {"Connection": listed, "X-Hop": "evil"}
    async with gateway.http.get(f"{gateway.url}/voices", headers=headers) as answer:
        assert answer.status == 200
    assert "x-hop" not in gateway.service.last.names()
    assert claims_of(gateway.service.last.header("Authorization"))["sub"] == "user_2abc"
    assert gateway.service.last.header("X-Request-Id")
    assert gateway.service.last.header("X-Forwarded-For") == "127.0.0.1"


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


@pytest.mark.parametrize(
    "trace",
    [
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-evil",
        "nonsense",
    ],
)
async def test_a_malformed_trace_is_replaced(gateway: RunningGateway, trace: str) -> None:
    async with gateway.http.get(
        f"{gateway.url}/voices", headers=gateway.signed_in() | {"traceparent": trace}
    ) as answer:
        assert answer.status == 200
    passed = (gateway.service.last.header("traceparent") or "").split("-")
    assert [len(part) for part in passed] == [2, 32, 16, 2]
    assert passed[1] != trace.split("-")[-3 if "-" in trace else 0].lower()


@pytest.mark.parametrize("path, idle", [("/voices", 30), ("/affirmations/generate", 90)])
async def test_the_service_is_told_how_long_it_may_take_and_not_by_the_client(
    gateway: RunningGateway, path: str, idle: int
) -> None:
    headers = gateway.signed_in() | {BUDGET_HEADER: "1"}
    method = "GET" if path == "/voices" else "POST"
    async with gateway.http.request(method, gateway.url + path, headers=headers) as answer:
        assert answer.status == 200
    told = int(gateway.service.last.header(BUDGET_HEADER) or 0)
    assert idle * 900 < told < idle * 1000


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


async def test_a_body_over_the_limit_is_refused_declared_or_not(gateway: RunningGateway) -> None:
    for body in (b"x" * (1024 * 1024 + 1), in_pieces(20, 100_000)):
        async with gateway.http.post(f"{gateway.url}/sessions", headers=gateway.signed_in(), data=body) as answer:
            assert answer.status == 413
            assert envelope(await answer.read())["code"] == "PAYLOAD_TOO_LARGE"
    assert gateway.service.received == []


@pytest.mark.parametrize("path", ["/affirmations/generate", "/sessions/x/events", "/sessions/x/ensure-audio"])
async def test_where_only_little_is_ever_sent_more_is_refused(gateway: RunningGateway, path: str) -> None:
    headers = gateway.signed_in(sub="user_little")
    for size, status in ((64 * 1024, 200), (64 * 1024 + 1, 413)):
        for body in (b"x" * size, in_pieces(1, size)):
            async with gateway.http.post(gateway.url + path, headers=headers, data=body) as answer:
                assert answer.status == status
    assert len(gateway.service.received) == 2


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


async def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(gateway: RunningGateway) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        async with gateway.http.get(f"{gateway.url}/me/curation", headers=gateway.signed_in()) as answer:
            await answer.read()


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


async def test_a_redirect_goes_to_the_client_unfollowed(gateway: RunningGateway) -> None:
    gateway.service.answer_status = 302
    gateway.service.answer_headers = {"Location": "https://cdn.example.com/a.m4a?Signature=x~y"}
    async with gateway.http.get(f"{gateway.url}/play/grant", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "https://cdn.example.com/a.m4a?Signature=x~y")
    assert len(gateway.service.received) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 409, 429, 500, 503])
async def test_a_service_s_refusal_reaches_the_client_as_it_is(gateway: RunningGateway, status: int) -> None:
    gateway.service.answer_status = status
    gateway.service.answer_headers = {"Retry-After": "17"}
    async with gateway.http.get(f"{gateway.url}/voices", headers=gateway.signed_in()) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (status, "17")
        assert await answer.json() == {"size": 0}
    assert len(gateway.service.received) == 1
