"""Methods, origins, pages and listeners: what the gateway answers itself. Over real HTTP."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.docs import ConflictingSchemas, merge
from gateway.routes import OWN, ROUTES
from tests.support.running_gateway import RunningGateway, envelope, running_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORIGIN = "https://app.example.com"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[RunningGateway]:
    async with running_gateway(allowed_origins=(ORIGIN,)) as running:
        yield running


@pytest.fixture
def gateway(shared: RunningGateway) -> RunningGateway:
    shared.service.forget()
    return shared


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
        path = re.sub(r"\{[a-z]+\}", "x", route.path)
        for method in route.methods:
            async with gateway.http.request(method, gateway.url + path) as answer:
                assert (answer.status == 401) is not route.public, (method, path)
    public = {route.path for route in ROUTES if route.public}
    own, webhooks = {"/health", "/docs", "/docs/{name}", "/openapi.json"}, {"/webhooks/clerk", "/webhooks/revenuecat"}
    assert public == own | webhooks | {"/play/{grant}", "/me/deletions/{id}"}


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
    for path in ("/health/live", "/metrics", "/.well-known/jwks.json"):
        async with gateway.http.get(gateway.url + path) as answer:
            assert answer.status == 404


async def test_the_page_of_the_document_brings_all_its_parts_itself(gateway: RunningGateway) -> None:
    async with gateway.http.get(f"{gateway.url}/docs") as answer:
        page, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self' 'sha256-" in policy
    assert "://" not in page + policy
    parts = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(parts) == 3
    for part in parts:
        async with gateway.http.get(f"{gateway.url}/{part}") as answer:
            assert answer.status == 200
            assert len(await answer.read()) > 100
            assert "max-age" in answer.headers["Cache-Control"]
    async with gateway.http.get(f"{gateway.url}/docs/pages.py") as answer:
        assert (answer.status, (await answer.json())["code"]) == (404, "NOT_FOUND")


async def test_the_internal_listener_tells_operators(gateway: RunningGateway) -> None:
    async with gateway.http.get(f"{gateway.internal_url}/health/ready") as answer:
        assert (answer.status, await answer.json()) == (200, {"ok": True, "missing": {}})


async def metrics(gateway: RunningGateway) -> dict[str, float]:
    async with gateway.http.get(f"{gateway.internal_url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


async def test_metrics_tell_rate_errors_and_duration_per_route_and_service(gateway: RunningGateway) -> None:
    before = await metrics(gateway)
    token = gateway.forge.token()
    for _ in range(3):
        assert await gateway.status_of(token, "/sessions/one") == 200
    gateway.service.answer_status = 500
    assert await gateway.status_of(token, "/sessions/two") == 500
    assert await gateway.status_of("a.b.c", "/sessions/three") == 401
    after = await metrics(gateway)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    route = 'method="GET",route="/sessions/{id}",service="gateway"'
    assert [grown(f'http_requests_total{{{route},status="{status}"}}') for status in (200, 500, 401)] == [3, 1, 1]
    assert grown(f"http_request_duration_seconds_count{{{route}}}") == 5
    assert grown('upstream_answer_seconds_count{upstream="media"}') == 4
    assert grown('verified_token_lookups_total{outcome="hit"}') == 3
    assert grown('verified_token_lookups_total{outcome="miss"}') == 2
    refused = [name for name in after if name.startswith("session_tokens_refused_total{")]
    assert sum(grown(name) for name in refused) == 1
    assert 0 <= after['key_set_age_seconds{source="clerk"}'] < 60
    for upstream in ("identity", "billing", "media"):
        assert after[f'upstream_breaker_state{{upstream="{upstream}"}}'] == 0


@pytest.mark.parametrize("path, status", [("/voices", 200), ("/nowhere", 404), ("/health", 200), ("/%2e%2e", 400)])
async def test_every_answer_carries_the_security_headers(gateway: RunningGateway, path: str, status: int) -> None:
    answered, raw = await gateway.get_raw(path, f"Authorization: Bearer {gateway.forge.token()}")
    head = raw.split(b"\r\n\r\n")[0].lower().split(b"\r\n")[1:]
    assert answered == status
    for header in (
        b"x-content-type-options: nosniff",
        b"referrer-policy: no-referrer",
        b"x-frame-options: deny",
        b"cache-control: no-store",
        b"vary: origin",
    ):
        assert head.count(header) == 1, header
    names = [line.split(b":")[0] for line in head]
    assert names.count(b"x-request-id") == 1
    assert b"server" not in names


async def test_what_a_service_says_about_caching_stands(gateway: RunningGateway) -> None:
    gateway.service.answer_headers = {"Cache-Control": "private, max-age=60", "Vary": "Accept-Language"}
    async with gateway.http.get(f"{gateway.url}/voices", headers=gateway.signed_in()) as answer:
        assert answer.headers["Cache-Control"] == "private, max-age=60"
        assert answer.headers.getall("Vary") == ["Accept-Language", "Origin"]


async def test_browsers_may_read_what_they_need_to_wait(gateway: RunningGateway) -> None:
    headers = gateway.signed_in(sub="user_browser") | {"Origin": ORIGIN}
    async with gateway.http.put(f"{gateway.url}/me/struggle", headers=headers, data=b"{}") as answer:
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert set(exposed) == {"RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"}
        assert all(name in answer.headers for name in exposed if name != "Retry-After")


def service_document(path: str, **schemas: Any) -> dict[str, Any]:
    operation = {"operationId": "read", "responses": {"200": {"description": "ok"}}}
    return {"paths": {path: {"get": operation}, "/health/live": {"get": operation}}, "components": {"schemas": schemas}}


async def test_one_document_holds_what_the_services_offer_to_the_public() -> None:
    merged = merge(
        [service_document("/sessions/{session_id}", Session={"type": "object"}), service_document("/secret")]
    )
    assert merged["paths"].keys() == {"/health", "/sessions/{session_id}"}
    operation = merged["paths"]["/sessions/{session_id}"]["get"]
    assert operation["responses"].keys() == {"200", "400", "401", "429", "503"}
    assert operation["tags"] == ["media"]
    assert merged["components"]["schemas"].keys() == {"Error", "Session"}


async def test_the_document_says_where_the_number_of_requests_is_limited() -> None:
    """Where an allowance counts, and wherever tokens could be guessed."""
    paths = merge([service_document("/play/{grant}"), service_document("/voices")])["paths"]
    limited = {path for path, item in paths.items() if "429" in item["get"]["responses"]}
    assert (limited, paths.keys() - limited) == ({"/play/{grant}", "/voices"}, {"/health"})


async def test_two_schemas_under_one_name_are_not_merged_in_silence() -> None:
    with pytest.raises(ConflictingSchemas):
        merge([service_document("/me", A={"type": "object"}), service_document("/voices", A={"type": "string"})])


async def test_the_gateway_forwards_to_three_services_and_no_other() -> None:
    assert {route.service for route in ROUTES} == {OWN, "identity", "billing", "media"}
