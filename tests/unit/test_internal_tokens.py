"""The gateway's word for who calls: minted, carried, verified by the service it is meant for and by no other."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from common.auth import Caller
from common.compact_tokens import InvalidToken, parse, sign
from common.errors import Unauthorized, Unavailable
from common.internal_tokens import (
    ISSUER,
    TOKEN_TYPE,
    InternalTokenIssuer,
    InternalTokenVerifier,
    internal_token_verifier,
    public_keys_document,
)
from common.jwks import JwksClient, StaticKeys
from common.settings import DatabaseSettings
from common.signatures import BadKey, PrivateKey, private_key_from_pem, public_key_from_jwk, public_key_from_pem
from tests.support.token_forge import new_p256_pem, new_rsa_key, private_pem

NOW = 1_800_000_000.0
KEY = private_key_from_pem(new_p256_pem())


def mint(key: PrivateKey = KEY, **claims: Any) -> str:
    issuer = InternalTokenIssuer(key, now=lambda: NOW)
    return issuer.mint(("media",), request_id="request-1", user_id="user_1", **claims).text


def verifier(*keys: PrivateKey, audience: str = "media", now: float = NOW) -> InternalTokenVerifier:
    return InternalTokenVerifier(audience, StaticKeys([key.public for key in keys or (KEY,)]), now=lambda: now)


@pytest.mark.parametrize(
    "pem",
    [new_p256_pem(), private_pem(ed25519.Ed25519PrivateKey.generate()), new_p256_pem().replace("\n", "\\n")],
    ids=["EC P-256", "Ed25519", "newlines as text"],
)
async def test_a_service_learns_who_calls(pem: str) -> None:
    key = private_key_from_pem(pem)
    token = mint(key, session_id="sess_1", actor="user_admin", issuer="https://clerk.example.com")
    expected = Caller("user_1", "sess_1", "user_admin", "https://clerk.example.com", "request-1")
    assert await verifier(key).verify(token) == expected


@pytest.mark.parametrize(
    "bad",
    [
        private_pem(new_rsa_key()),
        private_pem(ec.generate_private_key(ec.SECP384R1())),
        "not a key",
        "",
    ],
    ids=["RSA", "P-384", "text", "empty"],
)
def test_other_signing_keys_are_refused(bad: str) -> None:
    with pytest.raises(BadKey):
        private_key_from_pem(bad)


@pytest.mark.parametrize("later, accepted", [(64.9, True), (65.0, False)])
async def test_a_token_lives_a_minute(later: float, accepted: bool) -> None:
    token = mint()
    if accepted:
        await verifier(now=NOW + later).verify(token)
    else:
        with pytest.raises(Unauthorized):
            await verifier(now=NOW + later).verify(token)


async def test_a_remembered_token_still_dies() -> None:
    present = NOW
    service = InternalTokenVerifier("media", StaticKeys([KEY.public]), now=lambda: present)
    token = mint()
    await service.verify(token)
    present += 65
    with pytest.raises(Unauthorized):
        await service.verify(token)


async def test_another_service_refuses_the_token() -> None:
    with pytest.raises(Unauthorized):
        await verifier(audience="billing").verify(mint())


async def test_a_token_for_several_services_is_carried_on_to_those_and_no_other() -> None:
    issuer = InternalTokenIssuer(KEY, now=lambda: NOW)
    token = issuer.mint(("identity", "billing"), request_id="request-1", user_id="user_1").text
    for audience in ("identity", "billing"):
        assert (await verifier(audience=audience).verify(token)).user_id == "user_1"
    with pytest.raises(Unauthorized):
        await verifier().verify(token)


async def test_a_token_signed_by_another_key_is_refused() -> None:
    stranger = private_key_from_pem(new_p256_pem())
    forged = PrivateKey(KEY.public, stranger.sign)
    with pytest.raises(Unauthorized):
        await verifier().verify(mint(forged))
    with pytest.raises(Unauthorized):
        await verifier().verify(mint(stranger))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "someone-else"},
        {"aud": ["billing"]},
        {"aud": {"media": 1}},
        {"aud": None},
        {"exp": int(NOW) + 3600},
        {"exp": None},
        {"iat": None},
        {"sub": ""},
        {"sub": 5},
        {"sub": "user\r\n1"},
        {"rid": None},
    ],
    ids=str,
)
async def test_a_token_with_any_claim_amiss_is_refused(changes: dict[str, Any]) -> None:
    now = int(NOW)
    claims = {"iss": ISSUER, "aud": "media", "iat": now, "exp": now + 60, "sub": "user_1", "rid": "request-1"} | changes
    with pytest.raises(Unauthorized):
        await verifier().verify(sign(claims, KEY, token_type=TOKEN_TYPE))


async def test_a_token_of_another_type_is_refused() -> None:
    now = int(NOW)
    claims = {"iss": ISSUER, "aud": "media", "iat": now, "exp": now + 60, "sub": "user_1", "rid": "request-1"}
    with pytest.raises(Unauthorized):
        await verifier().verify(sign(claims, KEY, token_type="JWT"))


def test_a_token_ends_with_what_it_stands_for() -> None:
    minted = InternalTokenIssuer(KEY, now=lambda: NOW).mint(("media",), request_id="request-1", not_after=int(NOW) + 7)
    claims = parse(minted.text, token_type=TOKEN_TYPE, algorithms={"ES256"}).claims()
    assert (minted.expires_at, claims["exp"]) == (int(NOW) + 7, int(NOW) + 7)


async def test_keys_rotate_without_a_refused_request() -> None:
    old, new = KEY, private_key_from_pem(new_p256_pem())
    before = InternalTokenIssuer(old, also_published=[new.public])
    after = InternalTokenIssuer(new, also_published=[old.public])
    for signing in (before, after):
        minted = signing.mint(("media",), request_id="request-1", user_id="user_1").text
        for published in (before, after):
            keys = StaticKeys([public_key_from_jwk(jwk) for jwk in published.key_set()["keys"]])
            assert (await InternalTokenVerifier("media", keys).verify(minted)).user_id == "user_1"


def test_published_keys_hold_nothing_private() -> None:
    other = public_key_from_pem(new_p256_pem())
    published = InternalTokenIssuer(KEY, also_published=[other, KEY.public]).key_set()["keys"]
    assert [jwk["kid"] for jwk in published] == [KEY.kid, other.kid]
    assert all(jwk.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"} for jwk in published)


def service_settings(**given: Any) -> DatabaseSettings:
    class ServiceSettings(DatabaseSettings):
        service = "media"

    return ServiceSettings(database_url="postgresql://localhost/none", **given)


async def test_a_service_can_be_given_the_keys() -> None:
    issuer = InternalTokenIssuer(KEY)
    settings = service_settings(gateway_public_keys=public_keys_document(issuer))
    token = issuer.mint(("media",), request_id="request-1", user_id="user_1").text
    assert (await internal_token_verifier(settings, "media").verify(token)).user_id == "user_1"


async def test_a_service_can_be_given_one_key_as_pem() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    signing = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    issuer = InternalTokenIssuer(private_key_from_pem(signing))
    token = issuer.mint(("media",), request_id="request-1", user_id="user_1").text
    verifier = internal_token_verifier(service_settings(gateway_public_keys=public.decode()), "media")
    assert (await verifier.verify(token)).user_id == "user_1"


async def test_a_worker_needs_no_keys_and_accepts_nobody() -> None:
    with pytest.raises((Unauthorized, Unavailable)):
        await internal_token_verifier(service_settings(), "media").verify(mint())


@pytest.mark.parametrize("document", ["{}", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA"}]}'])
def test_a_service_without_usable_keys_does_not_start(document: str) -> None:
    with pytest.raises(ValueError, match="GATEWAY_"):
        internal_token_verifier(service_settings(gateway_public_keys=document), "media")


async def test_a_service_says_try_again_while_it_has_no_keys() -> None:
    async def down(_: str) -> bytes:
        raise OSError("refused")

    keys = JwksClient("http://127.0.0.1:9/jwks.json", source="test", algorithms={"ES256"}, fetch=down)
    with pytest.raises(Unavailable):
        await InternalTokenVerifier("media", keys).verify(mint())


@pytest.mark.parametrize("spoiled", ["a.b", "a.b.c.d", "..", "", "a.b.c", "é.b.c"])
def test_what_is_no_token_is_refused_before_any_key_is_asked(spoiled: str) -> None:
    with pytest.raises(InvalidToken):
        parse(spoiled, token_type="JWT", algorithms={"ES256"})


def test_a_token_names_its_key_and_says_what_it_is() -> None:
    header = json.loads(base64.urlsafe_b64decode(mint().split(".")[0] + "=="))
    assert header == {"alg": "ES256", "kid": KEY.kid, "typ": TOKEN_TYPE}
