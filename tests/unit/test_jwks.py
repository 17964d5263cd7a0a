"""Verification keys on the days the key server misbehaves, rotates or is asked too often."""

import asyncio
import json
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from common.compact_tokens import CompactToken, InvalidToken, parse
from common.jwks import (
    CLOCKS_DIFFER,
    COOLDOWN,
    HARD_TTL,
    MAXIMUM_WAITING,
    PROPAGATION,
    RETRY_AFTER_FAILURE,
    SOFT_TTL,
    JwksClient,
    KeysUnavailable,
)
from common.key_documents import BadKeySet, NoUsableKey, fetch_document, read_key_set
from common.signatures import BadKey, public_key_from_jwk, public_key_from_pem
from embedded.session_tokens import base64url, rsa_jwk
from tests.support.running_gateway import KeyServer
from tests.support.token_forge import TokenForge, new_rsa_key, public_bytes

KEYS = [new_rsa_key() for _ in range(3)]
RS256 = {"RS256"}


class Provider:
    """A key server and the time, both under the test's thumb. ``document`` may be an exception."""

    def __init__(self, *forges: TokenForge) -> None:
        self.document: Any = None
        self.asked_at: list[float] = []
        self.seconds = 1000.0
        self.started = time.time() - self.seconds
        self.held = asyncio.Event()
        self.held.set()
        self.publish(*forges)

    def publish(self, *forges: TokenForge) -> None:
        self.document = {"keys": [jwk for forge in forges for jwk in forge.key_set()["keys"]]}

    async def fetch(self, _: str) -> bytes:
        self.asked_at.append(self.seconds)
        answer = self.document
        await self.held.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    @property
    def asked(self) -> int:
        return len(self.asked_at)

    def client(self, **options: Any) -> JwksClient:
        return JwksClient(
            "https://keys.test",
            source="test",
            algorithms=RS256,
            fetch=self.fetch,
            monotonic=lambda: self.seconds,
            now=self.now,
            sleep=self.sleep,
            **options,
        )

    def now(self) -> float:
        return self.seconds + self.started

    async def sleep(self, seconds: float) -> None:
        """Time passes only while someone waits, and only when nobody has anything else to do."""
        for _ in range(3):
            await asyncio.sleep(0)
        self.seconds += seconds


def forge(number: int = 0, kid: str = "ins_1") -> TokenForge:
    return TokenForge("https://clerk.test", key=KEYS[number], kid=kid)


def token_of(maker: TokenForge) -> CompactToken:
    return parse(maker.token(), token_type="JWT", algorithms=RS256)


async def settled(client: JwksClient) -> None:
    """Lets a refresh that was started in the background finish."""
    await client.refresh()


async def test_many_cold_requests_share_one_fetch() -> None:
    provider = Provider(forge())
    provider.held.clear()
    client = provider.client()
    checks = [asyncio.create_task(client.check(token_of(forge()))) for _ in range(20)]
    await asyncio.sleep(0)
    provider.held.set()
    await asyncio.gather(*checks)
    assert provider.asked == 1


async def test_a_new_key_id_is_fetched_at_once_and_empties_what_was_verified() -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    generation = client.generation

    rotated = forge(1, "ins_2")
    provider.publish(forge(), rotated)
    await client.check(token_of(rotated))

    assert provider.asked == 2
    assert client.generation != generation


async def test_a_new_key_under_the_same_id_is_fetched_at_once() -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))

    provider.publish(forge(1))
    await client.check(token_of(forge(1)))
    with pytest.raises(InvalidToken, match="bad_signature"):
        await client.check(token_of(forge()))


async def test_two_keys_under_one_id_both_verify() -> None:
    provider = Provider(forge(0), forge(1))
    client = provider.client()
    await client.check(token_of(forge(0)))
    await client.check(token_of(forge(1)))
    assert provider.asked == 1


async def test_requests_in_flight_during_a_rotation_all_pass() -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    provider.publish(forge(1))
    provider.held.clear()
    checks = [asyncio.create_task(client.check(token_of(forge(1)))) for _ in range(10)]
    await asyncio.sleep(0)
    provider.held.set()
    await asyncio.gather(*checks)
    assert provider.asked == 2


def stranger(number: int, issued_after: float = 0.0) -> CompactToken:
    """A token signed by nobody, naming a key nobody has; ``issued_after`` shifts its ``iat``."""
    plain = forge()
    return named(plain.token({"kid": f"ins_{number}x"}, iat=int(plain.now() + issued_after)))


def named(text: str) -> CompactToken:
    return parse(text, token_type="JWT", algorithms=RS256)


async def verdict(client: JwksClient, token: CompactToken) -> str:
    try:
        await client.check(token)
    except InvalidToken as refused:
        return refused.reason
    return "accepted"


async def test_ten_thousand_unknown_keys_cause_one_fetch_per_cooldown() -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    plain = stranger(0)
    for begin in range(0, 10_000, 1000):
        strangers = [replace(plain, kid=f"ins_{number}x") for number in range(begin, begin + 1000)]
        verdicts = await asyncio.gather(*(verdict(client, token) for token in strangers))
        assert set(verdicts) == {"unknown_key"}
    forced = provider.asked_at[1:]
    assert forced
    assert all(later - earlier >= COOLDOWN for earlier, later in pairwise(forced))


async def test_bad_signatures_cause_one_fetch_per_cooldown_and_share_it() -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    forged = token_of(forge(2))
    for _ in range(2):
        assert set(await asyncio.gather(*(verdict(client, forged) for _ in range(50)))) == {"bad_signature"}
    assert provider.asked == 3
    assert provider.seconds == 1000.0 + COOLDOWN


@pytest.mark.parametrize("kid", ["ins_1", "ins_2"], ids=["same key id", "new key id"])
async def test_a_rotation_during_a_flood_refuses_nobody_genuine(kid: str) -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    rotated, attacker = forge(1, kid), forge(2, kid)
    rotated.now = attacker.now = provider.now

    async def flood() -> list[str]:
        return await asyncio.gather(*(verdict(client, token_of(attacker)) for _ in range(20)))

    for _ in range(3):
        assert "accepted" not in await flood()
    provider.publish(rotated)
    flooding = asyncio.create_task(flood())
    await asyncio.sleep(0)
    verdicts = await asyncio.gather(*(verdict(client, token_of(rotated)) for _ in range(20)))

    assert set(verdicts) == {"accepted"}
    assert set(await flooding) == {"bad_signature"}


async def test_a_flood_of_one_kind_leaves_room_for_the_other() -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    provider.held.clear()
    flood = [asyncio.create_task(verdict(client, stranger(number))) for number in range(MAXIMUM_WAITING + 20)]
    provider.publish(forge(1))
    genuine = asyncio.create_task(verdict(client, token_of(forge(1))))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    at_once = [task for task in flood if task.done()]
    provider.held.set()

    assert len(at_once) == 20
    assert await genuine == "accepted"
    assert set(await asyncio.gather(*flood)) == {"unknown_key"}


@pytest.mark.parametrize("shift", [-PROPAGATION - 10, 400], ids=["older than the keys", "from the future"])
async def test_keys_are_not_fetched_for_a_token_they_must_know(shift: float) -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    assert await verdict(client, stranger(1, shift)) == "unknown_key"
    assert provider.asked == 1


async def test_a_token_waits_for_a_fetch_that_began_after_it_came() -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    provider.held.clear()
    early = asyncio.create_task(verdict(client, stranger(1)))
    while provider.asked < 2:
        await asyncio.sleep(0)

    provider.publish(forge(1))
    genuine = asyncio.create_task(verdict(client, token_of(forge(1))))
    await asyncio.sleep(0)
    provider.held.set()

    assert (await early, await genuine) == ("unknown_key", "accepted")


async def test_a_key_known_to_be_unknown_is_asked_for_again_by_newer_tokens_only() -> None:
    provider = Provider(forge())
    client = provider.client()
    for issued_after, asked in ((0, 2), (-CLOCKS_DIFFER - 2, 2), (0, 3)):
        assert await verdict(client, stranger(1, issued_after)) == "unknown_key"
        assert provider.asked == asked


FAULTS: dict[str, Any] = {
    "page": b"<!doctype html><title>Bad gateway</title>",
    "empty": b"",
    "error object": {"error": "no"},
    "list": [],
    "null": None,
    "no keys": {"keys": []},
    "20,000 keys": {"keys": [rsa_jwk(KEYS[0], f"ins_{number}") for number in range(20_000)]},
    "secrets only": {"keys": [{"kty": "oct", "kid": "ins_1", "alg": "HS256", "k": "AAAA"}]},
    "nested": b"[" * 60_000,
    "refused": OSError("refused"),
    "too slow": TimeoutError(),
    "status": BadKeySet("status 503"),
    "broken off": aiohttp.ClientPayloadError("half"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_last_good_keys_outlive_a_bad_answer(fault: str) -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    provider.document = FAULTS[fault]
    for _ in range(12):
        provider.seconds += SOFT_TTL
        await client.check(token_of(forge()))
        await settled(client)
    await client.check(token_of(forge()))
    assert provider.asked > 2


async def test_keys_that_cannot_be_refreshed_for_a_day_are_given_up() -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    provider.document = OSError("refused")
    provider.seconds += HARD_TTL + 1
    with pytest.raises(KeysUnavailable):
        await client.check(token_of(forge()))
    assert not client.usable


async def test_without_any_keys_the_answer_is_not_a_refusal_and_the_server_is_not_hammered() -> None:
    provider = Provider(forge())
    provider.document = OSError("refused")
    client = provider.client()
    for _ in range(20):
        with pytest.raises(KeysUnavailable):
            await client.check(token_of(forge()))
    assert provider.asked == 1
    provider.seconds += 1
    provider.publish(forge())
    await client.check(token_of(forge()))


async def test_stale_keys_are_refreshed_in_the_background_without_waiting() -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    provider.seconds += SOFT_TTL
    provider.held.clear()
    await client.check(token_of(forge()))
    provider.held.set()
    await settled(client)
    assert provider.asked == 2
    await client.check(token_of(forge()))
    assert provider.asked == 2


async def test_a_failed_refresh_is_tried_again_after_a_while() -> None:
    provider = Provider(forge())
    client = provider.client()
    await client.check(token_of(forge()))
    provider.document = OSError("refused")
    provider.seconds += SOFT_TTL
    await client.check(token_of(forge()))
    await settled(client)
    asked = provider.asked
    await client.check(token_of(forge()))
    provider.seconds += RETRY_AFTER_FAILURE
    await client.check(token_of(forge()))
    await settled(client)
    assert provider.asked == asked + 1


async def test_the_pem_judges_until_keys_were_loaded_and_never_after() -> None:
    provider = Provider(forge(1))
    published, provider.document = provider.document, OSError("refused")
    client = provider.client(bootstrap=public_key_from_pem(public_bytes(KEYS[0]).decode(), "bootstrap"))
    await client.check(token_of(forge(0, "ins_any")))

    provider.document = published
    provider.seconds += RETRY_AFTER_FAILURE
    await client.refresh()
    with pytest.raises(InvalidToken, match="unknown_key"):
        await client.check(token_of(forge(0, "ins_any")))


def weak(bits: int = 2048, **changes: Any) -> dict[str, Any]:
    return rsa_jwk(KEYS[0] if bits == 2048 else new_rsa_key(bits), "ins_weak") | changes


def p256_jwk_members() -> dict[str, Any]:
    point = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    x, y = (base64url(value.to_bytes(48, "big")) for value in (point.x, point.y))
    return {"kty": "EC", "crv": "P-384", "x": x, "y": y, "kid": "ins_weak", "alg": "ES256"}


@pytest.mark.parametrize(
    "jwk",
    [
        weak(1024),
        weak(e=base64url(b"\x01")),
        weak(e=base64url(b"\x03")),
        weak(n=""),
        weak(n="!!"),
        weak(n=5),
        weak(n=None),
        weak(e=None),
        weak(alg="RS512"),
        weak(use="enc"),
        weak(key_ops=["encrypt"]),
        weak(kty="oct", k="AAAA"),
        weak(kty=["RSA"]),
        weak(crv={"a": 1}),
        weak(d="AAAA"),
        weak(kid=5),
        p256_jwk_members(),
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        {},
    ],
    ids=lambda jwk: ",".join(f"{name}={str(value)[:12]}" for name, value in jwk.items() if name not in "nxy") or "{}",
)
def test_a_weak_or_malformed_key_is_left_out_and_the_others_stay(jwk: dict[str, Any]) -> None:
    with pytest.raises(BadKey):
        public_key_from_jwk(jwk)
    document = json.dumps({"keys": [jwk, None, "key", rsa_jwk(KEYS[1], "ins_good")]}).encode()
    assert read_key_set(document, {"RS256", "ES256", "EdDSA"}).keys() == {"ins_good"}


def test_keys_without_an_id_or_of_another_algorithm_are_left_out() -> None:
    nameless = rsa_jwk(KEYS[0], "")
    with pytest.raises(NoUsableKey):
        read_key_set(json.dumps({"keys": [nameless]}).encode(), RS256)
    with pytest.raises(NoUsableKey):
        read_key_set(json.dumps({"keys": [rsa_jwk(KEYS[0], "ins_1")]}).encode(), {"ES256"})
    with pytest.raises(NoUsableKey):
        read_key_set(b'{"keys": []}', RS256)


async def test_a_document_is_fetched_over_http() -> None:
    async with KeyServer(forge().key_set()) as server:
        assert json.loads(await fetch_document(server.jwks_url)) == forge().key_set()


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=503),
        web.Response(status=302, headers={"Location": "/.well-known/jwks.json"}),
        web.Response(body=b" " * (64 * 1024 + 1)),
    ],
    ids=["503", "redirect", "too large"],
)
async def test_an_answer_that_is_no_plain_document_is_not_followed_or_read(answer: web.Response) -> None:
    async with KeyServer(forge().key_set()) as server:
        server.answer = answer
        with pytest.raises(BadKeySet):
            await fetch_document(server.jwks_url)
        assert server.asked == 1


async def test_a_key_server_that_stays_silent_is_left_alone() -> None:
    async with KeyServer(forge().key_set()) as server:
        server.held.clear()
        with pytest.raises(TimeoutError):
            await fetch_document(server.jwks_url, aiohttp.ClientTimeout(total=0.05))
        server.held.set()
