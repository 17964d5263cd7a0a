"""Clerk's webhooks at the door: proven, taken once, in whatever order they come."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from pydantic import SecretStr

from embedded.clerk_users import webhook_body
from embedded.webhook_signatures import svix_headers
from identity.retention import KEPT
from tests.support.callers import ISSUER, all_at_once
from tests.support.identity import WEBHOOK_SECRET, Identity, identity, identity_and_clerk

OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Identity]:
    async with identity_and_clerk(database_url) as running:
        yield running


def described(user_id: str = "user_1", updated_at: int = 1_000, **more: Any) -> dict[str, Any]:
    """A user as Clerk describes one, with a verified address ``ada@example.com`` unless ``more`` says otherwise."""
    address = {"id": "idn_1", "email_address": "ada@example.com", "verification": {"status": "verified"}}
    user = {"id": user_id, "updated_at": updated_at, "primary_email_address_id": "idn_1", "email_addresses": [address]}
    return {**user, **more}


async def test_sign_up_change_and_deletion_arrive(world: Identity) -> None:
    world.clerk.sign_up("user_1", "ada@example.com")
    assert await world.hear() == [200]
    user = await world.user()
    assert user is not None
    assert (user["email"], user["version"]) == ("ada@example.com", 1)
    world.clerk.change_email("user_1", "lovelace@example.com")
    assert await world.hear() == [200]
    world.clerk.delete_user("user_1")
    assert await world.hear() == [200]
    assert await world.user() is None
    events = await world.emitted()
    assert [(event["type"], event["sequence"], event.get("email")) for event in events] == [
        ("user_registered", 1, "ada@example.com"),
        ("user_changed", 2, "lovelace@example.com"),
        ("user_deleted", 3, None),
    ]


async def test_a_webhook_about_a_user_who_was_here_adds_the_address_and_says_so(world: Identity) -> None:
    await world.api.get("/me")
    world.clerk.sign_up("user_1", "ada@example.com")
    await world.hear()
    assert (await world.api.get("/me")).json["email"] == "ada@example.com"
    assert [(event["type"], event["sequence"]) for event in await world.emitted()] == [
        ("user_registered", 1),
        ("user_changed", 2),
    ]
    assert (await world.user() or {})["lookup_at"] is None


async def test_the_first_token_names_the_issuer_of_a_user_only_webhooks_have_told_of(world: Identity) -> None:
    await world.tell("user.created", described())
    assert (await world.user() or {})["issuer"] == "clerk"
    assert (await world.api.get("/me")).json["issuer"] == ISSUER
    await world.api.get("/me")
    issuers = [(event["issuer"], event["sequence"], event["email"]) for event in await world.emitted()]
    assert issuers == [("clerk", 1, "ada@example.com"), (ISSUER, 2, "ada@example.com")]


@pytest.mark.attack("E15")
async def test_an_older_description_changes_nothing(world: Identity) -> None:
    newest = {"id": "idn_1", "email_address": "new@example.com", "verification": {"status": "verified"}}
    assert (await world.tell("user.updated", described(updated_at=2_000, email_addresses=[newest]))).status == 200
    assert (await world.tell("user.created", described(updated_at=1_000))).status == 200
    assert (await world.tell("user.updated", described(updated_at=1_999))).status == 200
    assert (await world.user() or {})["email"] == "new@example.com"
    assert [event["type"] for event in await world.emitted()] == ["user_registered"]


async def test_a_newer_description_without_anything_new_is_no_event(world: Identity) -> None:
    for updated_at in (1_000, 2_000, 3_000):
        assert (await world.tell("user.updated", described(updated_at=updated_at, last_name="Byron"))).status == 200
    assert [event["type"] for event in await world.emitted()] == ["user_registered"]
    assert (await world.user() or {})["version"] == 1


async def test_an_absurd_time_does_not_outrank_every_later_change(world: Identity) -> None:
    later = int((world.clock() + timedelta(hours=1)).timestamp() * 1000)
    await world.tell("user.created", described(updated_at=4_000_000_000_000))
    await world.tell("user.updated", described(updated_at=later, email_addresses=[]))
    assert (await world.user() or {})["email"] is None


UNVERIFIED: list[dict[str, Any]] = [
    {"email_addresses": []},
    {"email_addresses": None},
    {"primary_email_address_id": None},
    {"primary_email_address_id": "idn_other"},
    {"email_addresses": [{"id": "idn_1", "email_address": "a@b.c", "verification": None}]},
    {"email_addresses": [{"id": "idn_1", "email_address": "a@b.c", "verification": {"status": "unverified"}}]},
    {"email_addresses": [{"id": "idn_1", "email_address": "a@b.c"}]},
    {"email_addresses": [{"id": "idn_1", "email_address": None, "verification": {"status": "verified"}}]},
    {"email_addresses": [{"id": "idn_1", "email_address": "a\0@b.c", "verification": {"status": "verified"}}]},
    {"email_addresses": [{"id": "idn_1", "email_address": "a" * 321, "verification": {"status": "verified"}}]},
    {"email_addresses": ["idn_1", 7]},
]


async def test_only_a_verified_primary_address_is_kept(world: Identity) -> None:
    for number, without in enumerate(UNVERIFIED):
        user_id = f"user_{number}"
        assert (await world.tell("user.created", described(user_id, **without))).status == 200, without
        user = await world.user(user_id)
        assert user is not None, without
        assert user["email"] is None, without


async def test_an_address_that_is_no_longer_verified_is_forgotten(world: Identity) -> None:
    await world.tell("user.created", described(updated_at=1_000))
    await world.tell("user.updated", described(updated_at=2_000, primary_email_address_id=None, email_addresses=[]))
    assert (await world.user() or {})["email"] is None
    assert "email" not in (await world.emitted())[-1]


async def test_two_users_may_have_one_address(world: Identity) -> None:
    for user_id in ("user_1", "user_2"):
        assert (await world.tell("user.created", described(user_id))).status == 200
    assert await world.rows("SELECT count(DISTINCT id) FROM identity.user WHERE email = 'ada@example.com'") == [
        {"count": 2}
    ]


async def test_metadata_is_neither_kept_nor_logged(world: Identity, capfd: pytest.CaptureFixture[str]) -> None:
    secret = {"diagnosis": "a-private-matter"}
    answer = await world.tell("user.created", described(private_metadata=secret, unsafe_metadata=secret))
    assert answer.status == 200
    for table in await world.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'identity'"):
        held = await world.rows(f"SELECT t::text AS row FROM identity.{table['tablename']} t")
        assert not [row for row in held if "a-private-matter" in row["row"]], table
    printed = capfd.readouterr()
    assert "a-private-matter" not in printed.out + printed.err


@pytest.mark.attack("E15")
async def test_the_same_message_many_times_at_once_is_taken_once(world: Identity) -> None:
    body = webhook_body("user.created", described(), world.clerk.instance_id, world.clock()).encode()
    signed = svix_headers("msg_once", body, int(world.clock().timestamp()), WEBHOOK_SECRET)
    answers = await all_at_once(*[partial(world.post_webhook, body, signed)] * 20)
    assert {answer.status for answer in answers} == {200}
    assert sum(not answer.json["duplicate"] for answer in answers) == 1
    assert len(await world.emitted()) == 1


@pytest.mark.attack("E15")
async def test_a_message_that_is_sent_again_days_later_is_known(world: Identity) -> None:
    body = webhook_body("user.updated", described(), world.clerk.instance_id, world.clock()).encode()
    for day in range(15):
        signed = svix_headers("msg_again", body, int(world.clock().timestamp()), WEBHOOK_SECRET)
        answer = await world.post_webhook(body, signed)
        assert answer.json == {"ok": True, "duplicate": day > 0}
        world.clock.forward(days=1)


async def test_what_was_kept_long_enough_is_forgotten(world: Identity) -> None:
    await world.tell("user.created", described())
    await world.tell("session.ended", {"id": "sess_1", "user_id": "user_1"})
    world.clock.forward(days=14)
    await world.tell("session.ended", {"id": "sess_2", "user_id": "user_1"})
    world.clock.forward(seconds=(KEPT - timedelta(days=14)).total_seconds() + 1)
    assert await world.service.forgetting.once() == {"webhook_seen": 2, "ended_session": 1}
    assert await world.rows("SELECT session_id FROM identity.ended_session") == [{"session_id": "sess_2"}]


@pytest.mark.parametrize("kind", ["session.ended", "session.removed", "session.revoked"])
async def test_a_session_that_ended_is_told_once(world: Identity, kind: str) -> None:
    for _ in range(2):
        assert (await world.tell(kind, {"id": "sess_1", "user_id": "user_1"})).status == 200
    [event] = await world.emitted()
    assert (event["type"], event["sessionId"], event["userId"]) == ("session_ended", "sess_1", "user_1")
    assert event["endedAt"].startswith("2026-09-01T10:00:00")


async def test_what_is_not_for_us_is_noted_and_answered_200(world: Identity) -> None:
    told: list[tuple[str, dict[str, Any]]] = [
        ("session.created", {"id": "sess_1", "user_id": "user_1"}),
        ("session.ended", {"id": "sess_1"}),
        ("organization.created", {"id": "org_1"}),
        ("user.deleted", {"deleted": True}),
        ("something.of.the_future", {"id": 7}),
    ]
    for kind, data in told:
        assert (await world.tell(kind, data)).status == 200, kind
    assert await world.emitted() == []
    seen = await world.rows("SELECT type FROM identity.webhook_seen")
    assert {row["type"] for row in seen} == {kind for kind, _ in told}


NOT_UNDERSTOOD: list[Any] = [
    b"",
    b"{",
    b"\xff",
    b"[" * 100_000,
    b"null",
    b"[]",
    {"type": "user.created"},
    {"type": "user.created", "data": []},
    {"type": 7, "data": {}},
    {"type": "user created", "data": {}},
    {"type": "user.created", "data": {}},
    {"type": "user.created", "data": {**described(), "id": "user 1"}},
    {"type": "user.created", "data": {**described(), "id": "user_\0"}},
    {"type": "user.created", "data": {**described(), "updated_at": None}},
    {"type": "user.created", "data": {**described(), "updated_at": "1000"}},
    {"type": "user.created", "data": {**described(), "updated_at": True}},
    {"type": "user.created", "data": {**described(), "updated_at": 10**30}},
    {"type": "user.deleted", "data": {"id": 5}},
    {"type": "session.ended", "data": {"user_id": "user_1"}},
    {"type": "session.ended", "data": {"id": "sess_1", "user_id": "user_1"}, "timestamp": "now"},
    {"type": "user.created", "data": described(), "instance_id": "ins_another"},
]


@pytest.mark.attack("E14")
async def test_a_body_that_cannot_be_understood_is_400_and_changes_nothing(world: Identity) -> None:
    for body in NOT_UNDERSTOOD:
        answer = await world.post_webhook(body if isinstance(body, bytes) else json.dumps(body).encode())
        assert answer.status == 400, body
        assert answer.json["code"] == "VALIDATION_ERROR"
    assert await world.emitted() == []
    assert await world.rows("SELECT 1 FROM identity.webhook_seen") == []


async def test_a_body_that_does_not_name_its_instance_is_taken(world: Identity) -> None:
    body = json.dumps({"type": "user.created", "data": described()}).encode()
    assert (await world.post_webhook(body)).status == 200


@pytest.mark.attack("E14")
async def test_what_is_not_signed_is_400_whatever_it_holds(world: Identity) -> None:
    body = webhook_body("user.created", described(), world.clerk.instance_id, world.clock()).encode()
    now = int(world.clock().timestamp())
    good = dict(svix_headers("msg_1", body, now, WEBHOOK_SECRET))
    for headers in (
        {"svix-id": "msg_1"},
        dict(svix_headers("msg_1", body, now, OTHER_SECRET)),
        dict(svix_headers("msg_1", body + b" ", now, WEBHOOK_SECRET)),
        dict(svix_headers("msg_1", body, now - 301, WEBHOOK_SECRET)),
        {**good, "svix-signature": "v1"},
        {**good, "svix-signature": "v1,*"},
        {**good, "svix-timestamp": "9" * 5000},
        {**good, "svix-id": "x" * 5000},
    ):
        answer = await world.post_webhook(body, headers)
        assert (answer.status, answer.json["code"]) == (400, "VALIDATION_ERROR"), headers
    assert (await world.post_webhook(body, good)).status == 200


async def test_either_of_two_secrets_signs_while_they_are_exchanged(database_url: str) -> None:
    secrets = (SecretStr(OTHER_SECRET), SecretStr(WEBHOOK_SECRET))
    async with identity_and_clerk(database_url, clerk_webhook_signing_secrets=secrets) as world:
        for secret in (WEBHOOK_SECRET, OTHER_SECRET):
            body = webhook_body("user.updated", described(), world.clerk.instance_id, world.clock()).encode()
            signed = svix_headers(f"msg_{secret[6:12]}", body, int(world.clock().timestamp()), secret)
            assert (await world.post_webhook(body, signed)).status == 200


@pytest.mark.attack("E16")
async def test_a_body_over_the_limit_is_413_before_anything_is_checked(world: Identity) -> None:
    async def flood() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    answer = await world.api.post("/webhooks/clerk", raw=flood())
    assert (answer.status, answer.json["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_without_a_secret_no_webhook_is_taken(database_url: str) -> None:
    async with identity(database_url) as api:
        answer = await api.post("/webhooks/clerk", {"type": "user.created"})
    assert (answer.status, answer.json["code"]) == (404, "WEBHOOKS_NOT_CONFIGURED")
