"""What users do with sessions, and the cards that follow from it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.callers import Answer
from tests.support.hand_clock import HandClock
from tests.support.media import Media, media, settings

UNKNOWN = "c3d4e5f6-a7b8-9012-cdef-123456789012"


def refused(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["code"]


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Media]:
    """Called as ``user_1``, whom nobody has seen before."""
    async with media(settings(database_url), clock=HandClock()) as [running]:
        yield running


async def named(app: Media, title: str) -> str:
    """A session of the catalogue."""
    session = await app.session()
    await app.rows("UPDATE media.session SET title = $1 WHERE id = $2", title, session)
    return session


async def events(app: Media) -> int:
    return len(await app.rows("SELECT id FROM media.listening_event"))


async def listens(app: Media, session: str, *kinds: str) -> None:
    for kind in kinds:
        answer = await app.api.post(f"/sessions/{session}/events", {"eventType": kind})
        assert (answer.status, answer.json) == (200, {"success": True})


async def slots(app: Media, query: str = "") -> dict[str, Any]:
    answer = await app.api.get(f"/me/curation{query}")
    assert answer.status == 200
    return {card["slot"]: card for card in answer.json["cards"]}


async def test_somebody_new_gets_cards_the_app_can_read(app: Media) -> None:
    found = await slots(app, "?hour=14")
    assert set(found) == {"right_now_1", "right_now_2", "try_new"}
    assert found["right_now_1"] == {
        "slot": "right_now_1",
        "title": "A calm reset",
        "duration": 600,
        "voiceId": "nova",
        "brainLayerType": "binaural",
        "brainLayerPreset": "alpha",
        "backgroundId": "calm",
        "whyText": "It fits this time of day.",
    }


async def test_the_hour_is_the_users_own(app: Media) -> None:
    assert "tonight" in await slots(app, "?hour=23")
    assert "tonight" not in await slots(app, "?hour=11")
    for wrong in ("24", "-1", "noon"):
        assert refused(await app.api.get(f"/me/curation?hour={wrong}")) == (400, "VALIDATION_ERROR")


async def test_the_best_session_is_the_one_finished_most_often(app: Media) -> None:
    once, often, later = [await named(app, title) for title in ("Once", "Slow breath", "Even slower")]
    await listens(app, often, "start", "complete", "start", "complete")
    await listens(app, once, "start", "complete", "abandon", "replay")
    assert (await slots(app))["your_best"]["title"] == "Calm: Slow breath"
    await listens(app, later, "complete", "complete")
    assert (await slots(app))["your_best"]["title"] == "Calm: Even slower"
    others = (await app.api.signed_in_as("user_2").get("/me/curation")).json["cards"]
    assert "your_best" not in {card["slot"] for card in others}


async def test_events_of_sessions_nobody_may_hear_are_refused(app: Media) -> None:
    foreign = await app.session("user_2")
    for session in (foreign, UNKNOWN):
        answer = await app.api.post(f"/sessions/{session}/events", {"eventType": "start"})
        assert refused(answer) == (404, "NOT_FOUND")
    answer = await app.api.post("/sessions/day1-session/events", {"eventType": "start"})
    assert refused(answer) == (400, "INVALID_SESSION_ID")
    assert await events(app) == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"eventType": "finish"},
        {"eventType": "start", "metadata": []},
        {"eventType": "start", "metadata": {"note": "x" * 2000}},
        {"eventType": "start", "metadata": {"note": "a\0b"}},
    ],
    ids=["empty", "unknown", "no object", "too long", "nul"],
)
async def test_an_event_is_known_and_small(app: Media, body: dict[str, Any]) -> None:
    session = await app.session()
    assert refused(await app.api.post(f"/sessions/{session}/events", body)) == (400, "VALIDATION_ERROR")
    assert await events(app) == 0


async def test_preferences_are_null_then_kept_field_by_field(app: Media) -> None:
    path = "/me/curation/preferences"
    assert (await app.api.get(path)).json == {"preferences": None}
    assert (await app.api.post(path, {"primaryGoal": "Sleep"})).json == {"success": True}
    assert (await app.api.post(path, {"voicePreference": "More space"})).json == {"success": True}
    assert (await app.api.get(path)).json["preferences"] == {
        "userId": "user_1",
        "primaryGoal": "Sleep",
        "voicePreference": "More space",
        "soundPreference": None,
        "createdAt": "2026-09-01T10:00:00.000Z",
        "updatedAt": "2026-09-01T10:00:00.000Z",
    }
    assert (await slots(app, "?hour=22"))["right_now_1"]["voiceId"] == "shimmer"
    assert refused(await app.api.post(path, {"primaryGoal": "Fame"})) == (400, "VALIDATION_ERROR")


async def test_events_go_with_their_session_and_after_their_time(app: Media) -> None:
    own, shared = await app.session("user_1"), await app.session()
    await listens(app, own, "start")
    await listens(app, shared, "start")
    assert (await app.api.delete(f"/sessions/{own}")).status == 200
    assert await events(app) == 1
    await app.rows("UPDATE media.listening_event SET occurred_at = occurred_at - interval '400 days'")
    assert await app.service.forgetting.once() == {}
    await app.rows("UPDATE media.listening_event SET occurred_at = occurred_at - interval '1 second'")
    assert await app.service.forgetting.once() == {"listening_event": 1}
