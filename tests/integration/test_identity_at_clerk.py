"""What identity asks of Clerk's Backend API: addresses of users nobody told of, and deletions, on good and bad days."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from identity.jobs import BETWEEN_CALLS, LONGEST_PAUSE
from identity.lookups import MOST_ATTEMPTS
from tests.support.callers import NOBODY
from tests.support.identity import Identity, identity_and_clerk


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Identity]:
    async with identity_and_clerk(database_url) as running:
        yield running


async def first_seen(world: Identity, user_id: str = "user_1", email: str = "ada@example.com") -> None:
    """Signs up at Clerk without a webhook reaching us, comes here, and is due to be looked up."""
    world.clerk.webhooks.lose()
    world.clerk.sign_up(user_id, email)
    await world.api.signed_in_as(user_id).get("/me")
    world.clock.forward(seconds=10)


async def receipt_of_clerk(world: Identity, deletion_id: str) -> dict[str, Any]:
    answer = await world.api.signed_in_as(NOBODY).get(f"/me/deletions/{deletion_id}")
    [receipt] = [one for one in answer.json["receipts"] if one["store"] == "clerk"]
    return dict(receipt)


async def deleted(world: Identity, user_id: str = "user_1") -> str:
    return str((await world.api.signed_in_as(user_id).delete("/me")).json["deletionId"])


async def test_a_user_of_whom_no_webhook_told_is_looked_up(world: Identity) -> None:
    await first_seen(world)
    assert await world.provider.step() == BETWEEN_CALLS
    assert (await world.api.get("/me")).json["email"] == "ada@example.com"
    assert [(event["type"], event["sequence"]) for event in await world.emitted()] == [
        ("user_registered", 1),
        ("user_changed", 2),
    ]
    assert await world.provider.step() is None


async def test_the_webhook_is_given_time_to_come_first(world: Identity) -> None:
    await world.api.get("/me")
    world.clerk.sign_up("user_1")
    assert await world.provider.step() is None
    await world.hear()
    world.clock.forward(days=1)
    assert await world.provider.step() is None
    assert world.clerk.faults.calls["/v1/users/user_1"] == 0


async def test_what_was_looked_up_does_not_outrank_a_newer_webhook(world: Identity) -> None:
    await first_seen(world)
    await world.provider.step()
    world.clerk.change_email("user_1", "new@example.com")
    assert await world.hear() == [200]
    assert (await world.user() or {})["email"] == "new@example.com"


async def test_a_user_clerk_does_not_know_is_asked_about_once_and_kept(world: Identity) -> None:
    await world.api.get("/me")
    world.clock.forward(seconds=10)
    assert await world.provider.step() == BETWEEN_CALLS
    world.clock.forward(days=30)
    assert await world.provider.step() is None
    assert (await world.api.get("/me")).status == 200


@pytest.mark.parametrize("user_id,issuer", [("6f1c2a54-3c0e-4a55-9a6b-0f6f7a7b1c01", "x"), ("user_1", "development")])
async def test_users_of_others_are_not_looked_up(database_url: str, user_id: str, issuer: str) -> None:
    async with identity_and_clerk(database_url, issuer=issuer) as world:
        await world.api.signed_in_as(user_id).get("/me")
        world.clock.forward(days=1)
        assert await world.provider.step() is None


async def test_clerks_wait_is_kept_for_everybody(world: Identity) -> None:
    await first_seen(world)
    world.clerk.faults.fail_next("rate_limited", retry_after=42)
    assert await world.provider.step() == 42
    world.clock.forward(seconds=41)
    assert await world.provider.step() is None
    world.clock.forward(seconds=1)
    assert await world.provider.step() == BETWEEN_CALLS
    assert (await world.user() or {})["email"] == "ada@example.com"


async def test_a_wait_without_an_end_is_bounded(world: Identity) -> None:
    await first_seen(world)
    world.clerk.faults.fail_next("rate_limited", retry_after=10**8)
    assert await world.provider.step() == LONGEST_PAUSE


@pytest.mark.parametrize("fault", ["unavailable", "error", "cut", "html", "empty", "redirect"])
async def test_a_question_is_asked_again_until_it_is_answered(world: Identity, fault: str) -> None:
    await first_seen(world)
    world.clerk.faults.fail_next(fault, -1)
    for _ in range(3):
        assert await world.provider.step() == BETWEEN_CALLS
        assert await world.provider.step() is None
        world.clock.forward(hours=6)
    world.clerk.faults.clear()
    assert await world.provider.step() == BETWEEN_CALLS
    assert (await world.user() or {})["email"] == "ada@example.com"


async def test_a_question_is_given_up_at_last(world: Identity) -> None:
    await first_seen(world)
    world.clerk.faults.fail_next("unavailable", -1)
    for _ in range(MOST_ATTEMPTS):
        assert await world.provider.step() == BETWEEN_CALLS
        world.clock.forward(hours=6)
    assert await world.provider.step() is None


async def test_a_process_that_dies_in_a_call_is_followed_by_another(world: Identity) -> None:
    await first_seen(world)
    world.clerk.faults.fail_next("unavailable")
    await world.rows("UPDATE identity.user SET lookup_at = $1", world.clock.forward(seconds=20))
    assert await world.provider.step() == BETWEEN_CALLS


async def test_a_deletion_at_clerk_is_tried_until_it_succeeds_and_the_receipt_says_so(world: Identity) -> None:
    await first_seen(world)
    deletion_id = await deleted(world)
    world.clerk.faults.fail_next("unavailable", 30)
    for attempt in range(1, 31):
        assert await world.provider.step() == BETWEEN_CALLS
        receipt = await receipt_of_clerk(world, deletion_id)
        assert (receipt["status"], receipt["attempts"], receipt["problem"]) == ("pending", attempt, "server_failed")
        assert receipt["nextAttemptAt"] > receipt.get("completedAt", "")
        world.clock.forward(minutes=15)
    await world.provider.step()
    receipt = await receipt_of_clerk(world, deletion_id)
    assert (receipt["status"], receipt["counts"]) == ("completed", {"users": 1})
    assert receipt.keys() == {"store", "status", "counts", "completedAt"}
    assert world.clerk.users.get("user_1") is None


async def test_a_user_clerk_no_longer_has_is_deleted(world: Identity) -> None:
    deletion_id = await deleted(world)
    await world.provider.step()
    receipt = await receipt_of_clerk(world, deletion_id)
    assert (receipt["status"], receipt["counts"]) == ("completed", {"users": 0})


async def test_deletions_come_before_questions(world: Identity) -> None:
    await first_seen(world, "user_1")
    await first_seen(world, "user_2", "bob@example.com")
    await deleted(world, "user_2")
    await world.provider.step()
    assert world.clerk.users.get("user_2") is None
    assert (await world.user("user_1") or {})["email"] is None


async def test_the_webhook_about_our_own_deletion_completes_the_receipt(world: Identity) -> None:
    """The process may die between Clerk's answer and our note of it."""
    await first_seen(world)
    deletion_id = await deleted(world)
    world.clerk.delete_user("user_1")
    assert await world.hear() == [200]
    assert (await receipt_of_clerk(world, deletion_id))["status"] == "completed"
    assert await world.provider.step() is None


async def test_a_refused_key_holds_everything_off_and_is_told(database_url: str) -> None:
    async with identity_and_clerk(database_url, clerk_secret_key="sk_test_of_another") as world:
        await first_seen(world)
        world.clerk.secret_key = "sk_test_rotated"
        pause = await world.provider.step()
        assert pause == 60
        assert REGISTRY.get_sample_value("identity_clerk_key_refused") == 1
        world.clerk.secret_key = "sk_test_stand_in"
        world.clock.forward(seconds=60)
        await world.provider.step()
        assert REGISTRY.get_sample_value("identity_clerk_key_refused") == 0
        assert (await world.user() or {})["email"] == "ada@example.com"
