"""The deletion of an account, identity's half: one transaction, then receipts as the stores report."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY

from common.auth import Caller
from common.contracts import billing, media
from common.errors import PermanentError
from identity.jobs import measure
from tests.support.callers import NOBODY, all_at_once
from tests.support.identity import Identity, identity_and_clerk
from tests.support.other_services import OtherService

STORES = ["identity", "billing", "revenuecat", "media", "storage", "clerk"]
VALUES = {"values": [{"valueId": "joy", "valueText": "Joy"}, {"valueId": "calm", "valueText": "Calm"}]}


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Identity]:
    async with identity_and_clerk(database_url) as running:
        yield running


async def settle_in(world: Identity, user_id: str = "user_1") -> None:
    """A user with an address, two values, a struggle, preferences and an ended session."""
    world.clerk.sign_up(user_id, "ada@example.com")
    await world.hear()
    user = world.api.signed_in_as(user_id)
    await user.post("/me/values", VALUES)
    await user.put("/me/struggle", {"struggle": "speaking up"})
    await user.put("/me/preferences", (await user.get("/me/preferences")).json)
    await world.tell("session.ended", {"id": "sess_old", "user_id": user_id})


async def deleted(world: Identity) -> str:
    answer = await world.api.delete("/me")
    assert answer.status == 202, answer.text
    assert answer.json.keys() == {"deletionId", "status"}
    return str(answer.json["deletionId"])


async def followed(world: Identity, deletion_id: str) -> dict[str, Any]:
    answer = await world.api.signed_in_as(NOBODY).get(f"/me/deletions/{deletion_id}")
    assert answer.status == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    document: dict[str, Any] = answer.json
    return document


async def statuses(world: Identity, deletion_id: str) -> dict[str, str]:
    return {receipt["store"]: receipt["status"] for receipt in (await followed(world, deletion_id))["receipts"]}


def erased(deletion_id: str, store: Any, user_id: str = "user_1", **counts: int) -> Any:
    owner: Any = billing if store in ("billing", "revenuecat") else media
    return owner.UserDataErased(user_id=user_id, deletion_id=deletion_id, store=store, counts=counts)


async def remains(world: Identity, text: str) -> list[str]:
    """The tables of identity in which the text is still to be found."""
    found = []
    for table in await world.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'identity' ORDER BY tablename"):
        name = table["tablename"]
        if await world.rows(f"SELECT 1 FROM identity.{name} t WHERE t::text LIKE $1", f"%{text}%"):
            found.append(name)
    return found


async def test_deleting_removes_everything_here_and_announces_the_rest(world: Identity) -> None:
    await settle_in(world)
    deletion_id = await deleted(world)
    document = await followed(world, deletion_id)
    assert (document["deletionId"], document["status"]) == (deletion_id, "pending")
    assert [receipt["store"] for receipt in document["receipts"]] == STORES
    own = document["receipts"][0]
    assert own["status"] == "completed"
    assert own["counts"] == {"users": 1, "values": 2, "preferences": 1, "sessions": 1}
    assert await remains(world, "user_1") == ["deletion", "outbox", "tombstone"]
    event = (await world.emitted())[-1]
    assert event == {
        "type": "user_deleted",
        "sequence": 3,
        "userId": "user_1",
        "issuer": "https://clerk.test",
        "deletionId": deletion_id,
    }


async def test_each_store_reports_and_the_last_one_completes_the_deletion(world: Identity) -> None:
    await settle_in(world)
    deletion_id = await deleted(world)
    await world.rows("UPDATE identity.outbox SET published_at = now()")
    for report in (
        erased(deletion_id, "media", sessions=3),
        erased(deletion_id, "billing", webhooks=2),
        erased(deletion_id, "storage", objects=9),
    ):
        await world.deliver(report, times=2)
    await world.deliver(erased(deletion_id, "revenuecat"))
    assert (await followed(world, deletion_id))["status"] == "pending"
    assert await world.provider.step() is not None
    document = await followed(world, deletion_id)
    assert document["status"] == "completed"
    assert document["completedAt"] == "2026-09-01T10:00:00.000Z"
    counts = {receipt["store"]: receipt["counts"] for receipt in document["receipts"]}
    assert (counts["media"], counts["storage"], counts["clerk"]) == ({"sessions": 3}, {"objects": 9}, {"users": 1})
    assert world.clerk.users.get("user_1") is None
    assert await remains(world, "ada@example.com") == []
    assert await remains(world, "user_1") == ["deletion", "tombstone"]


async def test_a_report_that_comes_again_keeps_the_first_counts(world: Identity) -> None:
    deletion_id = await deleted(world)
    await world.deliver(erased(deletion_id, "media", sessions=3))
    await world.deliver(erased(deletion_id, "media", sessions=0))
    [receipt] = [one for one in (await followed(world, deletion_id))["receipts"] if one["store"] == "media"]
    assert receipt["counts"] == {"sessions": 3}


async def test_a_report_about_a_deletion_nobody_asked_for_is_parked(world: Identity) -> None:
    deletion_id = await deleted(world)
    for report in (erased("another", "media"), erased(deletion_id, "media", user_id="user_2")):
        with pytest.raises(PermanentError):
            await world.deliver(report)
    assert (await statuses(world, deletion_id))["media"] == "pending"


async def test_reports_that_come_at_once_complete_it_once(world: Identity) -> None:
    deletion_id = await deleted(world)
    await world.provider.step()
    stores = ("billing", "revenuecat", "media", "storage")
    await asyncio.gather(*(world.deliver(erased(deletion_id, store)) for store in stores))
    assert (await followed(world, deletion_id))["status"] == "completed"


async def test_open_deletions_and_their_age_are_measured(world: Identity) -> None:
    await deleted(world)
    world.clock.forward(minutes=5)
    await world.api.signed_in_as("user_2").delete("/me")
    await measure(world.service.database)
    assert REGISTRY.get_sample_value("identity_deletions_open") == 2
    assert REGISTRY.get_sample_value("identity_deletions_oldest_seconds") == 300


async def test_asking_again_is_the_same_deletion(world: Identity) -> None:
    await settle_in(world)
    answers = await all_at_once(*[partial(world.api.delete, "/me")] * 8)
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["deletionId"] for answer in answers}) == 1
    assert [event["type"] for event in await world.emitted()].count("user_deleted") == 1


async def test_a_deleted_user_is_401_everywhere_and_never_comes_back(world: Identity) -> None:
    await settle_in(world)
    await deleted(world)
    doors = [("GET", "/me"), ("GET", "/me/values"), ("POST", "/me/values"), ("PUT", "/me/struggle")]
    doors += [("GET", "/me/preferences"), ("GET", "/me/export")]
    for method, path in doors:
        answer = await world.api.request(method, path, body=VALUES)
        assert (answer.status, answer.json["code"]) == (401, "UNAUTHORIZED"), path
    assert await world.user() is None


async def test_late_webhooks_change_nothing(world: Identity) -> None:
    await settle_in(world)
    await deleted(world)
    before = await world.emitted()
    user = {"id": "user_1", "updated_at": 4_000_000_000_000, "email_addresses": [], "primary_email_address_id": None}
    for kind in ("user.created", "user.updated"):
        assert (await world.tell(kind, user)).status == 200
    assert (await world.tell("session.ended", {"id": "sess_late", "user_id": "user_1"})).status == 200
    assert (await world.tell("user.deleted", {"id": "user_1", "deleted": True})).status == 200
    assert await world.emitted() == before
    assert await remains(world, "user_1") == ["deletion", "outbox", "tombstone"]


async def test_changes_and_the_deletion_at_once_leave_nothing_behind(world: Identity) -> None:
    """Whichever comes first: no row of the user outlives the tombstone, and nobody is answered 5xx."""
    for number in range(5):
        user = world.api.signed_in_as(f"user_{number}")
        await user.get("/me/values")
        profile = {"id": f"user_{number}", "updated_at": 5, "email_addresses": [], "primary_email_address_id": None}
        answers = await asyncio.gather(
            user.post("/me/values", VALUES),
            user.delete("/me"),
            user.put("/me/struggle", {"struggle": "all at once"}),
            world.tell("user.updated", profile),
            user.get("/me"),
        )
        assert answers[1].status == 202
        assert {answer.status for answer in answers} <= {200, 202, 401}
        assert await world.user(f"user_{number}") is None
    assert await world.rows("SELECT 1 FROM identity.user_value") == []


async def test_a_first_request_and_the_deletion_at_once_leave_no_user(world: Identity) -> None:
    for number in range(5):
        gone = {"id": f"user_{number}", "deleted": True}
        first = world.api.signed_in_as(f"user_{number}")
        answers = await asyncio.gather(first.get("/me"), world.tell("user.deleted", gone), first.get("/me/values"))
        assert {answer.status for answer in answers} <= {200, 401}
    assert await world.rows("SELECT id FROM identity.user") == []


async def test_a_deletion_at_clerk_starts_the_same_saga_with_clerks_part_done(world: Identity) -> None:
    await settle_in(world)
    world.clerk.delete_user("user_1")
    assert await world.hear() == [200]
    [row] = await world.rows("SELECT id FROM identity.deletion")
    assert await statuses(world, row["id"]) == {
        "identity": "completed",
        "billing": "pending",
        "revenuecat": "pending",
        "media": "pending",
        "storage": "pending",
        "clerk": "completed",
    }
    assert await world.provider.step() is None
    assert (await world.emitted())[-1]["deletionId"] == row["id"]


async def test_a_user_we_never_saw_is_deleted_too(world: Identity) -> None:
    """Others may know the user: a purchase can come before the first request."""
    assert (await world.tell("user.deleted", {"id": "user_unseen", "deleted": True})).status == 200
    [event] = await world.emitted()
    assert (event["type"], event["userId"], event["sequence"]) == ("user_deleted", "user_unseen", 1)
    assert (await world.api.signed_in_as("user_unseen").get("/me")).status == 401


@pytest.mark.parametrize(
    "user_id,settings",
    [("6f1c2a54-3c0e-4a55-9a6b-0f6f7a7b1c01", {}), ("user_1", {"clerk_secret_key": None})],
    ids=["another issuer's user", "without a key"],
)
async def test_what_cannot_be_deleted_at_clerk_says_so(
    database_url: str, user_id: str, settings: dict[str, Any]
) -> None:
    async with identity_and_clerk(database_url, **settings) as world:
        answer = await world.api.signed_in_as(user_id).delete("/me")
        assert (await statuses(world, answer.json["deletionId"]))["clerk"] == "not_applicable"
        for store in ("billing", "revenuecat", "media", "storage"):
            await world.deliver(erased(answer.json["deletionId"], store, user_id=user_id))
        assert (await followed(world, answer.json["deletionId"]))["status"] == "completed"


async def test_somebody_acting_for_the_user_cannot_delete_the_account(world: Identity) -> None:
    class Impersonation:
        async def verify(self, token: str) -> Caller:
            return Caller(token, "sess_1", "user_support", "https://clerk.test", "request-1")

    world.service.app.state.verifier = Impersonation()
    answer = await world.api.delete("/me")
    assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN")
    assert await world.rows("SELECT 1 FROM identity.deletion") == []


async def test_only_who_knows_the_id_can_follow_a_deletion(world: Identity) -> None:
    deletion_id = await deleted(world)
    assert len(deletion_id) == 43
    for unknown in ("x" * 43, deletion_id[:-1], "1", "%00", deletion_id + "=", "user_1"):
        answer = await world.api.signed_in_as(NOBODY).get(f"/me/deletions/{unknown}")
        assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND"), unknown
    assert (await world.api.signed_in_as(None).get(f"/me/deletions/{deletion_id}")).status == 401
    told = (await world.api.signed_in_as(NOBODY).get(f"/me/deletions/{deletion_id}")).text
    assert "user_1" not in told


RENEWING = {
    "plan": "pro",
    "status": "active",
    "willRenew": True,
    "store": "app_store",
    "productId": "entrain_pro_monthly",
    "renewsAt": "2026-10-01T10:00:00.000Z",
    "managementUrl": "https://apps.apple.com/account/subscriptions",
}


async def test_a_subscription_that_still_bills_is_named(database_url: str) -> None:
    async with (
        OtherService({"/me/subscription": RENEWING}) as elsewhere,
        identity_and_clerk(database_url, billing_url=elsewhere.url) as world,
    ):
        answer = await world.api.delete("/me")
    assert answer.json["subscription"] == {
        "store": "app_store",
        "product": "entrain_pro_monthly",
        "renewsAt": "2026-10-01T10:00:00.000Z",
        "managementUrl": "https://apps.apple.com/account/subscriptions",
    }
    assert elsewhere.shown == ["Bearer user_1"]


@pytest.mark.parametrize(
    "told,status,named",
    [
        ({**RENEWING, "willRenew": False}, 200, False),
        ({**RENEWING, "willRenew": False, "status": "grace"}, 200, True),
        ({"plan": "free", "status": "active", "willRenew": False}, 200, False),
        ({"willRenew": True, "store": 7}, 200, False),
        (["willRenew"], 200, False),
        (RENEWING, 401, False),
        (RENEWING, 503, False),
    ],
)
async def test_nothing_is_named_that_bills_nobody_or_is_not_known(
    database_url: str, told: Any, status: int, named: bool
) -> None:
    async with (
        OtherService({"/me/subscription": told}, status=status) as elsewhere,
        identity_and_clerk(database_url, billing_url=elsewhere.url) as world,
    ):
        answer = await world.api.delete("/me")
    assert answer.status == 202
    assert ("subscription" in answer.json) is named
