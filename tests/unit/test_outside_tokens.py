"""Session tokens at the edges of their life, the memory of verified ones, and what the gateway's settings refuse."""

from typing import Any

import pytest
from pydantic import ValidationError

from common.compact_tokens import InvalidToken
from common.errors import InvalidInput, Unauthorized, Unavailable
from common.internal_tokens import InternalTokenIssuer, InternalTokenVerifier
from common.jwks import KeysUnavailable, StaticKeys
from common.settings import explain
from common.signatures import private_key_from_pem, public_key_from_jwk, public_key_from_pem
from gateway.callers import Callers
from gateway.clerk import ClerkVerifier, issuer_of_publishable_key
from gateway.issuers import Issuers
from gateway.settings import GatewaySettings
from gateway.sign_outs import SignOuts
from gateway.tokens import RememberedTokens, TokenVerifier, VerifiedToken
from tests.support.token_forge import TokenForge, new_p256_pem, new_rsa_key, private_pem, public_bytes

ISSUER = "https://clerk.example.com"
PUBLISHABLE_KEY = "pk_test_dHJ1c3RlZC13YWxydXMtNjAuY2xlcmsuYWNjb3VudHMuZGV2JA"
SIGNING_KEY = new_p256_pem()
NOW = 1_800_000_000.0


class Seconds:
    """Unix time that moves by hand."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def key() -> Any:
    return new_rsa_key()


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def forge(key: Any, clock: Seconds) -> TokenForge:
    forge = TokenForge(ISSUER, key=key)
    forge.now = clock
    return forge


def verifier(forge: TokenForge, clock: Seconds, **options: Any) -> Issuers:
    keys = StaticKeys([public_key_from_jwk(jwk) for jwk in forge.key_set()["keys"]])
    return Issuers([ClerkVerifier(keys, {ISSUER}, now=clock, **options)])


def callers(verifying: TokenVerifier, clock: Seconds, **options: Any) -> Callers:
    issuer = InternalTokenIssuer(private_key_from_pem(SIGNING_KEY), now=clock)
    signed_out = SignOuts(kept=3610, now=clock)
    return Callers(verifying, issuer, leeway=5, now=clock, **({"sign_outs": signed_out} | options))


def internal(audience: str, clock: Seconds) -> InternalTokenVerifier:
    return InternalTokenVerifier(audience, StaticKeys([private_key_from_pem(SIGNING_KEY).public]), now=clock)


async def test_a_token_says_who_calls(forge: TokenForge, clock: Seconds) -> None:
    verified = await verifier(forge, clock).verify(forge.token(act={"sub": "user_admin"}))
    assert verified == VerifiedToken("user_2abc", "sess_2abc", "user_admin", ISSUER, int(NOW) + 60)


@pytest.mark.parametrize("late, accepted", [(64.9, True), (65.0, False)])
async def test_a_token_lives_until_its_end_and_the_leeway(
    forge: TokenForge, clock: Seconds, late: float, accepted: bool
) -> None:
    token = forge.token()
    clock.now += late
    if accepted:
        await verifier(forge, clock).verify(token)
    else:
        with pytest.raises(InvalidToken, match="expired"):
            await verifier(forge, clock).verify(token)


@pytest.mark.parametrize("claim, reason", [("iat", "issued_in_future"), ("nbf", "not_yet_valid")])
async def test_clocks_may_differ_by_the_leeway_and_no_more(
    forge: TokenForge, clock: Seconds, claim: str, reason: str
) -> None:
    await verifier(forge, clock).verify(forge.token(**{claim: int(NOW) + 5}))
    with pytest.raises(InvalidToken, match=reason):
        await verifier(forge, clock).verify(forge.token(**{claim: int(NOW) + 6}))


async def test_the_leeway_is_a_setting_for_apps_that_send_stale_tokens(forge: TokenForge, clock: Seconds) -> None:
    token = forge.token()
    clock.now += 300
    assert (await verifier(forge, clock, leeway=300).verify(token)).subject == "user_2abc"


async def test_absent_party_is_no_fault_in_a_header(forge: TokenForge, clock: Seconds) -> None:
    judge = verifier(forge, clock, authorized_parties=("https://app.example.com",))
    assert (await judge.verify(forge.token())).subject == "user_2abc"


async def test_an_issuer_that_two_verifiers_answer_for_is_a_mistake(forge: TokenForge, clock: Seconds) -> None:
    keys = StaticKeys([public_key_from_jwk(jwk) for jwk in forge.key_set()["keys"]])
    with pytest.raises(ValueError, match="two verifiers"):
        Issuers([ClerkVerifier(keys, {ISSUER}), ClerkVerifier(keys, {ISSUER, "https://other.example"})])


async def test_a_subject_that_was_linked_to_another_user_takes_no_internal_token_along(
    forge: TokenForge, clock: Seconds
) -> None:
    moves = Moves()
    calling = callers(verifier(forge, clock), clock, links={ISSUER: moves})
    carried = [f"Bearer {forge.token()}".encode()]
    for user in ("user_first", "user_second"):
        moves.user = user
        token = await calling.signed_in(carried, ("media",), "request-1")
        assert (await internal("media", clock).verify(token.text)).user_id == user


class Moves:
    """Links that lead to whatever user the test says."""

    user = ""

    async def user_of(self, subject: str) -> str:
        return self.user


async def test_one_session_token_yields_one_internal_token_per_service(forge: TokenForge, clock: Seconds) -> None:
    calling = callers(verifier(forge, clock), clock)
    carried = [f"Bearer {forge.token()}".encode()]

    media = await calling.signed_in(carried, ("media",), "request-1")
    again = await calling.signed_in(carried, ("media",), "request-2")
    billing = await calling.signed_in(carried, ("billing",), "request-3")

    assert media == again != billing
    assert (await internal("media", clock).verify(media.text)).user_id == "user_2abc"
    assert (await internal("billing", clock).verify(billing.text)).session_id == "sess_2abc"


async def test_an_internal_token_never_outlives_the_session_token(forge: TokenForge, clock: Seconds) -> None:
    calling = callers(verifier(forge, clock), clock)
    carried = [f"Bearer {forge.token(exp=int(NOW) + 20)}".encode()]
    token = (await calling.signed_in(carried, ("media",), "request-1")).text

    clock.now += 24
    await internal("media", clock).verify(token)
    clock.now += 1
    with pytest.raises(Unauthorized):
        await internal("media", clock).verify(token)


async def test_within_the_leeway_a_service_is_still_given_a_usable_token(forge: TokenForge, clock: Seconds) -> None:
    calling = callers(verifier(forge, clock), clock)
    carried = [f"Bearer {forge.token()}".encode()]
    clock.now += 63
    token = (await calling.signed_in(carried, ("media",), "request-1")).text
    assert (await internal("media", clock).verify(token)).user_id == "user_2abc"


async def test_a_long_session_token_gets_a_fresh_internal_token_in_time(forge: TokenForge, clock: Seconds) -> None:
    calling = callers(verifier(forge, clock), clock)
    carried = [f"Bearer {forge.token(exp=int(NOW) + 600)}".encode()]
    first = await calling.signed_in(carried, ("media",), "request-1")
    clock.now += 49
    assert await calling.signed_in(carried, ("media",), "request-2") == first
    clock.now += 2
    assert await calling.signed_in(carried, ("media",), "request-3") != first


async def test_a_remembered_token_dies_with_its_session(forge: TokenForge, clock: Seconds) -> None:
    calling = callers(verifier(forge, clock), clock)
    carried = [f"Bearer {forge.token()}".encode()]
    await calling.signed_in(carried, ("media",), "request-1")
    clock.now += 65
    with pytest.raises(Unauthorized):
        await calling.signed_in(carried, ("media",), "request-2")


async def test_public_routes_carry_a_token_that_names_nobody(forge: TokenForge, clock: Seconds) -> None:
    calling = callers(verifier(forge, clock), clock)
    token = calling.anonymous(("billing",), "request-1").text
    assert (await internal("billing", clock).verify(token)).user_id is None
    clock.now += 55
    assert calling.anonymous(("billing",), "request-2").text != token


async def test_the_development_user_stands_in_for_a_missing_token_only(forge: TokenForge, clock: Seconds) -> None:
    calling = callers(verifier(forge, clock), clock, development_user="user_dev")
    token = (await calling.signed_in([], ("media",), "request-1")).text
    assert (await internal("media", clock).verify(token)).user_id == "user_dev"
    with pytest.raises(Unauthorized):
        await calling.signed_in([b"Bearer a.b.c"], ("media",), "request-2")
    with pytest.raises(InvalidInput):
        await calling.signed_in([b"Bearer a.b.c", b"Bearer a.b.c"], ("media",), "request-3")


class Broken:
    """A verifier in trouble of a kind nobody foresaw."""

    generation = 1

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def verify(self, token: str) -> VerifiedToken:
        raise self._error


@pytest.mark.parametrize("error", [RecursionError(), ValueError("x"), TypeError(), OverflowError(), KeyError("kid")])
async def test_a_token_provokes_nothing_but_a_refusal(error: Exception, clock: Seconds) -> None:
    with pytest.raises(Unauthorized):
        await callers(Broken(error), clock).signed_in([b"Bearer a.b.c"], ("media",), "request-1")


async def test_without_any_keys_nobody_is_refused_for_good(clock: Seconds) -> None:
    with pytest.raises(Unavailable) as raised:
        await callers(Broken(KeysUnavailable()), clock).signed_in([b"Bearer a.b.c"], ("media",), "request-1")
    assert int(raised.value.headers["Retry-After"]) > 0


def verified(user: str, expires_at: float = NOW + 60) -> VerifiedToken:
    return VerifiedToken(user, "sess_1", None, ISSUER, int(expires_at))


def test_the_memory_of_tokens_is_bounded_and_drops_the_least_used(clock: Seconds) -> None:
    memory = RememberedTokens(capacity=2, leeway=5, now=clock)
    assert memory.find("a", 1) is None
    for name in ("a", "b"):
        memory.remember(name, verified(f"user_{name}"), 1)
    assert memory.find("a", 1) is not None
    memory.remember("c", verified("user_c"), 1)
    assert (memory.find("b", 1), len(memory)) == (None, 2)


def test_the_memory_of_tokens_empties_when_the_keys_change(clock: Seconds) -> None:
    memory = RememberedTokens(capacity=9, leeway=5, now=clock)
    assert memory.find("a", 1) is None
    memory.remember("a", verified("user_a"), 1)
    assert memory.find("a", 2) is None
    assert len(memory) == 0


def test_what_was_verified_by_older_keys_is_not_remembered(clock: Seconds) -> None:
    memory = RememberedTokens(capacity=9, leeway=5, now=clock)
    assert memory.find("a", 2) is None
    memory.remember("a", verified("user_a"), 1)
    assert memory.find("a", 2) is None


def test_a_publishable_key_names_its_issuer() -> None:
    assert issuer_of_publishable_key(PUBLISHABLE_KEY) == "https://trusted-walrus-60.clerk.accounts.dev"


@pytest.mark.parametrize(
    "bad", ["", "pk_test_", "sk_test_dHJ1c3Q", "pk_test_dHJ1c3RlZA", "pk_live_!!!", "pk_test_YS5iJCQ", "pk_test_Li4k"]
)
def test_a_malformed_publishable_key_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        issuer_of_publishable_key(bad)


def settings(**given: Any) -> GatewaySettings:
    return GatewaySettings(**({"gateway_signing_key": SIGNING_KEY, "clerk_publishable_key": PUBLISHABLE_KEY} | given))


def test_issuer_and_key_address_follow_from_the_publishable_key() -> None:
    derived = "https://trusted-walrus-60.clerk.accounts.dev"
    assert settings().issuers == {derived}
    assert settings().jwks_url == f"{derived}/.well-known/jwks.json"
    assert settings(clerk_issuers=(derived, ISSUER)).issuers == {derived, ISSUER}


@pytest.mark.parametrize(
    "given, complaint",
    [
        ({"clerk_issuers": (ISSUER,)}, "CLERK_ISSUERS does not list"),
        ({"clerk_publishable_key": "pk_test_x"}, "CLERK_PUBLISHABLE_KEY: malformed"),
        ({"clerk_publishable_key": None}, "set CLERK_PUBLISHABLE_KEY"),
        ({"clerk_publishable_key": None, "clerk_issuers": (ISSUER,)}, "set CLERK_JWKS_URL or CLERK_JWT_KEY"),
        ({"clerk_jwks_url": "http://keys.example.com/jwks.json"}, "CLERK_JWKS_URL must be https"),
        ({"supabase_url": "http://project.example.com"}, "SUPABASE_URL must be https"),
        ({"supabase_url": "https://project.example.com/auth/v1"}, "SUPABASE_URL: write an origin"),
        (
            {"clerk_publishable_key": None, "clerk_jwks_url": "https://a.test/k", "supabase_url": "https://a.test"}
            | {"clerk_issuers": ("https://a.test/auth/v1",)},
            "name the same issuer",
        ),
        ({"gateway_development_user": "user_dev"}, "GATEWAY_DEVELOPMENT_USER is refused"),
        ({"gateway_signing_key": "secret"}, "GATEWAY_SIGNING_KEY: not a PEM key"),
        ({"gateway_signing_key": private_pem(new_rsa_key())}, "GATEWAY_SIGNING_KEY: sign with an EC P-256"),
        ({"clerk_jwt_key": SIGNING_KEY}, "CLERK_JWT_KEY: Clerk signs with RSA"),
        ({"allowed_origins": ("*",)}, "ALLOWED_ORIGINS: write an origin"),
        ({"public_url": "https://api.example.com/v1"}, "PUBLIC_URL: write an origin"),
        ({"media_url": "media:8703"}, "MEDIA_URL: write an origin"),
        ({"trusted_proxies": ("10.0.0.0/99",)}, "TRUSTED_PROXIES: write addresses"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_a_bad_set_of_settings_says_which_and_why(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError) as raised:
        settings(**given)
    assert any(complaint in line for line in explain(raised.value, GatewaySettings.model_fields))


def test_no_complaint_repeats_a_secret() -> None:
    with pytest.raises(ValidationError) as raised:
        settings(gateway_signing_key="hunter2-hunter2")
    assert "hunter2" not in "".join(explain(raised.value, GatewaySettings.model_fields))


def test_development_may_name_a_user_and_fetch_keys_in_the_clear() -> None:
    chosen = settings(
        entrain_env="development", gateway_development_user="user_dev", clerk_jwks_url="http://keys.test/jwks.json"
    )
    assert chosen.gateway_development_user == "user_dev"


async def test_one_pem_is_enough_to_verify_without_a_network(forge: TokenForge, clock: Seconds) -> None:
    pem = public_bytes(forge.key).decode().replace("\n", "\\n")
    chosen = settings(clerk_publishable_key=None, clerk_issuers=(ISSUER,), clerk_jwt_key=pem)
    assert chosen.jwks_url is None
    keys = StaticKeys([public_key_from_pem(pem, "bootstrap")], any_kid=True)
    assert (
        await Issuers([ClerkVerifier(keys, chosen.issuers, now=clock)]).verify(forge.token())
    ).subject == "user_2abc"
