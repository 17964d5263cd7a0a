"""What a user values and struggles with, over HTTP and real PostgreSQL."""

import re
from functools import partial
from typing import Any

from tests.support.callers import all_at_once
from tests.support.identity import identity
from tests.support.schemas import rows
from tests.support.servers import both_ways

WIRE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def choice(*names: str, **ranks: int | None) -> dict[str, Any]:
    values: list[dict[str, Any]] = []
    for name in names:
        value: dict[str, Any] = {"valueId": name, "valueText": name.title()}
        if name in ranks:
            value["rank"] = ranks[name]
        values.append(value)
    return {"values": values}


def shown(answer: Any) -> list[tuple[str, int | None]]:
    return [(value["valueId"], value["rank"]) for value in answer.json["values"]]


UNFIT_VALUES: list[dict[str, Any]] = [
    {},
    {"values": None},
    {"values": "joy"},
    {"values": {"0": {}}},
    {"values": ["joy"]},
    {"values": [{"valueId": "joy"}]},
    {"values": [{"valueId": 5, "valueText": "Joy"}]},
    {"values": [{"valueId": "", "valueText": "Joy"}]},
    {"values": [{"valueId": "x" * 101, "valueText": "Joy"}]},
    {"values": [{"valueId": "joy", "valueText": "x" * 101}]},
    {"values": [{"valueId": "joy", "valueText": "nul \0"}]},
    {"values": [{"valueId": "joy", "valueText": "Joy", "rank": "1"}]},
    {"values": [{"valueId": "joy", "valueText": "Joy", "rank": 1.5}]},
    {"values": [{"valueId": "joy", "valueText": "Joy", "rank": True}]},
    {"values": [{"valueId": "joy", "valueText": "Joy", "rank": 2**40}]},
    choice(*(f"value{number}" for number in range(51))),
]


STRUGGLES: list[tuple[Any, str | None]] = [
    ("  I doubt myself\n", "I doubt myself"),
    ("\ufeff\u3000doubt\u00a0", "doubt"),
    ("", None),
    (" \t ", None),
    (None, None),
    (7, None),
    (["doubt"], None),
    ({"text": "doubt"}, None),
    (" " * 300 + "x" * 200, "x" * 200),
    ("😀" * 100, "😀" * 100),
    ("cut in half \ud83d", "cut in half \ufffd"),
]


async def test_values_are_kept_ranked_and_shown_as_the_app_reads_them(database_url: str) -> None:
    async with identity(database_url) as api:
        stored = await api.post("/me/values", choice("peace", "growth"))
        answer = await api.get("/me/values")
    assert (stored.status, stored.json) == (200, {"success": True, "count": 2})
    first = answer.json["values"][0]
    assert first.keys() == {"id", "userId", "valueId", "valueText", "rank", "createdAt", "updatedAt"}
    assert (first["userId"], first["valueId"], first["valueText"], first["rank"]) == ("user_1", "peace", "Peace", 1)
    assert WIRE_TIME.fullmatch(first["createdAt"])
    assert WIRE_TIME.fullmatch(first["updatedAt"])


async def test_the_first_three_get_their_position_and_the_rest_stay_unranked_and_last(database_url: str) -> None:
    async with identity(database_url) as api:
        await api.post("/me/values", choice("joy", "peace", "growth", "wisdom", "courage", peace=None))
        answer = await api.get("/me/values")
    assert shown(answer) == [("joy", 1), ("peace", 2), ("growth", 3), ("wisdom", None), ("courage", None)]
    assert '"rank":null' in answer.text.replace(" ", "")


async def test_a_rank_sent_is_kept_and_decides_the_order(database_url: str) -> None:
    async with identity(database_url) as api:
        await api.post("/me/values", choice("a", "b", "c", "d", "e", a=3, b=2, c=1, e=2))
        answer = await api.get("/me/values")
    assert shown(answer) == [("c", 1), ("b", 2), ("e", 2), ("a", 3), ("d", None)]


@both_ways
async def test_a_new_set_replaces_the_old_one_and_an_empty_one_clears(way: dict[str, Any]) -> None:
    async with identity(**way) as api:
        await api.post("/me/values", choice("joy", "peace"))
        await api.post("/me/values", choice("wisdom"))
        replaced = await api.get("/me/values")
        cleared = await api.post("/me/values", {"values": []})
        empty = await api.get("/me/values")
    assert shown(replaced) == [("wisdom", 1)]
    assert cleared.json == {"success": True, "count": 0}
    assert empty.json == {"values": []}


@both_ways
async def test_sets_sent_at_once_never_mix(way: dict[str, Any]) -> None:
    async with identity(**way) as api:
        await api.get("/me")
        sets = [choice(*(f"{letter}{number}" for number in range(5))) for letter in "abcdefgh"]
        answers = await all_at_once(*(partial(api.post, "/me/values", one) for one in sets))
        kept = shown(await api.get("/me/values"))
    assert {answer.status for answer in answers} == {200}
    assert len(kept) == 5
    assert len({value_id[0] for value_id, _ in kept}) == 1


async def test_users_see_only_their_own(database_url: str) -> None:
    async with identity(database_url) as api:
        await api.post("/me/values", choice("joy"))
        await api.put("/me/struggle", {"struggle": "doubt"})
        other = api.signed_in_as("user_2")
        assert (await other.get("/me/values")).json == {"values": []}
        assert (await other.get("/me/struggle")).json == {"struggle": None}
        await other.post("/me/values", choice("peace"))
        assert shown(await api.get("/me/values")) == [("joy", 1)]


async def test_values_that_cannot_be_kept_are_400_and_change_nothing(database_url: str) -> None:
    async with identity(database_url) as api:
        await api.post("/me/values", choice("joy"))
        for body in UNFIT_VALUES:
            refused = await api.post("/me/values", body)
            assert refused.status == 400, body
            assert refused.json["code"] == "VALIDATION_ERROR"
            assert refused.json["details"]["fieldErrors"].keys() == {"values"}, body
        kept = await api.get("/me/values")
    assert shown(kept) == [("joy", 1)]


async def test_limits_are_reached_not_passed(database_url: str) -> None:
    longest = {"valueId": "x" * 100, "valueText": "😀" * 100}
    async with identity(database_url) as api:
        assert (await api.post("/me/values", {"values": [longest] * 50})).json["count"] == 50
        answer = await api.get("/me/values")
    assert answer.json["values"][0]["valueText"] == "😀" * 100


async def test_a_body_that_is_no_json_object_is_400(database_url: str) -> None:
    async with identity(database_url) as api:
        for raw in (b"{", b"[]", b"null", b'"joy"', b"", b"\xff", b"[" * 100_000):
            answer = await api.request("POST", "/me/values", raw=raw)
            assert answer.status == 400, raw[:20]
            assert answer.json["code"] == "VALIDATION_ERROR"


async def test_a_struggle_is_trimmed_kept_and_cleared(database_url: str) -> None:
    async with identity(database_url) as api:
        for sent, kept in STRUGGLES:
            await api.put("/me/struggle", {"struggle": "something before"})
            stored = await api.put("/me/struggle", {"struggle": sent})
            answer = await api.get("/me/struggle")
            assert (stored.status, stored.json) == (200, {"success": True, "struggle": kept})
            assert (answer.status, answer.json) == (200, {"struggle": kept})


async def test_a_struggle_left_out_clears_it(database_url: str) -> None:
    async with identity(database_url) as api:
        await api.put("/me/struggle", {"struggle": "doubt"})
        assert (await api.put("/me/struggle", {})).json == {"success": True, "struggle": None}
        assert (await api.get("/me/struggle")).json == {"struggle": None}


async def test_a_struggle_that_cannot_be_kept_is_400_and_changes_nothing(database_url: str) -> None:
    async with identity(database_url) as api:
        await api.put("/me/struggle", {"struggle": "doubt"})
        for sent in ("x" * 201, "😀" * 101, "nul \0"):
            refused = await api.put("/me/struggle", {"struggle": sent})
            assert refused.status == 400, sent
            assert refused.json["details"]["fieldErrors"].keys() == {"struggle"}
        kept = await api.get("/me/struggle")
    assert kept.json == {"struggle": "doubt"}


async def test_words_that_are_never_read_out_are_refused_where_they_come_in(database_url: str) -> None:
    async with identity(database_url) as api:
        await api.put("/me/struggle", {"struggle": "doubt"})
        crisis = await api.put("/me/struggle", {"struggle": "I dont wanna live anymore"})
        hate = await api.put("/me/struggle", {"struggle": "women are inferior to me"})
        value = {"valueId": "own", "valueText": "white power"}
        values = await api.post("/me/values", {"values": [value]})
        assert (await api.get("/me/struggle")).json == {"struggle": "doubt"}
        assert (await api.get("/me/values")).json == {"values": []}
    assert (crisis.status, crisis.json["code"]) == (400, "CRISIS_SUPPORT")
    assert {help["region"] for help in crisis.json["details"]["resources"]} >= {"US", "GB", "*"}
    assert (hate.status, hate.json["code"]) == (400, "CONTENT_REFUSED")
    assert hate.json["details"]["fieldErrors"].keys() == {"struggle"}
    assert (values.status, values.json["details"]["fieldErrors"].keys()) == (400, {"values"})


async def test_values_and_struggle_are_no_news_to_other_services(database_url: str) -> None:
    async with identity(database_url) as api:
        await api.post("/me/values", choice("joy"))
        await api.put("/me/struggle", {"struggle": "doubt"})
    types = await rows(database_url, "SELECT type FROM identity.outbox")
    assert types == [{"type": "identity.user_registered.v1"}]
    assert await rows(database_url, "SELECT version FROM identity.user") == [{"version": 1}]
