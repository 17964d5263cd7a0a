"""What an attacker, or a bad day, can put into a key set; over real HTTP against a running gateway."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from jose import jwk as jose_jwk
from prometheus_client import REGISTRY

from common.jwks import SOFT_TTL
from common.key_documents import MAXIMUM_KEYS
from embedded.session_tokens import base64url, p256_jwk, rsa_jwk, supabase_claims
from tests.support.attack_table import attack
from tests.support.event_ledger import until
from tests.support.fake_identity import FakeIdentity
from tests.support.running_gateway import KeyServer, running_gateway
from tests.support.token_forge import TokenForge, as_json, new_rsa_key

SUBJECT = "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e"
WEAK = new_rsa_key(1024)
SECRET = b"a secret that the attacker put into the key set"


def oct_key(kid: str) -> dict[str, Any]:
    return {"kty": "oct", "kid": kid, "alg": "HS256", "use": "sig", "k": base64url(SECRET)}


@pytest.mark.attack("A8")
@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
async def test_a_symmetric_key_in_the_set_verifies_nothing(algorithm: str) -> None:
    async with running_gateway() as gateway:
        gateway.keys.document = {"keys": [oct_key("ins_2oct"), *gateway.forge.key_set()["keys"]]}
        header = as_json(gateway.forge.header(alg=algorithm, kid="ins_2oct"))
        forged = gateway.forge.signed(
            header, as_json(gateway.forge.claims()), lambda message: hmac.digest(SECRET, message, hashlib.sha256)
        )
        assert await gateway.status_of(gateway.forge.token()) == 200
        assert await gateway.status_of(forged) == 401


@pytest.mark.attack("A12")
async def test_a_short_key_in_the_set_verifies_nothing() -> None:
    async with running_gateway() as gateway:
        weak = TokenForge(gateway.forge.issuer, key=WEAK, kid="ins_2weak")
        gateway.keys.document = {"keys": [*weak.key_set()["keys"], *gateway.forge.key_set()["keys"]]}
        assert await gateway.status_of(gateway.forge.token()) == 200
        assert await gateway.status_of(weak.token()) == 401


@pytest.mark.parametrize(
    "changes",
    [
        attack("A15", {"use": "enc"}, id="for encryption"),
        attack("A15", {"alg": "RS512"}, id="for RS512"),
        attack("A15", {"key_ops": ["encrypt"]}, id="not for verifying"),
        attack("A13", {"e": base64url(b"\x01")}, id="exponent one"),
        attack("A13", {"n": None}, id="no modulus"),
        attack("A13", {"n": "!!"}, id="garbage modulus"),
        attack("A13", {"e": None}, id="no exponent"),
        attack("A13", {"d": "AAAA"}, id="private"),
    ],
)
async def test_an_unfit_key_in_the_set_verifies_nothing(changes: dict[str, Any]) -> None:
    async with running_gateway() as gateway:
        other = TokenForge(gateway.forge.issuer, kid="ins_2other")
        unfit = rsa_jwk(other.key, other.kid) | changes
        gateway.keys.document = {"keys": [unfit, None, "key", *gateway.forge.key_set()["keys"]]}
        assert await gateway.status_of(gateway.forge.token()) == 200
        assert await gateway.status_of(other.token()) == 401


@pytest.mark.attack("A14")
@pytest.mark.parametrize("turned", [False, True], ids=["wrong kind first", "right kind first"])
async def test_keys_of_several_kinds_stand_side_by_side(turned: bool) -> None:
    async with running_gateway() as gateway:
        elliptic = p256_jwk(ec.generate_private_key(ec.SECP256R1()), gateway.forge.kid)
        keys = [elliptic, oct_key("ins_2oct"), *gateway.forge.key_set()["keys"]]
        gateway.keys.document = {"keys": keys[::-1] if turned else keys}
        assert await gateway.status_of(gateway.forge.token()) == 200


def p384_jwk(key: ec.EllipticCurvePrivateKey, kid: str) -> dict[str, Any]:
    point = key.public_key().public_numbers()
    x, y = (base64url(value.to_bytes(48, "big")) for value in (point.x, point.y))
    return {"kty": "EC", "crv": "P-384", "x": x, "y": y, "kid": kid, "alg": "ES256", "use": "sig"}


def es256(key: ec.EllipticCurvePrivateKey, size: int) -> Callable[[bytes], bytes]:
    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign


@pytest.mark.attack("A10")
async def test_an_elliptic_key_of_another_curve_verifies_nothing() -> None:
    good, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    document = {"keys": [p384_jwk(other, "other"), p256_jwk(good, "good")]}
    async with (
        KeyServer(document) as project,
        FakeIdentity() as identity,
        running_gateway(supabase_url=project.url, identity_url=identity.url) as gateway,
    ):

        def token(kid: str, sign: Callable[[bytes], bytes]) -> str:
            issuer = f"{project.url}/auth/v1"
            claims = supabase_claims(issuer, SUBJECT, int(gateway.forge.now()), 60)
            return gateway.forge.signed(as_json({"alg": "ES256", "kid": kid, "typ": "JWT"}), as_json(claims), sign)

        assert await gateway.status_of(token("good", es256(good, 32))) == 200
        assert await gateway.status_of(token("other", es256(other, 48))) == 401
        assert await gateway.status_of(token("good", es256(other, 48))) == 401
        assert await gateway.status_of(token("good", lambda _: bytes(64))) == 401


@pytest.mark.attack("A5", "A4")
async def test_no_family_of_keys_stands_in_for_another() -> None:
    """A project with a public ES256 key: its PEM is no secret, and no other algorithm reaches it."""
    key = ec.generate_private_key(ec.SECP256R1())
    async with (
        KeyServer({"keys": [p256_jwk(key, "good")]}) as project,
        FakeIdentity() as identity,
        running_gateway(supabase_url=project.url, identity_url=identity.url) as gateway,
    ):
        claims = as_json(supabase_claims(f"{project.url}/auth/v1", SUBJECT, int(gateway.forge.now()), 60))
        for algorithm in ("HS256", "RS256", "none", "ES384"):
            header = as_json({"alg": algorithm, "kid": "good", "typ": "JWT"})
            signed = gateway.forge.signed(
                header, claims, lambda message: hmac.digest(as_json(p256_jwk(key, "good")), message, hashlib.sha256)
            )
            assert await gateway.status_of(signed) == 401, algorithm


PAGE = web.Response(body=b"<!doctype html><title>Bad gateway</title>", content_type="text/html")
REDIRECT = web.Response(status=302, headers={"Location": "/elsewhere.json"})


@pytest.mark.parametrize(
    "answer",
    [
        attack("A13", web.Response(body=b""), id="nothing"),
        attack("A13", web.json_response({"error": "x"}), id="an error"),
        attack("A13", web.json_response([]), id="a list"),
        attack("A13", web.json_response(None), id="null"),
        attack("A13", web.json_response({"keys": None}), id="keys null"),
        attack("A13", web.json_response({"keys": "abc"}), id="keys text"),
        attack("A13", web.json_response({"keys": [None]}), id="null for a key"),
        attack("A13", web.json_response({"keys": []}), id="no keys"),
        attack("A13", web.Response(body=b"[" * 60_000), id="nested"),
        attack("B6", PAGE, id="a page"),
        attack("B6", web.Response(status=503), id="503"),
        attack("B6", web.Response(status=429, headers={"Retry-After": "60"}), id="429"),
        attack("B6", REDIRECT, id="a redirect"),
        attack("B6", web.Response(body=b" " * 70_000 + b'{"keys": []}'), id="too long"),
    ],
)
async def test_the_last_good_keys_outlive_any_answer(answer: web.Response) -> None:
    seconds = 1000.0
    async with running_gateway(monotonic=lambda: seconds) as gateway:
        assert await gateway.status_of(gateway.forge.token()) == 200
        gateway.keys.answer = answer
        before = _refused_documents()
        for number in range(1, 4):
            seconds += SOFT_TTL
            assert await gateway.status_of(gateway.forge.token()) == 200
            await until(lambda number=number: _documents_refused(before + number))  # type: ignore[misc]
        assert await gateway.status_of(gateway.forge.token()) == 200


@pytest.mark.attack("B6")
@pytest.mark.parametrize("count", [20_000, MAXIMUM_KEYS + 1])
async def test_too_many_keys_are_none(count: int) -> None:
    seconds = 1000.0
    async with running_gateway(monotonic=lambda: seconds) as gateway:
        assert await gateway.status_of(gateway.forge.token()) == 200
        good = gateway.forge.key_set()["keys"][0]
        gateway.keys.document = {"keys": [good | {"kid": f"ins_2{number}"} for number in range(count)]}
        before = _refused_documents()
        seconds += SOFT_TTL
        assert await gateway.status_of(gateway.forge.token()) == 200
        await until(lambda: _documents_refused(before + 1))
        assert await gateway.status_of(gateway.forge.token()) == 200


@pytest.mark.attack("B6")
async def test_a_slow_key_server_holds_up_nobody() -> None:
    seconds = 1000.0
    async with running_gateway(monotonic=lambda: seconds) as gateway:
        assert await gateway.status_of(gateway.forge.token()) == 200
        gateway.keys.held.clear()
        seconds += SOFT_TTL
        assert [await gateway.status_of(gateway.forge.token()) for _ in range(20)] == [200] * 20
        await until(lambda: _asked(gateway.keys, 2))
        gateway.keys.held.set()


async def _asked(keys: KeyServer, times: int) -> bool:
    return keys.asked >= times


def _refused_documents() -> float:
    """How many fetches have failed. While one is under way no other begins, and its own end says when the next may."""
    return REGISTRY.get_sample_value("key_set_fetches_total", {"source": "clerk", "outcome": "failed"}) or 0.0


async def _documents_refused(times: float) -> bool:
    return _refused_documents() >= times


@pytest.mark.attack("A17")
async def test_signatures_are_checked_by_the_constant_time_backend() -> None:
    """The pure-Python ECDSA package is installed with python-jose, and never asked."""
    elliptic = jose_jwk.construct(p256_jwk(ec.generate_private_key(ec.SECP256R1()), "k"), "ES256")
    rsa = jose_jwk.construct(rsa_jwk(new_rsa_key(), "k"), "RS256")
    keys: list[Any] = [elliptic, rsa]
    for key in keys:
        assert type(key).__module__ == "jose.backends.cryptography_backend"
        assert type(key.prepared_key).__module__.startswith("cryptography.")


@pytest.mark.attack("A7")
async def test_there_is_no_gateway_without_a_key_of_its_own() -> None:
    for nothing in ("", " ", "secret"):
        with pytest.raises(ValueError, match="not a PEM key"):
            async with running_gateway(gateway_signing_key=nothing):
                raise AssertionError("it started")


@pytest.mark.attack("B3", "B4")
async def test_an_unfinished_flood_leaves_with_its_clients() -> None:
    """Those who wait for newer keys and hang up are no burden later."""
    async with running_gateway() as gateway:
        assert await gateway.status_of(gateway.forge.token()) == 200
        gateway.keys.held.clear()
        stranger = TokenForge(gateway.forge.issuer, kid=gateway.forge.kid)
        asking = asyncio.create_task(gateway.status_of(stranger.token()))
        await until(lambda: _asked(gateway.keys, 2))
        asking.cancel()
        gateway.keys.held.set()
        assert await gateway.status_of(gateway.forge.token()) == 200
