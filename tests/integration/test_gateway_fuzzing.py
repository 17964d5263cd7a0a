"""Arbitrary tokens, headers and addresses over real HTTP: never an error of ours, and nobody let in by accident."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.support.running_gateway import RunningGateway, claims_of, running_gateway
from tests.support.token_forge import TokenForge, as_json, public_bytes

FORGE = TokenForge("https://clerk.test")
LENGTH = len(FORGE.token())
RUNNER = asyncio.Runner()
bounded = settings(
    deadline=None, derandomize=True, database=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner), max_leaves=8
)
names = st.sampled_from(["alg", "typ", "kid", "cat", "crit", "b64", "iss", "sub", "sid", "exp", "iat", "nbf", "azp"])
changes = st.dictionaries(names | st.text(max_size=5), json_values, max_size=4)
line_bytes = st.binary(max_size=80).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b""))
unframed = st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_|~-]{1,24}", fullmatch=True).filter(
    lambda name: name.lower() not in (b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"connection")
)
extra_headers = st.lists(st.tuples(unframed, line_bytes), max_size=12)
targets = st.binary(max_size=60).map(lambda raw: b"/" + raw.translate(None, b"\r\n \t"))


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    """With the key given at start: a forged signature then waits for no newer keys."""
    stack = AsyncExitStack()
    given_key: dict[str, Any] = {"clerk_jwks_url": None, "clerk_jwt_key": public_bytes(FORGE.key).decode()}
    opened = running_gateway(clerk_issuers=(FORGE.issuer,), **given_key)
    yield RUNNER.run(stack.enter_async_context(opened))
    RUNNER.run(stack.aclose())


def ask(gateway: RunningGateway, *lines: bytes, target: bytes = b"/voices") -> int:
    """The status of a request with these header lines; 0 when the gateway hung up."""
    head = [b"GET " + target + b" HTTP/1.1", b"Host: gateway.test", b"Connection: close", *lines, b"", b""]
    status, _ = RUNNER.run(gateway.raw(b"\r\n".join(head)))
    return status


def bearer(token: str) -> bytes:
    return b"Authorization: Bearer " + token.encode("utf-8", "surrogatepass")


def test_the_genuine_token_is_accepted(gateway: RunningGateway) -> None:
    assert ask(gateway, bearer(FORGE.token())) == 200


@bounded
@given(st.integers(0, LENGTH - 1), st.characters(), st.sampled_from(["replace", "insert", "drop"]))
def test_no_altered_token_is_accepted(gateway: RunningGateway, position: int, character: str, how: str) -> None:
    assume(character not in "\r\n")
    genuine = FORGE.token()
    rest = genuine[position + (how != "insert") :]
    altered = genuine[:position] + ("" if how == "drop" else character) + rest
    assume(altered != genuine)
    seen = len(gateway.service.received)
    assert ask(gateway, bearer(altered)) in (400, 401)
    assert len(gateway.service.received) == seen


@bounded
@given(changes, changes)
def test_whatever_is_signed_is_accepted_or_refused_in_order(
    gateway: RunningGateway, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    status = ask(gateway, bearer(FORGE.signed(as_json(FORGE.header() | header), as_json(FORGE.claims() | claims))))
    assert status in (200, 400, 401)
    if status == 200:
        told = claims_of(gateway.service.last.header("Authorization"))
        assert (told["sub"], told["ext"]) == (FORGE.claims(**claims)["sub"], FORGE.issuer)


@bounded
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_bytes_are_signed_are_refused(gateway: RunningGateway, header: bytes, payload: bytes) -> None:
    assert ask(gateway, bearer(FORGE.signed(header, payload))) == 401
    assert ask(gateway, bearer(FORGE.signed(as_json(FORGE.header()), payload))) == 401


@bounded
@given(line_bytes | line_bytes.map(lambda rest: b"Bearer " + rest))
def test_whatever_is_carried_is_refused(gateway: RunningGateway, value: bytes) -> None:
    assert ask(gateway, b"Authorization: " + value) in (400, 401)


@bounded
@given(extra_headers)
def test_whatever_headers_come_the_service_hears_one_caller(
    gateway: RunningGateway, extra: list[tuple[bytes, bytes]]
) -> None:
    seen = len(gateway.service.received)
    lines = [name + b": " + value for name, value in extra]
    status = ask(gateway, bearer(FORGE.token()), b"X_User_Id: user_evil", *lines)
    assert status in (200, 400)
    assert len(gateway.service.received) == seen + (status == 200)
    if status == 200:
        received = gateway.service.last
        assert claims_of(received.header("Authorization"))["sub"] == "user_2abc"
        assert "user_evil" not in str(received.headers)


@bounded
@given(targets)
def test_whatever_is_asked_for_without_a_token_reaches_nobody(gateway: RunningGateway, target: bytes) -> None:
    seen = len(gateway.service.received)
    assert ask(gateway, target=target) in (400, 401, 404, 405)
    assert len(gateway.service.received) == seen
