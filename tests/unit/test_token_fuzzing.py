"""Arbitrary tokens, headers and addresses: refused in an orderly way, and never accepted by accident."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.compact_tokens import InvalidToken
from common.errors import InvalidInput, NotFound, Unauthorized
from common.internal_tokens import InternalTokenIssuer
from common.jwks import StaticKeys
from common.signatures import BadKey, private_key_from_pem, public_key_from_jwk
from gateway.callers import Callers
from gateway.clerk import ClerkVerifier
from gateway.headers import check_headers, passed_in, passed_out
from gateway.issuers import Issuers
from gateway.routes import RouteTable
from gateway.sign_outs import SignOuts
from gateway.tokens import VerifiedToken
from tests.support.token_forge import TokenForge, as_json, new_p256_pem

FORGE = TokenForge("https://clerk.test")
KEYS = StaticKeys([public_key_from_jwk(jwk) for jwk in FORGE.key_set()["keys"]])
VERIFIER = Issuers([ClerkVerifier(KEYS, {FORGE.issuer}, longest=10**9)])
SIGNING = InternalTokenIssuer(private_key_from_pem(new_p256_pem()))
CALLERS = Callers(VERIFIER, SIGNING, sign_outs=SignOuts(kept=60), leeway=5)
TABLE = RouteTable()
RUNNER = asyncio.Runner()
GENUINE = FORGE.token(exp=int(FORGE.now()) + 10**6)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner), max_leaves=8
)
members = st.sampled_from(
    ["alg", "typ", "kid", "cat", "crit", "b64", "iss", "sub", "sid", "exp", "iat", "nbf", "azp", "act"]
)
changes = st.dictionaries(members | st.text(max_size=5), json_values, max_size=4)
raw_headers = st.lists(st.tuples(st.binary(max_size=30).map(bytes.lower), st.binary(max_size=60)), max_size=20)


def judge(token: str) -> VerifiedToken | None:
    try:
        return RUNNER.run(VERIFIER.verify(token))
    except InvalidToken:
        return None


def test_the_genuine_token_is_accepted() -> None:
    assert judge(GENUINE) is not None


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(GENUINE) - 1), st.characters(), st.sampled_from(["replace", "insert", "drop"]))
def test_no_altered_token_is_accepted(position: int, character: str, how: str) -> None:
    rest = GENUINE[position + (how != "insert") :]
    altered = GENUINE[:position] + ("" if how == "drop" else character) + rest
    assert judge(altered) is None or altered == GENUINE


@settings(deadline=None, max_examples=300)
@given(changes, changes)
def test_whatever_is_signed_is_accepted_or_refused_in_order(header: dict[str, Any], claims: dict[str, Any]) -> None:
    token = FORGE.signed(as_json(FORGE.header() | header), as_json(FORGE.claims() | claims))
    verified = judge(token)
    assert verified is None or (verified.subject.startswith("user_") and verified.issuer == FORGE.issuer)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_bytes_are_signed_are_refused(header: bytes, payload: bytes) -> None:
    assert judge(FORGE.signed(header, payload)) is None
    assert judge(FORGE.signed(as_json(FORGE.header()), payload)) is None


@settings(deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"Bearer " + rest))
def test_whatever_is_carried_is_refused(authorization: bytes) -> None:
    with pytest.raises(Unauthorized):
        RUNNER.run(CALLERS.signed_in([authorization], ("media",), "request-1"))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "n", "e", "x", "y", "kid", "alg", "use", "key_ops", "d"]), json_values
    )
)
def test_whatever_is_published_is_a_key_or_left_out(jwk: dict[str, Any]) -> None:
    for kind in ({"kty": "RSA", "e": "AQAB"}, {"kty": "EC", "crv": "P-256"}, {"kty": "OKP", "crv": "Ed25519"}, {}):
        try:
            key = public_key_from_jwk(kind | jwk)
        except BadKey:
            continue
        assert not key.verify(b"message", b"signature")


@settings(deadline=None)
@given(st.binary(max_size=60).map(lambda rest: b"/" + rest) | st.binary(max_size=60), st.binary(max_size=30))
def test_whatever_is_asked_for_is_found_or_refused(path: bytes, query: bytes) -> None:
    with suppress(InvalidInput, NotFound):
        assert TABLE.find(path, query).path.count("/") == path.count(b"/")


@settings(deadline=None)
@given(raw_headers, st.booleans())
def test_whatever_headers_come_nothing_reserved_passes(headers: list[tuple[bytes, bytes]], webhook: bool) -> None:
    with suppress(InvalidInput):
        check_headers([*headers, (b"host", b"a")])
        passed = passed_in([*headers, (b"x_user_id", b"evil"), (b"authorization", b"Bearer x")], webhook=webhook)
        assert not {"x_user_id", "authorization", "host"} & {name for name, _ in passed}
    assert b"server" not in {name for name, _ in passed_out([*headers, (b"Server", b"inside")])}
