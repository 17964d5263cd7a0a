"""Everything held about a user as one document, streamed from three services, or visibly not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from common.service import HttpServer
from tests.support.identity import Identity, identity_and_clerk
from tests.support.other_services import OtherService

EXPORT = "/internal/export"
BILLING = {"subscription": {"plan": "pro"}, "changes": [{"cause": "RENEWAL"}]}
MEDIA = {"sessions": [{"title": "Ruhe – 静けさ", "affirmations": ["I rest."]}]}


@asynccontextmanager
async def holding(database_url: str, billing: OtherService, media: OtherService) -> AsyncIterator[Identity]:
    """Identity beside two services that hold something of its users."""
    async with (
        billing,
        media,
        identity_and_clerk(database_url, billing_url=billing.url, media_url=media.url) as world,
    ):
        yield world


async def test_the_document_holds_what_every_service_holds(database_url: str) -> None:
    billing, media = OtherService({EXPORT: json.dumps(BILLING)}), OtherService({EXPORT: json.dumps(MEDIA)})
    async with holding(database_url, billing, media) as world:
        world.clerk.sign_up("user_1", "ada@example.com")
        await world.hear()
        await world.api.post("/me/values", {"values": [{"valueId": "joy", "valueText": "Joy"}]})
        await world.api.put("/me/struggle", {"struggle": "speaking up"})
        preferences = (await world.api.get("/me/preferences")).json
        await world.api.put("/me/preferences", preferences)
        await world.tell("session.ended", {"id": "sess_1", "user_id": "user_1"})
        answer = await world.api.get("/me/export")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    document = answer.json
    assert list(document) == ["exportedAt", "userId", "identity", "billing", "media"]
    assert (document["exportedAt"], document["userId"]) == ("2026-09-01T10:00:00.000Z", "user_1")
    held = document["identity"]
    assert held["user"]["email"] == "ada@example.com"
    assert [value["valueId"] for value in held["values"]] == ["joy"]
    assert (held["struggle"], held["preferences"]) == ("speaking up", preferences)
    assert held["endedSessions"] == [{"sessionId": "sess_1", "endedAt": "2026-09-01T10:00:00.000Z"}]
    assert (document["billing"], document["media"]) == (BILLING, MEDIA)
    assert billing.shown == media.shown == ["Bearer user_1"]


async def test_a_user_who_stored_nothing_gets_a_whole_document_too(database_url: str) -> None:
    async with holding(database_url, OtherService({EXPORT: {}}), OtherService({EXPORT: {}})) as world:
        document = (await world.api.get("/me/export")).json
    assert document["identity"].keys() == {"user", "updatedAt", "values", "links", "endedSessions"}
    assert (document["billing"], document["media"]) == ({}, {})


async def test_it_is_passed_on_while_it_arrives(database_url: str) -> None:
    billing = OtherService({EXPORT: json.dumps({"text": "x" * 200_000})})
    billing.released.clear()
    headers = {"Authorization": "Bearer user_1"}
    async with (
        holding(database_url, billing, OtherService({EXPORT: json.dumps(MEDIA)})) as world,
        HttpServer(world.service.app, "127.0.0.1", 0) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", headers=headers) as http,
        http.get("/me/export") as answer,
    ):
        begun = b""
        async with asyncio.timeout(10):
            while b"xxx" not in begun:
                begun += await answer.content.readany()
        assert b'"media"' not in begun
        billing.released.set()
        whole = json.loads(begun + await answer.read())
    assert whole["media"] == MEDIA


@pytest.mark.parametrize("down", ["billing", "media"])
@pytest.mark.parametrize("status", [500, 503, 404, 302])
async def test_a_service_that_cannot_begin_makes_it_503_and_nothing_half_done(
    database_url: str, down: str, status: int
) -> None:
    services = {name: OtherService({EXPORT: json.dumps(MEDIA)}) for name in ("billing", "media")}
    services[down].status = status
    async with holding(database_url, services["billing"], services["media"]) as world:
        answer = await world.api.get("/me/export")
        assert (answer.status, answer.json["code"]) == (503, "UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) > 0
        assert "userId" not in answer.text
        services[down].status = 200
        assert (await world.api.get("/me/export")).json["media"] == MEDIA


async def test_a_service_that_is_not_there_makes_it_503(database_url: str) -> None:
    async with (
        OtherService({EXPORT: json.dumps(MEDIA)}) as media,
        identity_and_clerk(database_url, media_url=media.url) as world,
    ):
        answer = await world.api.get("/me/export")
    assert (answer.status, answer.json["code"]) == (503, "UNAVAILABLE")
    assert "connect" not in answer.text.lower()


async def test_a_service_that_knows_the_user_is_deleted_makes_it_401(database_url: str) -> None:
    gone = OtherService({}, status=401)
    async with holding(database_url, gone, OtherService({EXPORT: {}})) as world:
        answer = await world.api.get("/me/export")
    assert (answer.status, answer.json["code"]) == (401, "UNAUTHORIZED")


async def test_a_part_that_breaks_off_leaves_the_document_visibly_unfinished(database_url: str) -> None:
    media = OtherService({EXPORT: json.dumps({"text": "x" * 400_000})}, breaks=True)
    async with holding(database_url, OtherService({EXPORT: json.dumps(BILLING)}), media) as world:
        with pytest.raises(aiohttp.ClientPayloadError):
            await world.api.get("/me/export")
        media.breaks = False
        assert (await world.api.get("/me/export")).status == 200


async def test_without_an_account_there_is_nothing_to_export(database_url: str) -> None:
    elsewhere: dict[str, Any] = {EXPORT: {}}
    billing = OtherService(elsewhere)
    async with holding(database_url, billing, OtherService(elsewhere)) as world:
        assert (await world.api.signed_in_as(None).get("/me/export")).status == 401
    assert billing.shown == []
