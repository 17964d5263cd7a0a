"""Subjects of a second issuer, the commands that link them, and what the gateway is told."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from common.clock import wire_time
from common.errors import DomainError
from identity.links import link_subject
from tests.support.callers import NOBODY
from tests.support.identity import NOWHERE, Identity, identity_and_clerk
from tests.support.ways import variables_to

SUPABASE = "https://ref.supabase.co/auth/v1"
SUBJECT = "6f1c2a54-3c0e-4a55-9a6b-0f6f7a7b1c01"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Identity]:
    async with identity_and_clerk(database_url, issuer=SUPABASE) as running:
        yield running


async def command(world: Identity, *arguments: str) -> tuple[int, str]:
    """``python -m identity …`` as an operator runs it; exit code and everything printed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "identity",
        *arguments,
        env={"PATH": os.environ["PATH"], **variables_to(world.database_url), "GATEWAY_JWKS_URL": NOWHERE},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await child.communicate()
    return child.returncode or 0, output.decode()


async def user_of(world: Identity, subject: str = SUBJECT, issuer: str = SUPABASE) -> str:
    answer = await world.api.signed_in_as(NOBODY).get(f"/internal/users?issuer={issuer}&subject={subject}")
    assert answer.status == 200, answer.text
    return str(answer.json["userId"])


async def link(world: Identity, subject: str = SUBJECT, user_id: str = "user_1", issuer: str = SUPABASE) -> bool:
    async with world.service.database.transaction() as uow:
        return await link_subject(uow, issuer, subject, user_id)


async def test_a_subject_is_linked_shown_and_unlinked_on_the_command_line(world: Identity) -> None:
    await world.api.get("/me")
    assert await user_of(world) == SUBJECT
    assert await command(world, "links", "user_1") == (0, "no subject is linked to user_1\n")
    code, said = await command(world, "link", SUPABASE, SUBJECT, "user_1")
    assert (code, said) == (0, f"{SUBJECT} of {SUPABASE} is now user_1\n")
    assert (await command(world, "link", SUPABASE, SUBJECT, "user_1"))[1].endswith("is already user_1\n")
    assert await user_of(world) == "user_1"
    assert await user_of(world, issuer="https://another") == SUBJECT
    code, said = await command(world, "links", "user_1")
    assert code == 0
    assert said.startswith(f"{SUBJECT} of {SUPABASE}, since 20")
    assert (await command(world, "unlink", SUPABASE, SUBJECT))[0] == 0
    assert await user_of(world) == SUBJECT
    code, said = await command(world, "unlink", SUPABASE, SUBJECT)
    assert (code, said) == (1, f"identity: {SUBJECT} of {SUPABASE} is not linked\n")


@pytest.mark.parametrize("name", ["link", "unlink", "links", "deletions"])
async def test_every_command_explains_itself(world: Identity, name: str) -> None:
    code, said = await command(world, name, "--help")
    assert code == 0
    assert f"python -m identity {name}" in said


async def test_a_link_that_would_make_two_of_one_is_refused(world: Identity) -> None:
    for user_id in ("user_1", "user_2", "someone-with-data", "someone-deleted"):
        await world.api.signed_in_as(user_id).get("/me")
    await world.api.signed_in_as("someone-deleted").delete("/me")
    await link(world)
    refused = [
        (SUBJECT, "user_2", "unlink it first"),
        ("someone-with-data", "user_1", "data of its own"),
        ("someone-deleted", "user_1", "is deleted"),
        ("another", "nobody-here", "there is no user"),
        ("another", "someone-deleted", "there is no user"),
        ("user_1", "user_1", "is the user already"),
        ("", "user_1", "1 to 512"),
        ("x" * 513, "user_1", "1 to 512"),
        ("nul\0", "user_1", "1 to 512"),
    ]
    for subject, user_id, why in refused:
        with pytest.raises(DomainError, match=why):
            await link(world, subject, user_id)
    assert [row["user_id"] for row in await world.rows("SELECT user_id FROM identity.link")] == ["user_1"]


async def test_a_linked_subject_does_not_become_a_user_of_its_own(world: Identity) -> None:
    """The gateway may remember for a moment that the subject was nobody's."""
    await world.api.get("/me")
    await link(world)
    stale = world.api.signed_in_as(SUBJECT)
    assert (await stale.get("/me")).status == 401
    assert (await stale.delete("/me")).status == 401
    assert await world.rows("SELECT 1 FROM identity.deletion") == []


async def test_linking_and_a_first_request_at_once_never_make_two_users(world: Identity) -> None:
    await world.api.get("/me")
    for number in range(8):
        subject = f"subject-{number}"
        answer, linked = await asyncio.gather(
            world.api.signed_in_as(subject).get("/me"), link(world, subject), return_exceptions=True
        )
        assert not isinstance(answer, BaseException)
        assert (answer.status == 200) is isinstance(linked, DomainError)
        assert (await world.user(subject) is not None) is isinstance(linked, DomainError)


async def test_a_linked_token_does_not_change_whose_user_it_is(world: Identity) -> None:
    """A user only webhooks have told of is Clerk's, though the first token comes from the second issuer."""
    profile = {"id": "user_1", "updated_at": 1, "email_addresses": [], "primary_email_address_id": None}
    await world.tell("user.created", profile)
    await link(world)
    assert (await world.api.get("/me")).json["issuer"] == "clerk"


async def test_the_subjects_of_a_deleted_user_stay_theirs(world: Identity) -> None:
    await world.api.get("/me")
    await link(world)
    await world.api.delete("/me")
    assert await user_of(world) == "user_1"
    assert (await world.api.get("/me")).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/internal/users",
        "/internal/users?issuer=x",
        "/internal/users?issuer=&subject=x",
        f"/internal/users?issuer=x&subject={'x' * 513}",
        "/internal/users?issuer=x&subject=%00",
        "/internal/sign-outs",
        "/internal/sign-outs?since=yesterday",
        "/internal/sign-outs?since=2026-09-01T10:00:00",
        "/internal/sign-outs?since=999999-01-01T00:00:00Z",
    ],
)
async def test_questions_that_make_no_sense_are_400(world: Identity, path: str) -> None:
    answer = await world.api.signed_in_as(NOBODY).get(path)
    assert (answer.status, answer.json["code"]) == (400, "VALIDATION_ERROR")


async def test_internal_questions_are_the_gateways_alone(world: Identity) -> None:
    for path in (f"/internal/users?issuer=x&subject={SUBJECT}", "/internal/sign-outs?since=2026-09-01T10:00:00Z"):
        assert (await world.api.signed_in_as(None).get(path)).status == 401
        assert (await world.api.signed_in_as("user_1").get(path)).status == 403
        assert (await world.api.signed_in_as(NOBODY).get(path)).status == 200


async def test_the_gateway_learns_what_it_missed(world: Identity) -> None:
    async def since(minutes_ago: int) -> dict[str, list[str]]:
        moment = wire_time(world.clock() - timedelta(minutes=minutes_ago))
        told = (await world.api.signed_in_as(NOBODY).get(f"/internal/sign-outs?since={moment}")).json
        return {
            "sessions": [one["sessionId"] for one in told["sessions"]],
            "users": [one["userId"] for one in told["users"]],
        }

    await world.tell("session.ended", {"id": "sess_1", "user_id": "user_1"})
    world.clock.forward(minutes=10)
    await world.tell("session.revoked", {"id": "sess_2", "user_id": "user_1"})
    await world.api.signed_in_as("user_2").delete("/me")
    world.clock.forward(minutes=1)
    assert await since(5) == {"sessions": ["sess_2"], "users": ["user_2"]}
    assert await since(60) == {"sessions": ["sess_2", "sess_1"], "users": ["user_2"]}
    assert await since(0) == {"sessions": [], "users": []}


async def test_deletions_are_shown_with_their_receipts(world: Identity) -> None:
    assert await command(world, "deletions") == (0, "no account was deleted\n")
    await world.api.delete("/me")
    world.clerk.faults.fail_next("unavailable")
    await world.provider.step()
    code, said = await command(world, "deletions", "--open")
    assert code == 0
    first, *receipts = said.splitlines()
    assert first == "user_1  pending, requested 2026-09-01T10:00:00.000Z"
    own = "completed 2026-09-01T10:00:00.000Z  (0 preferences, 0 sessions, 0 users, 0 values)"
    assert receipts[0] == f"  identity    {own}"
    assert receipts[1] == "  billing     pending"
    assert receipts[5].startswith("  clerk       pending: server_failed, 1 attempts, again at 2026-09-01T10:00:0")
    await world.rows("UPDATE identity.deletion SET completed_at = now()")
    assert await command(world, "deletions", "--open") == (0, "no deletion is open\n")
