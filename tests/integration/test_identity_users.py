"""Who is signed in, over HTTP and real PostgreSQL."""

import json
import re
from functools import partial
from pathlib import Path

from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from tests.support.callers import ISSUER, NOBODY, all_at_once
from tests.support.hand_clock import HandClock
from tests.support.identity import identity
from tests.support.schemas import rows

WIRE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def emitted(database_url: str) -> list[dict[str, object]]:
    return [json.loads(row["body"]) for row in await rows(database_url, "SELECT body FROM identity.outbox ORDER BY id")]


async def test_the_first_request_makes_the_user_and_says_so(database_url: str) -> None:
    async with identity(database_url) as api:
        answer = await api.get("/me")
        again = await api.get("/me")
    assert answer.status == 200
    assert answer.json.keys() == {"id", "createdAt", "issuer"}
    assert answer.json["id"] == "user_1"
    assert answer.json["issuer"] == ISSUER
    assert WIRE_TIME.fullmatch(answer.json["createdAt"])
    assert again.json == answer.json
    [event] = await emitted(database_url)
    assert event["type"] == "identity.user_registered.v1"
    assert event["subject"] == "user_1"
    assert event["sequence"] == 1
    assert event["data"] == {"sequence": 1, "userId": "user_1", "issuer": ISSUER}


async def test_a_known_email_is_shown(database_url: str) -> None:
    async with identity(database_url) as api:
        await api.get("/me")
        await rows(database_url, "UPDATE identity.user SET email = 'someone@example.com'")
        answer = await api.get("/me")
    assert answer.json["email"] == "someone@example.com"


async def test_twenty_first_requests_at_once_register_one_user(database_url: str) -> None:
    async with identity(database_url) as api:
        answers = await all_at_once(*[partial(api.get, "/me")] * 20)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len(await emitted(database_url)) == 1
    assert await rows(database_url, "SELECT id, version FROM identity.user") == [{"id": "user_1", "version": 1}]


async def test_any_first_request_registers_the_user(database_url: str) -> None:
    firsts: list[tuple[str, str, dict[str, object] | None]] = [
        ("GET", "/me/values", None),
        ("POST", "/me/values", {"values": []}),
        ("GET", "/me/struggle", None),
        ("PUT", "/me/struggle", {"struggle": "sleep"}),
        ("GET", "/me/preferences", None),
    ]
    async with identity(database_url) as api:
        for number, (method, path, body) in enumerate(firsts):
            answer = await api.signed_in_as(f"user_{number}").request(method, path, body=body)
            assert answer.status == 200, path
    subjects = [event["subject"] for event in await emitted(database_url)]
    assert subjects == [f"user_{number}" for number in range(len(firsts))]


async def test_a_refused_request_registers_nobody(database_url: str) -> None:
    async with identity(database_url) as api:
        answer = await api.post("/me/values", {"values": "none"})
    assert answer.status == 400
    assert await emitted(database_url) == []
    assert await rows(database_url, "SELECT id FROM identity.user") == []


async def test_without_an_account_everything_is_401(database_url: str) -> None:
    async with identity(database_url) as api:
        for caller in (None, NOBODY):
            for method, path in [("GET", "/me"), ("GET", "/me/values"), ("PUT", "/me/struggle")]:
                answer = await api.signed_in_as(caller).request(method, path)
                assert answer.status == 401
                assert answer.json["code"] == "UNAUTHORIZED"
                assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert await rows(database_url, "SELECT id FROM identity.user") == []


async def test_the_development_user_has_an_issuer_too(database_url: str) -> None:
    async with identity(database_url, issuer=None) as api:
        answer = await api.get("/me")
    assert answer.json["issuer"] == "development"


async def test_two_users_are_two_rows_with_the_times_they_came(database_url: str) -> None:
    clock = HandClock()
    async with identity(database_url, clock=clock) as api:
        first = await api.get("/me")
        clock.forward(hours=1)
        second = await api.signed_in_as("user_2").get("/me")
    assert first.json["createdAt"] < second.json["createdAt"]
    assert [event["subject"] for event in await emitted(database_url)] == ["user_1", "user_2"]


async def test_a_database_that_is_down_is_503_until_it_is_back(tmp_path: Path) -> None:
    database = PrivatePostgres()
    (port,) = free_ports(1)
    await database.start(tmp_path, port, durable=False)
    try:
        async with identity(database.url()) as api:
            assert (await api.get("/health/ready")).status == 200
            await database.stop()
            refused, ready = await api.get("/me"), await api.get("/health/ready")
            await database.start(tmp_path, port, durable=False)
            recovered = await api.get("/me")
    finally:
        await database.stop()
    assert refused.status == 503
    assert refused.json["code"] == "UNAVAILABLE"
    assert "connection" not in refused.text.lower()
    assert int(refused.headers["Retry-After"]) > 0
    assert ready.status == 503
    assert ready.json["missing"].keys() == {"database"}
    assert recovered.status == 200
