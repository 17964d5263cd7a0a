"""Whether a webhook is Clerk's: Svix's published vectors, and every header that is not quite right."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.datastructures import Headers

from identity.settings import IdentitySettings
from identity.svix import NotFromClerk, SvixProof
from tests.support.identity import settings

FIRST_SECRET, SECOND_SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FIRST = (
    {
        "svix-id": "msg_loFOjxBNrRLzqYUf",
        "svix-timestamp": "1731705121",
        "svix-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    },
    b'{"event_type":"ping","data":{"success":true}}',
)
SECOND = (
    {
        "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "svix-timestamp": "1614265330",
        "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    b'{"test": 2432232314}',
)
SIGNED, BODY = FIRST
GOOD = SIGNED["svix-signature"]
PROOF = SvixProof([FIRST_SECRET])


def at(headers: dict[str, str], seconds: int = 0) -> datetime:
    return datetime.fromtimestamp(int(headers["svix-timestamp"]) + seconds, UTC)


def signed(message_id: str, timestamp: str, body: bytes, secret: str = FIRST_SECRET) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def raw(pairs: Sequence[tuple[str, str]]) -> Headers:
    return Headers(raw=[(name.encode(), value.encode("latin-1")) for name, value in pairs])


@pytest.mark.parametrize("vector,secret", [(FIRST, FIRST_SECRET), (SECOND, SECOND_SECRET)])
def test_the_published_vectors_are_accepted(vector: tuple[dict[str, str], bytes], secret: str) -> None:
    headers, body = vector
    assert SvixProof([secret]).check(Headers(headers), body, at(headers)) == headers["svix-id"]


@pytest.mark.parametrize("vector", [FIRST, SECOND])
def test_each_of_several_secrets_will_do(vector: tuple[dict[str, str], bytes]) -> None:
    headers, body = vector
    assert SvixProof([SECOND_SECRET, FIRST_SECRET]).check(Headers(headers), body, at(headers))


def test_the_standards_header_names_will_do_too() -> None:
    headers = {name.replace("svix-", "webhook-"): value for name, value in SIGNED.items()}
    assert PROOF.check(Headers(headers), BODY, at(SIGNED)) == "msg_loFOjxBNrRLzqYUf"


@pytest.mark.parametrize(
    "signatures",
    [
        GOOD,
        f"v1,{'A' * 43}= {GOOD}",
        f"{GOOD} v1,{'A' * 43}=",
        f"v1a,{'A' * 86}== v2,something {GOOD}",
        f"v1 {GOOD}",
        f"v1,a,b {GOOD}",
        f"v1,not*base64 {GOOD}",
        f"  {GOOD}  ",
        f"{GOOD} {GOOD}",
    ],
)
def test_one_good_signature_among_others_is_enough(signatures: str) -> None:
    assert PROOF.check(Headers({**SIGNED, "svix-signature": signatures}), BODY, at(SIGNED))


@pytest.mark.attack("E14")
@pytest.mark.parametrize(
    "signatures",
    [
        "",
        " ",
        "v1",
        "v1,",
        "v1,a,b",
        "v1,not*base64",
        "v1,QUFB",
        f"v1,{'A' * 43}=",
        GOOD.removeprefix("v1,"),
        GOOD.replace("v1,", "v2,"),
        GOOD.replace("v1,", "V1,"),
        GOOD.replace("v1,", "v1a,"),
        GOOD.replace("=", ""),
        GOOD.replace("/", "_"),
        GOOD + "=",
        GOOD[:-2] + "1=",
        f"v1,\t{GOOD[3:]}",
        GOOD.replace(",", ", "),
        "v1,ÿþ",
        " ".join([f"v1,{'A' * 43}="] * 100 + [GOOD]),
    ],
)
def test_a_header_without_a_good_signature_is_refused_and_nothing_else_happens(signatures: str) -> None:
    headers = raw([*((name, value) for name, value in SIGNED.items() if name != "svix-signature"),
                   ("svix-signature", signatures)])  # fmt: skip
    with pytest.raises(NotFromClerk):
        PROOF.check(headers, BODY, at(SIGNED))


@pytest.mark.parametrize("seconds,good", [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_five_minutes_either_way_are_allowed(seconds: int, good: bool) -> None:
    if good:
        assert PROOF.check(Headers(SIGNED), BODY, at(SIGNED, seconds))
        return
    with pytest.raises(NotFromClerk):
        PROOF.check(Headers(SIGNED), BODY, at(SIGNED, seconds))


@pytest.mark.parametrize(
    "timestamp",
    ["1731705121.0", " 1731705121", "+1731705121", "01731705121", "1_731_705_121", "1731705121 ", "", "0", "-1",
     "1e9", "inf", "nan", "１７３１７０５１２１", "9" * 400],
)  # fmt: skip
def test_a_timestamp_is_nothing_but_digits_even_when_it_is_signed(timestamp: str) -> None:
    pairs = {"svix-id": "msg_1", "svix-timestamp": timestamp, "svix-signature": signed("msg_1", timestamp, BODY)}
    headers = Headers(raw=[(name.encode(), value.encode()) for name, value in pairs.items()])
    with pytest.raises(NotFromClerk):
        PROOF.check(headers, BODY, at(SIGNED))


@pytest.mark.parametrize("message_id", ["", "msg.1", "msg 1", "m" * 257, "msg_\u00e9", "msg\t1"])
def test_an_id_that_could_be_read_in_two_ways_is_refused_even_when_it_is_signed(message_id: str) -> None:
    stamp = SIGNED["svix-timestamp"]
    pairs = {"svix-id": message_id, "svix-timestamp": stamp, "svix-signature": signed(message_id, stamp, BODY)}
    with pytest.raises(NotFromClerk):
        PROOF.check(raw(list(pairs.items())), BODY, at(SIGNED))


@pytest.mark.parametrize("name", SIGNED)
def test_each_header_is_needed_once(name: str) -> None:
    without = [(key, value) for key, value in SIGNED.items() if key != name]
    for pairs in (without, [*SIGNED.items(), (name, SIGNED[name])]):
        with pytest.raises(NotFromClerk):
            PROOF.check(raw(pairs), BODY, at(SIGNED))


def test_another_body_id_time_or_secret_is_refused() -> None:
    for headers, body, proof in (
        (SIGNED, BODY + b" ", PROOF),
        ({**SIGNED, "svix-id": "msg_loFOjxBNrRLzqYUg"}, BODY, PROOF),
        ({**SIGNED, "svix-timestamp": "1731705122"}, BODY, PROOF),
        (SIGNED, BODY, SvixProof([SECOND_SECRET])),
    ):
        with pytest.raises(NotFromClerk):
            proof.check(Headers(headers), body, at(SIGNED))


def test_the_raw_bytes_are_signed_whatever_they_are() -> None:
    body = b"\xff\x00 not utf-8"
    headers = {**SIGNED, "svix-signature": signed(SIGNED["svix-id"], SIGNED["svix-timestamp"], body)}
    assert PROOF.check(Headers(headers), body, at(SIGNED))


@pytest.mark.attack("E14")
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*SIGNED, *(name.replace("svix", "webhook") for name in SIGNED)]),
            st.text(st.characters(max_codepoint=255), max_size=80),
        ),
        max_size=8,
    ),
    st.binary(max_size=64),
)
def test_no_headers_at_all_raise_anything_else(pairs: list[tuple[str, str]], body: bytes) -> None:
    with pytest.raises(NotFromClerk):
        PROOF.check(raw(pairs), body, at(SIGNED))


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_A", SECOND_SECRET.removeprefix("whsec_"), "whsec_not base64!", "x" * 40],
)
def test_what_is_no_secret_is_refused_at_start(secret: str) -> None:
    with pytest.raises(ValueError, match="signing secret"):
        SvixProof([FIRST_SECRET, secret])
    with pytest.raises(ValidationError, match="CLERK_WEBHOOK_SIGNING_SECRETS"):
        settings("postgresql://nowhere/db", clerk_webhook_signing_secrets=(SECOND_SECRET, secret))


def test_a_process_with_a_weak_secret_exits_78_and_does_not_print_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/db")
    monkeypatch.setenv("CLERK_WEBHOOK_SIGNING_SECRETS", f"{SECOND_SECRET},{FIRST_SECRET}")
    with pytest.raises(SystemExit) as exit_:
        IdentitySettings.load()
    assert exit_.value.code == 78
    said = capsys.readouterr().err
    assert "CLERK_WEBHOOK_SIGNING_SECRETS must hold at least 24 bytes" in said
    assert FIRST_SECRET not in said
    assert SECOND_SECRET not in said


@pytest.mark.parametrize("secret", ["whsec_AA==", FIRST_SECRET])
def test_a_secret_that_could_be_guessed_is_refused_at_start(secret: str) -> None:
    with pytest.raises(ValidationError, match="at least 24 bytes"):
        settings("postgresql://nowhere/db", clerk_webhook_signing_secrets=(SECOND_SECRET, secret))


def test_the_clerk_key_is_not_sent_over_an_open_line() -> None:
    with pytest.raises(ValidationError, match="CLERK_API_URL"):
        settings("postgresql://nowhere/db", clerk_secret_key="sk_live_x", clerk_api_url="http://api.clerk.test")
