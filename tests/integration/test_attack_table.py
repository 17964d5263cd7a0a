"""The table of attacks on tokens and on the way they are carried, over real HTTP against a running gateway."""

import time
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from common import jwks
from tests.support.attack_table import attack
from tests.support.hostile_tokens import HOSTILE
from tests.support.running_gateway import RunningGateway, claims_of, envelope, running_gateway
from tests.support.token_forge import ABSENT, TokenForge

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSAL = {"code": "UNAUTHORIZED", "message": "Sign in and send a valid session token."}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[RunningGateway]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(jwks, "COOLDOWN", 0.2)  # forged tokens wait for it, and it is not what is tested here
        async with running_gateway(clerk_authorized_parties=("https://app.example.com",)) as running:
            yield running


@pytest.mark.parametrize("name", [attack(name.split(" ")[0], name, id=name) for name in HOSTILE])
async def test_a_hostile_token_is_refused_like_every_other(gateway: RunningGateway, name: str) -> None:
    token = HOSTILE[name](gateway.forge)
    seen = len(gateway.service.received)

    status, answer = await gateway.get_raw("/voices", f"Authorization: Bearer {token}")

    assert (status, envelope(answer)) == (401, REFUSAL)
    assert b"www-authenticate: bearer" in answer.lower()
    assert len(gateway.service.received) == seen


async def test_a_genuine_token_passes_before_and_after_the_attacks(gateway: RunningGateway) -> None:
    assert await gateway.status_of(gateway.forge.token()) == 200


@pytest.mark.attack("C7")
@pytest.mark.parametrize("claims", [{"exp": -1}, {"nbf": 3}, {"iat": 3, "exp": 60}], ids=str)
async def test_a_token_passes_when_clocks_differ_a_little(gateway: RunningGateway, claims: dict[str, int]) -> None:
    now = int(time.time())
    given = {"iat": -61, "nbf": -71, "exp": 0} | claims
    assert await gateway.status_of(gateway.forge.token(**{name: now + at for name, at in given.items()})) == 200


@pytest.mark.attack("B14")
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
        attack("C15", {"aud": "https://api.example.com"}),
        attack("C15", {"aud": ["a", "b"]}),
        attack("C15", {"aud": 5}),
        attack("C15", {"aud": None}),
        attack("C19", {"at_hash": "x"}),
        attack("C20", {"jti": 5}),
        attack("C13", {"azp": "https://app.example.com"}),
        attack("C13", {"azp": ABSENT}),
        attack("B14", {"metadata": {"tags": ["a", {"b": 1.5}]}}),
    ],
)
async def test_claims_that_customers_add_do_no_harm(gateway: RunningGateway, claims: dict[str, object]) -> None:
    assert await gateway.status_of(gateway.forge.token(**claims)) == 200


@pytest.mark.attack("C13")
@pytest.mark.parametrize("party", ["https://evil.example", "https://app.example.com.evil.example", 7, ["x"]], ids=str)
async def test_a_token_minted_for_another_origin_is_refused(gateway: RunningGateway, party: object) -> None:
    assert await gateway.status_of(gateway.forge.token(azp=party)) == 401


@pytest.mark.attack("E2")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_may_be_written_in_any_case(gateway: RunningGateway, scheme: str) -> None:
    status, _ = await gateway.get_raw("/voices", f"Authorization: {scheme} {gateway.forge.token()}")
    assert status == 200


@pytest.mark.parametrize(
    "carrier",
    [
        *(attack("E2", form) for form in ("Bearer  {t}", "Bearer\t{t}", "Bearer\u00a0{t}", "Bearer", "Bearer{t}")),
        *(attack("E3", form) for form in ("{t}", "Basic {t}", "Token {t}", "DPoP {t}", "Bearer {t}, Bearer {t}")),
        *(attack("E3", form) for form in ("Bearer {t} x", "Bearer {t},", "Basic x, Bearer {t}", 'Bearer "{t}"')),
        attack("D4", "Bearer {t}\u00e9"),
    ],
)
async def test_a_token_carried_in_any_other_form_is_refused(gateway: RunningGateway, carrier: str) -> None:
    status, answer = await gateway.get_raw("/voices", f"Authorization: {carrier.format(t=gateway.forge.token())}")
    assert (status, envelope(answer)) == (401, REFUSAL)


@pytest.mark.attack("E1")
async def test_two_authorization_headers_are_a_bad_request(gateway: RunningGateway) -> None:
    header = f"Authorization: Bearer {gateway.forge.token()}"
    status, answer = await gateway.get_raw("/voices", header, header)
    assert (status, envelope(answer)["code"]) == (400, "VALIDATION_ERROR")


@pytest.mark.attack("E4")
@pytest.mark.parametrize("place", ["access_token", "token", "__session"])
async def test_a_token_in_the_query_or_a_cookie_is_not_read(gateway: RunningGateway, place: str) -> None:
    token = gateway.forge.token()
    assert (await gateway.get_raw(f"/voices?{place}={token}"))[0] == 401
    assert (await gateway.get_raw("/voices", f"Cookie: {place}={token}"))[0] == 401


@pytest.mark.attack("E4")
async def test_no_log_line_holds_a_token(gateway: RunningGateway) -> None:
    token, hostile = gateway.forge.token(), gateway.forge.token(exp=1)
    with capture_logs() as lines:
        await gateway.get_raw(f"/voices?access_token={token}", f"Authorization: Bearer {token}")
        await gateway.get_raw(f"/voices?access_token={hostile}", f"Authorization: Bearer {hostile}")
    assert [line["event"] for line in lines].count("request") == 2
    assert not any(part in str(lines) for part in (token, hostile, token.rpartition(".")[2]))


@pytest.mark.attack("E5")
async def test_a_cookie_that_disagrees_with_the_header_counts_for_nothing(gateway: RunningGateway) -> None:
    other = gateway.forge.token(sub="user_other", sid="sess_other")
    header = f"Authorization: Bearer {gateway.forge.token()}"
    status, _ = await gateway.get_raw("/voices", header, f"Cookie: __session={other}")
    received = gateway.service.last
    assert (status, claims_of(received.header("Authorization"))["sub"]) == (200, "user_2abc")
    assert other not in str(received.headers)


@pytest.mark.attack("E13")
async def test_an_answer_never_tells_why_a_token_was_refused(gateway: RunningGateway) -> None:
    stranger = TokenForge(gateway.forge.issuer, kid=gateway.forge.kid)
    refused = {
        "expired": gateway.forge.token(exp=int(time.time()) - 30, iat=int(time.time()) - 90),
        "bad signature": stranger.token(),
        "unknown issuer": gateway.forge.token(iss="https://other.example"),
        "other origin": gateway.forge.token(azp="https://evil.example"),
        "pending": gateway.forge.token(sts="pending"),
        "malformed": "a.b.c",
    }
    answers = set()
    for token in refused.values():
        async with gateway.http.get(f"{gateway.url}/voices", headers={"Authorization": f"Bearer {token}"}) as answer:
            changing = ("date", "x-request-id")
            own = {name: value for name, value in answer.headers.items() if name.lower() not in changing}
            answers.add((answer.status, str(sorted(own.items())), await answer.text()))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 401


@pytest.mark.attack("E12")
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


@pytest.mark.attack("E12")
@pytest.mark.parametrize("path", ["/", "/nothing", "/me/", "/voices/1", "/%6de", "/health/ready", "/metrics"])
async def test_an_unknown_path_is_not_found_for_everybody(gateway: RunningGateway, path: str) -> None:
    for headers in ([], [f"Authorization: Bearer {gateway.forge.token()}"]):
        status, answer = await gateway.get_raw(path, *headers)
        assert (status, envelope(answer)["code"]) == (404, "NOT_FOUND")


GET = "GET /voices HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "request_text",
    [
        attack(
            "E9",
            "POST /sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="length and chunks",
        ),
        attack(
            "E9",
            "POST /sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
            id="two lengths",
        ),
        attack("E8", GET + "Host: a\r\nX-A: b\nX-User-Id: evil\r\n\r\n", id="bare LF"),
        attack("E8", GET + "Host: a\r\nX-A : b\r\n\r\n", id="blank before colon"),
        attack("E8", GET + "Host: a\r\nX-A: b\r\n folded\r\n\r\n", id="folded"),
        attack("E8", GET + "Host: a\r\nX-A: b\rX-User-Id: evil\r\n\r\n", id="bare CR"),
        attack("D4", GET + "Host: a\r\nAuthorization: Bearer a\0.b.c\r\n\r\n", id="NUL"),
        attack("D5", GET + "Host: a\r\nX-A: \udced\udca0\udc80\r\nConnection: close\r\n\r\n", id="lone surrogate"),
        attack("E10", GET + "Connection: close\r\n\r\n", id="no host"),
        attack("E10", GET + "Host: a\r\nHost: b\r\nConnection: close\r\n\r\n", id="two hosts"),
        attack("E10", GET + "Host: a/b\r\nConnection: close\r\n\r\n", id="bad host"),
        attack("E10", GET + "Host: a@b\r\nConnection: close\r\n\r\n", id="host with a user"),
        attack("E10", GET + "Host:\r\nConnection: close\r\n\r\n", id="empty host"),
    ],
)
async def test_a_request_that_smuggles_is_refused(gateway: RunningGateway, request_text: str) -> None:
    header = f"\r\nAuthorization: Bearer {gateway.forge.token()}\r\n"
    signed_in = request_text if "Authorization" in request_text else request_text.replace("\r\n", header, 1)
    seen = len(gateway.service.received)
    status, answer = await gateway.raw(signed_in.encode("utf-8", "surrogateescape"))
    assert status == 400
    assert (answer.count(b"HTTP/1.1 "), len(gateway.service.received)) == (1, seen)


@pytest.mark.attack("E10")
async def test_a_host_in_the_address_reaches_nobody(gateway: RunningGateway) -> None:
    header = f"Authorization: Bearer {gateway.forge.token()}"
    status, _ = await gateway.get_raw("http://evil.example/voices", header)
    received = gateway.service.last
    assert status == 200
    assert (received.header("X-Forwarded-Host"), received.target) == ("gateway.test", "/voices")
    assert "evil" not in str(received)


@pytest.mark.attack("E11")
async def test_more_headers_than_any_client_sends_are_refused(gateway: RunningGateway) -> None:
    authorization = f"Authorization: Bearer {gateway.forge.token()}"
    for number in (120, 2000):
        assert (await gateway.get_raw("/voices", authorization, *(f"X-{n}: 1" for n in range(number))))[0] == 400
    for size in (17_000, 60_000):
        assert (await gateway.get_raw("/voices", authorization, "X-Long: " + "a" * size))[0] == 400
    assert (await gateway.get_raw("/voices", authorization, *(f"X-{n}: 1" for n in range(60))))[0] == 200


@pytest.mark.parametrize(
    "token",
    [
        attack("D7", "." * 100_000, id="dots"),
        attack("D6", "A." * 2 + "A" * 100_000, id="0.1 MB signature"),
        attack("D6", "A." + "A" * 1_000_000 + ".A", id="1 MB payload"),
        attack("D6", "A" * 8_000_000 + ".A.A", id="8 MB header"),
    ],
)
async def test_an_enormous_token_is_cut_off(gateway: RunningGateway, token: str) -> None:
    seen = len(gateway.service.received)
    with suppress(ConnectionError):  # the rest of it is not even read
        assert (await gateway.get_raw("/voices", f"Authorization: Bearer {token}"))[0] == 400
    assert await gateway.status_of(gateway.forge.token()) == 200
    assert len(gateway.service.received) == seen + 1


@pytest.mark.attack("E16")
@pytest.mark.parametrize("path", ["/webhooks/clerk", "/webhooks/revenuecat"])
async def test_a_flood_of_webhook_body_is_cut_off(gateway: RunningGateway, path: str) -> None:
    async def flood() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536

    seen = len(gateway.service.received)
    for body in (b"x" * 1_100_000, flood()):
        with suppress(aiohttp.ClientError):  # the answer may come while the rest is still being sent
            async with gateway.http.post(gateway.url + path, data=body) as answer:
                assert answer.status == 413
    assert len(gateway.service.received) == seen


@pytest.mark.attack("C22")
async def test_impersonation_is_passed_on_as_such(gateway: RunningGateway) -> None:
    await gateway.status_of(gateway.forge.token(act={"sub": "user_admin", "iss": "https://dashboard.example"}))
    claims = claims_of(gateway.service.last.header("Authorization"))
    assert (claims["sub"], claims["act"], claims["aud"]) == ("user_2abc", "user_admin", "media")


@pytest.mark.attack("C22")
async def test_a_new_impersonated_token_is_audited_once(gateway: RunningGateway) -> None:
    token = gateway.forge.token(act={"sub": "user_admin"}, sid="sess_watched")
    with capture_logs() as lines:
        assert [await gateway.status_of(token) for _ in range(3)] == [200] * 3
    audited = [line for line in lines if line["event"] == "impersonated_token"]
    assert [(line["user_id"], line["actor"], line["session_id"]) for line in audited] == [
        ("user_2abc", "user_admin", "sess_watched")
    ]


@pytest.mark.attack("C22")
@pytest.mark.parametrize(
    "method, path",
    [("DELETE", "/me"), ("GET", "/me/export"), ("HEAD", "/me/export"), ("POST", "/me/subscription/sync")],
)
async def test_nobody_does_in_a_users_name_what_only_the_user_may(
    gateway: RunningGateway, method: str, path: str
) -> None:
    gateway.service.go_on.set()
    seen = len(gateway.service.received)
    impersonated = gateway.signed_in(act={"sub": "user_admin"})
    async with gateway.http.request(method, gateway.url + path, headers=impersonated) as answer:
        body = await answer.read()
        assert answer.status == 403
    if method != "HEAD":
        assert envelope(body)["code"] == "IMPERSONATION_REFUSED"
    assert len(gateway.service.received) == seen
    async with gateway.http.request(method, gateway.url + path, headers=gateway.signed_in()) as answer:
        assert answer.status == 200
    async with gateway.http.get(f"{gateway.url}/me", headers=impersonated) as answer:
        assert answer.status == 200
