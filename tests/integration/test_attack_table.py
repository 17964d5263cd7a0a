"""The table of attacks on tokens and on the way they are carried, over real HTTP against a running gateway."""

import base64
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.hostile_tokens import HOSTILE
from tests.support.running_gateway import RunningGateway, envelope, running_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSAL = {"code": "UNAUTHORIZED", "message": "Sign in and send a valid session token."}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[RunningGateway]:
    async with running_gateway(clerk_authorized_parties=("https://app.example.com",)) as running:
        yield running


@pytest.mark.parametrize("attack", HOSTILE)
async def test_a_hostile_token_is_refused_like_every_other(gateway: RunningGateway, attack: str) -> None:
    token = HOSTILE[attack](gateway.forge)
    seen = len(gateway.service.received)

    status, answer = await gateway.get_raw("/voices", f"Authorization: Bearer {token}")

    assert (status, envelope(answer)) == (401, REFUSAL)
    assert b"www-authenticate: bearer" in answer.lower()
    assert len(gateway.service.received) == seen


async def test_a_genuine_token_passes_before_and_after_the_attacks(gateway: RunningGateway) -> None:
    assert await gateway.status_of(gateway.forge.token()) == 200


@pytest.mark.parametrize(
    "header",
    [{}, {"cat": "cl_I7d4PD111III"}, {"oiat": 1, "somethingNew": {"a": [1]}}],
    ids=["session", "without class", "unknown parameters"],
)
async def test_parameters_that_clerk_may_add_do_no_harm(gateway: RunningGateway, header: dict[str, object]) -> None:
    assert await gateway.status_of(gateway.forge.token(header)) == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://api.example.com"},
        {"at_hash": "x"},
        {"jti": 5},
        {"azp": "https://app.example.com"},
        {"metadata": {"tags": ["a", {"b": 1.5}]}},
    ],
    ids=str,
)
async def test_claims_that_customers_add_do_no_harm(gateway: RunningGateway, claims: dict[str, object]) -> None:
    assert await gateway.status_of(gateway.forge.token(**claims)) == 200


@pytest.mark.parametrize("party", ["https://evil.example", "https://app.example.com.evil.example", 7, ["x"]], ids=str)
async def test_a_token_minted_for_another_origin_is_refused(gateway: RunningGateway, party: object) -> None:
    assert await gateway.status_of(gateway.forge.token(azp=party)) == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_may_be_written_in_any_case(gateway: RunningGateway, scheme: str) -> None:
    status, _ = await gateway.get_raw("/voices", f"Authorization: {scheme} {gateway.forge.token()}")
    assert status == 200


@pytest.mark.parametrize(
    "carrier",
    [
        *("{t}", "Basic {t}", "Token {t}", "Bearer", "Bearer  {t}", "Bearer\t{t}", "Bearer\u00a0{t}"),
        *("Bearer {t}, Bearer {t}", "Bearer {t} x", "Bearer {t}\u00e9"),
    ],
    ids=ascii,
)
async def test_a_token_carried_in_any_other_form_is_refused(gateway: RunningGateway, carrier: str) -> None:
    status, answer = await gateway.get_raw("/voices", f"Authorization: {carrier.format(t=gateway.forge.token())}")
    assert (status, envelope(answer)) == (401, REFUSAL)


async def test_two_authorization_headers_are_a_bad_request(gateway: RunningGateway) -> None:
    header = f"Authorization: Bearer {gateway.forge.token()}"
    status, answer = await gateway.get_raw("/voices", header, header)
    assert (status, envelope(answer)["code"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("place", ["access_token", "token", "__session"])
async def test_a_token_in_the_query_or_a_cookie_is_not_read(gateway: RunningGateway, place: str) -> None:
    token = gateway.forge.token()
    assert (await gateway.get_raw(f"/voices?{place}={token}"))[0] == 401
    assert (await gateway.get_raw("/voices", f"Cookie: {place}={token}"))[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        *("/me/../voices", "/me/./values", "/..", "//voices", "/me//values", "/sessions/%2e%2e/x", "/me%2fvalues"),
        *("/sessions/..%2fme", "/sessions/a%5cb", "/sessions/a%00", "/sessions/a%0d%0ab", "/sessions/%252e"),
        *("/sessions/a%zz", "/s\\x", "/sessions/\u00e9"),
    ],
)
async def test_a_path_that_can_be_read_in_two_ways_is_refused(gateway: RunningGateway, path: str) -> None:
    status, _ = await gateway.get_raw(path, f"Authorization: Bearer {gateway.forge.token()}")
    assert status == 400


@pytest.mark.parametrize("path", ["/", "/nothing", "/me/", "/voices/1", "/%6de", "/health/ready", "/metrics"])
async def test_an_unknown_path_is_not_found_for_everybody(gateway: RunningGateway, path: str) -> None:
    for headers in ([], [f"Authorization: Bearer {gateway.forge.token()}"]):
        status, answer = await gateway.get_raw(path, *headers)
        assert (status, envelope(answer)["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "request_text",
    [
        "POST /sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /voices HTTP/1.1\r\nHost: a\r\nX-A: b\nX-User-Id: evil\r\n\r\n",
        "GET /voices HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n",
        "GET /voices HTTP/1.1\r\nHost: a\r\nX-A: b\r\n folded\r\n\r\n",
        "GET /voices HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n",
        "GET /voices HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /voices HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        "GET /voices HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n",
        "GET /voices HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
    ],
    ids=[
        "two lengths",
        "bare LF",
        "blank before colon",
        "folded",
        "NUL",
        "no host",
        "two hosts",
        "bad host",
        "empty host",
    ],
)
async def test_a_request_that_smuggles_is_refused(gateway: RunningGateway, request_text: str) -> None:
    status, answer = await gateway.raw(request_text.encode())
    assert status == 400
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_more_headers_than_any_client_sends_are_refused(gateway: RunningGateway) -> None:
    authorization = f"Authorization: Bearer {gateway.forge.token()}"
    assert (await gateway.get_raw("/voices", authorization, *(f"X-{n}: 1" for n in range(120))))[0] == 400
    assert (await gateway.get_raw("/voices", authorization, "X-Long: " + "a" * 17_000))[0] == 400
    assert (await gateway.get_raw("/voices", authorization, *(f"X-{n}: 1" for n in range(60))))[0] == 200


async def test_impersonation_is_passed_on_as_such(gateway: RunningGateway) -> None:
    await gateway.status_of(gateway.forge.token(act={"sub": "user_admin", "iss": "https://dashboard.example"}))
    sent = gateway.service.last.header("Authorization") or ""
    payload = sent.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert (claims["sub"], claims["act"], claims["aud"]) == ("user_2abc", "user_admin", "media")
