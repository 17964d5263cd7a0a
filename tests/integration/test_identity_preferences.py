"""How a user likes to listen, over HTTP and real PostgreSQL."""

import json
from functools import partial
from typing import Any

import pytest

from tests.support.callers import all_at_once
from tests.support.identity import identity
from tests.support.schemas import rows

DEFAULTS: dict[str, Any] = {
    "schemaVersion": 3,
    "voiceId": "neutral",
    "pace": "slow",
    "affirmationSpacingMs": 1000,
    "binauralHz": 10,
    "backgroundId": "ocean",
    "mix": {"affirmations": 1, "binaural": 0.35, "background": 0.35},
    "loopBackground": True,
    "loopBinaural": True,
}
CHOSEN = DEFAULTS | {
    "voiceId": "nova",
    "pace": "fast",
    "affirmationSpacingMs": 0,
    "binauralHz": 13.5,
    "mix": {"affirmations": 0.5, "binaural": 0, "background": 1},
    "loopBackground": False,
}


async def test_the_defaults_until_something_is_stored(database_url: str) -> None:
    async with identity(database_url) as api:
        answer = await api.get("/me/preferences")
    assert (answer.status, answer.json) == (200, DEFAULTS)


async def test_what_is_stored_comes_back_for_its_user_alone(database_url: str) -> None:
    async with identity(database_url) as api:
        stored = await api.put("/me/preferences", CHOSEN | {"unknown": 1})
        assert (stored.status, stored.json) == (200, CHOSEN)
        assert (await api.get("/me/preferences")).json == CHOSEN
        assert (await api.put("/me/preferences", DEFAULTS)).json == DEFAULTS
        assert (await api.get("/me/preferences")).json == DEFAULTS
        await api.put("/me/preferences", CHOSEN)
        assert (await api.signed_in_as("user_2").get("/me/preferences")).json == DEFAULTS


async def test_first_preferences_sent_at_once_leave_one(database_url: str) -> None:
    async with identity(database_url) as api:
        answers = await all_at_once(*[partial(api.put, "/me/preferences", CHOSEN)] * 8)
    assert {answer.status for answer in answers} == {200}
    assert await rows(database_url, "SELECT count(*) AS kept FROM identity.preferences") == [{"kept": 1}]


UNFIT: list[tuple[str, Any]] = [
    ("schemaVersion", 2),
    ("voiceId", ""),
    ("voiceId", "x" * 101),
    ("voiceId", None),
    ("voiceId", "nul \0"),
    ("pace", "hurried"),
    ("affirmationSpacingMs", -1),
    ("affirmationSpacingMs", 0.5),
    ("affirmationSpacingMs", "1000"),
    ("binauralHz", 0.5),
    ("binauralHz", float("nan")),
    ("binauralHz", float("inf")),
    ("backgroundId", ""),
    ("mix", {"affirmations": 1, "binaural": 0.5}),
    ("mix", {"affirmations": 1.1, "binaural": 0.5, "background": 0.5}),
    ("mix", {"affirmations": 1, "binaural": -0.1, "background": 0.5}),
    ("loopBackground", "yes"),
    ("loopBinaural", 1),
]


async def test_what_is_no_preference_is_400_and_changes_nothing(database_url: str) -> None:
    missing = [(name, {key: value for key, value in CHOSEN.items() if key != name}) for name in DEFAULTS]
    unfit = [(field, DEFAULTS | {field: value}) for field, value in UNFIT]
    async with identity(database_url) as api:
        await api.put("/me/preferences", CHOSEN)
        for field, body in missing + unfit:
            refused = await api.put("/me/preferences", body)
            assert refused.status == 400, body
            assert refused.json["code"] == "VALIDATION_ERROR"
            assert refused.json["details"]["fieldErrors"].keys() == {field}, body
        kept = await api.get("/me/preferences")
    assert kept.json == CHOSEN


@pytest.mark.parametrize(
    "document, read",
    [
        ("not json", {}),
        ("[1]", {}),
        ('"\\ud800"', {}),
        (json.dumps({"schemaVersion": 1, "voiceId": "nova", "pace": "hurried"}), {"voiceId": "nova"}),
        (json.dumps(CHOSEN | {"schemaVersion": 2, "mix": {"voice": 1}}), CHOSEN | {"mix": DEFAULTS["mix"]}),
    ],
)
async def test_an_older_document_is_read_as_far_as_it_fits_and_kept_as_it_is(
    database_url: str, document: str, read: dict[str, Any]
) -> None:
    async with identity(database_url) as api:
        await api.get("/me")
        await rows(
            database_url,
            "INSERT INTO identity.preferences VALUES ('user_1', 1, $1, now(), now())",
            document,
        )
        answer = await api.get("/me/preferences")
    assert (answer.status, answer.json) == (200, DEFAULTS | read)
    assert await rows(database_url, "SELECT document FROM identity.preferences") == [{"document": document}]
