"""The identity provider of the all-in-one run: its tokens and key sets as a stranger's JWT library sees them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jose import JWTError, jwt

from embedded.clerk import ClerkStandIn
from embedded.session_tokens import WrongUserId, user_id_of
from embedded.webhook_signatures import svix_headers
from tests.support.hand_clock import HandClock
from tests.support.webhook_receiver import WebhookReceiver

SVIX_SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
SUPABASE_USER = "6f1c2a54-3c0e-4a55-9a6b-0f6f7a7b1c01"


@pytest.fixture
async def clerk() -> AsyncIterator[ClerkStandIn]:
    async with ClerkStandIn() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def keys_at(http: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    async with http.get(url) as answer:
        assert answer.status == 200
        keys: list[dict[str, Any]] = (await answer.json())["keys"]
        return keys


def read(
    token: str, key: dict[str, Any], algorithm: str, audience: str | None = None, issuer: str | None = None
) -> dict[str, Any]:
    return jwt.decode(token, key, algorithms=[algorithm], audience=audience, issuer=issuer)


async def test_a_session_token_verifies_with_the_published_key_and_has_clerks_claims(
    clerk: ClerkStandIn, http: aiohttp.ClientSession
) -> None:
    token = clerk.session_token("user_2abc", seconds=60)
    (key,) = await keys_at(http, clerk.jwks_url)
    header = jwt.get_unverified_header(token)
    claims = read(token, key, "RS256", issuer=clerk.issuer)
    assert header == {"alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": key["kid"], "typ": "JWT"}
    assert key["kid"].startswith("ins_")
    assert set(claims) == {"exp", "fva", "iat", "iss", "jti", "nbf", "sid", "sts", "sub", "v"}
    assert (claims["sub"], claims["v"], claims["sts"]) == ("user_2abc", 2, "active")
    assert claims["sid"].startswith("sess_")
    assert (claims["exp"] - claims["iat"], claims["iat"] - claims["nbf"]) == (60, 10)


async def test_claims_and_header_members_can_be_changed_added_and_taken_out(clerk: ClerkStandIn) -> None:
    token = clerk.session_token("user_2abc", azp="https://app.example", sid=None, header={"kid": None, "cat": "x"})
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "cat": "x", "typ": "JWT"}
    claims = jwt.get_unverified_claims(token)
    assert claims["azp"] == "https://app.example"
    assert "sid" not in claims


async def test_a_supabase_token_verifies_with_its_own_key_set(clerk: ClerkStandIn, http: aiohttp.ClientSession) -> None:
    (key,) = await keys_at(http, f"{clerk.supabase_issuer}/.well-known/jwks.json")
    token = clerk.supabase_token(SUPABASE_USER)
    claims = read(token, key, "ES256", audience="authenticated", issuer=f"{clerk.url}/auth/v1")
    assert (claims["sub"], claims["role"]) == (SUPABASE_USER, "authenticated")
    assert jwt.get_unverified_header(token)["kid"] == key["kid"]


@pytest.mark.parametrize("user_id", ["ada", "org_2abc", "", "user_", "user_a b", SUPABASE_USER])
async def test_an_id_that_is_none_of_clerks_is_refused_with_the_reason(clerk: ClerkStandIn, user_id: str) -> None:
    with pytest.raises(WrongUserId, match="user_2abc"):
        clerk.session_token(user_id)


async def test_a_supabase_id_is_a_uuid(clerk: ClerkStandIn) -> None:
    with pytest.raises(WrongUserId, match="UUID"):
        clerk.supabase_token("user_2abc")


def test_only_a_bare_name_becomes_a_clerk_id() -> None:
    assert [user_id_of(name) for name in ("ada", "user_ada", "$RCAnonymousID:1", SUPABASE_USER)] == [
        "user_ada",
        "user_ada",
        "$RCAnonymousID:1",
        SUPABASE_USER,
    ]


@pytest.mark.parametrize("same_kid", [True, False])
async def test_after_a_rotation_only_new_tokens_verify(
    clerk: ClerkStandIn, http: aiohttp.ClientSession, same_kid: bool
) -> None:
    old_kid, old_token = clerk.kid, clerk.session_token("user_2abc")
    clerk.rotate(same_kid=same_kid)
    (key,) = await keys_at(http, clerk.jwks_url)
    assert (key["kid"] == old_kid) is same_kid
    assert read(clerk.session_token("user_2abc"), key, "RS256")["sub"] == "user_2abc"
    with pytest.raises(JWTError):
        read(old_token, key, "RS256")


async def test_a_rotation_can_leave_the_previous_key_listed(clerk: ClerkStandIn, http: aiohttp.ClientSession) -> None:
    old_token = clerk.session_token("user_2abc")
    clerk.rotate(same_kid=False, keep_previous=True)
    _, previous = await keys_at(http, clerk.jwks_url)
    assert read(old_token, previous, "RS256")["sub"] == "user_2abc"


async def test_keys_and_users_outlive_a_restart_and_only_the_owner_can_read_them(tmp_path: Path) -> None:
    hook = "http://127.0.0.1:9/webhook"
    async with ClerkStandIn(tmp_path, webhook_url=hook, webhook_secret=SVIX_SECRET) as first:
        token, kid = first.session_token("user_2abc"), first.kid
        first.sign_up("user_2abc")
    async with (
        ClerkStandIn(tmp_path, webhook_url=hook, webhook_secret=SVIX_SECRET) as second,
        aiohttp.ClientSession() as http,
    ):
        (key,) = await keys_at(http, second.jwks_url)
        assert read(token, key, "RS256")["sub"] == "user_2abc"
        assert second.kid == kid
        assert second.users.get("user_2abc") is not None
        assert [one.kind for one in second.webhooks.waiting] == ["user.created"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


async def test_the_backend_api_shows_and_deletes_users_for_the_secret_key_only(
    clerk: ClerkStandIn, http: aiohttp.ClientSession
) -> None:
    clerk.sign_up("user_2abc", "ada@example.com")
    url, allowed = f"{clerk.url}/v1/users/user_2abc", {"Authorization": f"Bearer {clerk.secret_key}"}
    async with http.get(url, headers={"Authorization": "Bearer sk_test_other"}) as answer:
        assert (answer.status, (await answer.json())["errors"][0]["code"]) == (401, "clerk_key_invalid")
    async with http.get(url, headers=allowed) as answer:
        user = await answer.json()
    addresses = {one["id"]: one["email_address"] for one in user["email_addresses"]}
    assert addresses[user["primary_email_address_id"]] == "ada@example.com"
    async with http.delete(url, headers=allowed) as answer:
        assert (answer.status, await answer.json()) == (200, {"id": "user_2abc", "object": "user", "deleted": True})
    async with http.get(url, headers=allowed) as answer:
        assert (answer.status, (await answer.json())["errors"][0]["code"]) == (404, "resource_not_found")


async def test_user_changes_are_sent_as_signed_webhooks() -> None:
    clock = HandClock()
    async with (
        WebhookReceiver() as receiver,
        ClerkStandIn(clock=clock, webhook_url=receiver.address, webhook_secret=SVIX_SECRET) as clerk,
    ):
        clerk.sign_up("user_2abc")
        clerk.change_email("user_2abc", "new@example.com")
        clerk.delete_user("user_2abc")
        await clerk.webhooks.deliver_due()
    bodies = [json.loads(one.body) for one in receiver.received]
    assert [body["type"] for body in bodies] == ["user.created", "user.updated", "user.deleted"]
    assert bodies[0]["data"]["updated_at"] < bodies[1]["data"]["updated_at"]
    for one in receiver.received:
        expected = svix_headers(one.headers["svix-id"], one.body, int(clock().timestamp()), SVIX_SECRET)
        assert one.headers["svix-signature"] == expected["svix-signature"]


async def test_signing_out_ends_the_sessions_tokens_were_made_for_and_tells_of_each() -> None:
    async with (
        WebhookReceiver() as receiver,
        ClerkStandIn(webhook_url=receiver.address, webhook_secret=SVIX_SECRET) as clerk,
    ):
        tokens = [clerk.session_token("user_2abc") for _ in range(2)]
        other = jwt.get_unverified_claims(clerk.session_token("user_2other"))["sid"]
        ended = clerk.sign_out("user_2abc")
        await clerk.webhooks.deliver_due()
        assert clerk.sign_out("user_2abc") == []
    bodies = [json.loads(one.body) for one in receiver.received]
    assert ended == [jwt.get_unverified_claims(token)["sid"] for token in tokens]
    assert [(body["type"], body["data"]["id"], body["data"]["user_id"]) for body in bodies] == [
        ("session.ended", session_id, "user_2abc") for session_id in ended
    ]
    assert other not in ended


@pytest.mark.parametrize(
    "kind,status,content_type",
    [
        ("unavailable", 503, "text/plain"),
        ("html", 200, "text/html"),
        ("empty", 200, "application/octet-stream"),
        ("redirect", 302, "application/octet-stream"),
    ],
)
async def test_the_key_set_fails_as_often_as_told_and_then_recovers(
    clerk: ClerkStandIn, http: aiohttp.ClientSession, kind: str, status: int, content_type: str
) -> None:
    clerk.faults.fail_next(kind, times=2, where="jwks")
    for _ in range(2):
        async with http.get(clerk.jwks_url, allow_redirects=False) as answer:
            assert (answer.status, answer.content_type) == (status, content_type)
    assert len(await keys_at(http, clerk.jwks_url)) == 1
    assert clerk.faults.calls["/.well-known/jwks.json"] == 3


async def test_a_fault_for_one_address_leaves_the_others_alone(
    clerk: ClerkStandIn, http: aiohttp.ClientSession
) -> None:
    clerk.faults.fail_next("unavailable", where="/v1/users")
    assert len(await keys_at(http, clerk.jwks_url)) == 1
    async with http.get(f"{clerk.url}/v1/users/user_2abc") as answer:
        assert answer.status == 503


async def test_the_key_set_can_be_far_too_long(clerk: ClerkStandIn, http: aiohttp.ClientSession) -> None:
    clerk.faults.fail_next("many_keys")
    assert len(await keys_at(http, clerk.jwks_url)) == 20_000


async def test_an_answer_can_be_cut_off_until_that_is_cleared(clerk: ClerkStandIn, http: aiohttp.ClientSession) -> None:
    clerk.faults.fail_next("cut", times=-1)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await keys_at(http, clerk.jwks_url)
    clerk.faults.clear()
    assert len(await keys_at(http, clerk.jwks_url)) == 1


async def test_a_slow_answer_is_held_until_released(clerk: ClerkStandIn, http: aiohttp.ClientSession) -> None:
    clerk.faults.fail_next("slow")
    with pytest.raises(TimeoutError):
        await http.get(clerk.jwks_url, timeout=aiohttp.ClientTimeout(total=0.05))
    clerk.faults.fail_next("slow")
    clerk.faults.release()
    assert len(await keys_at(http, clerk.jwks_url)) == 1


async def test_an_unknown_fault_is_refused(clerk: ClerkStandIn) -> None:
    with pytest.raises(ValueError, match="many_keys"):
        clerk.faults.fail_next("bogus")


def test_svix_signatures_match_the_published_vectors() -> None:
    first = svix_headers(
        "msg_loFOjxBNrRLzqYUf", b'{"event_type":"ping","data":{"success":true}}', 1731705121, SVIX_SECRET
    )
    second = svix_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', 1614265330, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )
    assert first["svix-signature"] == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
    assert second["svix-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
