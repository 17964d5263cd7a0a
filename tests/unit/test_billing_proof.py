"""Whether a webhook proves that RevenueCat sent it."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from starlette.datastructures import Headers

from billing.proof import NotFromRevenueCat, WebhookProof
from tests.support.billing import FIXTURES

VECTORS = json.loads((FIXTURES / "hmac_vectors.json").read_text())
NOW = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)
STAMP = int(NOW.timestamp())
BODY = b'{"event": {}}'
SECRET, NEXT_SECRET, WORD = "whsec_current", "whsec_next", "Bearer würzig"


def signature(body: bytes = BODY, stamp: int | str = STAMP, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def signed(value: str, name: str = "X-RevenueCat-Webhook-Signature") -> Headers:
    return Headers({name: value})


def accepts(proof: WebhookProof, headers: Headers, body: bytes = BODY, now: datetime = NOW) -> bool:
    try:
        proof.check(headers, body, now)
    except NotFromRevenueCat:
        return False
    return True


SIGNING = WebhookProof([], [SECRET])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_published_vectors_are_accepted_as_bytes_and_only_so(vector: dict[str, str]) -> None:
    proof, now = WebhookProof([], [vector["secret"]]), datetime.fromtimestamp(int(vector["t"]), UTC)
    body = vector["raw_body"].encode()
    assert accepts(proof, signed(vector["header"]), body, now)
    reserialised = json.dumps(json.loads(body)).encode()
    assert not accepts(proof, signed(vector["header"]), reserialised, now)


@pytest.mark.parametrize("name", ["X-RevenueCat-Webhook-Signature", "x-revenuecat-signature"])
def test_either_name_of_the_header_will_do(name: str) -> None:
    assert accepts(SIGNING, signed(f"t={STAMP},v1={signature()}", name))


@pytest.mark.parametrize("seconds, accepted", [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_the_sender_s_clock_may_be_five_minutes_off(seconds: int, accepted: bool) -> None:
    header = signed(f"t={STAMP},v1={signature()}")
    assert accepts(SIGNING, header, now=NOW + timedelta(seconds=seconds)) is accepted


def test_any_of_several_secrets_and_signatures_will_do() -> None:
    rotating = WebhookProof([], [SECRET, NEXT_SECRET])
    for secret in (SECRET, NEXT_SECRET):
        assert accepts(rotating, signed(f"t={STAMP},v1={signature(secret=secret)}"))
    assert accepts(SIGNING, signed(f"t={STAMP}, v2=abc, v1={'0' * 64}, v1={signature().upper()}"))
    assert not accepts(rotating, signed(f"t={STAMP},v1={signature(secret='whsec_gone')}"))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t",
        "=",
        ",,,",
        f"v1={signature()}",
        f"t={STAMP}",
        f"t={STAMP},v1=",
        f"t={STAMP},v1={signature()[:-2]}",
        f"t={STAMP},v1={'g' * 64}",
        f"t={STAMP},v1={'é' * 64}",
        f"t=soon,v1={signature(stamp='soon')}",
        f"t=-{STAMP},v1={signature(stamp=f'-{STAMP}')}",
        f"t=¹²³,v1={signature()}",
        f"t={'9' * 400},v1={signature(stamp='9' * 400)}",
        f"t={STAMP},t={STAMP},v1={signature()}",
        f"t={STAMP},v2={signature()}",
        f"t={STAMP},v1={hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()}",
    ],
)
def test_a_malformed_or_incomplete_signature_is_refused_without_a_stumble(header: str) -> None:
    given = Headers(raw=[(b"x-revenuecat-webhook-signature", header.encode())])
    assert not accepts(SIGNING, given)


def test_two_signature_headers_are_refused() -> None:
    value = f"t={STAMP},v1={signature()}".encode()
    assert not accepts(SIGNING, Headers(raw=[(b"x-revenuecat-webhook-signature", value)] * 2))


def test_the_authorization_is_compared_whole_whatever_its_characters() -> None:
    proof = WebhookProof([WORD, "another value"], [])
    sent = {word: Headers(raw=[(b"authorization", word.encode())]) for word in (WORD, "another value", WORD[:-1], "é")}
    assert [accepts(proof, headers) for headers in sent.values()] == [True, True, False, False]
    assert not accepts(proof, Headers({}))


def test_what_is_secret_is_compared_in_a_time_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append((given, expected))
        return given == expected

    monkeypatch.setattr("billing.proof.hmac.compare_digest", compare)
    proof = WebhookProof(["the first value", "the second value"], [])
    for sent in ("the first value", "the first valuf", "x"):
        compared.clear()
        assert accepts(proof, Headers({"authorization": sent})) is (sent == "the first value")
        assert compared == [(sent.encode(), b"the first value"), (sent.encode(), b"the second value")]


def test_what_the_gateway_hands_on_counts_before_the_gateways_own_token() -> None:
    proof = WebhookProof(["the-webhook-password"], [])
    handed_on = {"x-webhook-authorization": "the-webhook-password", "authorization": "Bearer internal"}
    assert accepts(proof, Headers(handed_on))
    assert not accepts(proof, Headers({**handed_on, "x-webhook-authorization": "Bearer internal"}))
    swapped = {"x-webhook-authorization": "wrong", "authorization": "the-webhook-password"}
    assert not accepts(proof, Headers(swapped))


def test_where_both_are_configured_both_are_needed() -> None:
    both = WebhookProof(["the-webhook-password"], [SECRET])
    word, seal = {"authorization": "the-webhook-password"}, {"x-revenuecat-signature": f"t={STAMP},v1={signature()}"}
    assert accepts(both, Headers({**word, **seal}))
    assert not accepts(both, Headers(word))
    assert not accepts(both, Headers(seal))


def test_a_proof_of_nothing_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="proves nothing"):
        WebhookProof([], [])
