"""Sessions on the wire: exactly what the shipped app sends and reads, made once, seen by whom they belong to."""

import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.support.callers import Api, all_at_once
from tests.support.hand_clock import HandClock
from tests.support.media import LINES, Media, draft, media, settings

NOW = "2026-09-01T10:00:00.000Z"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UNKNOWN = "c3d4e5f6-a7b8-9012-cdef-123456789012"


@pytest.fixture
async def pro(database_url: str) -> AsyncIterator[Media]:
    """Called as a subscriber, ``user_1``; ``user_2`` is free."""
    async with media(settings(database_url), clock=HandClock()) as [running]:
        await running.subscribe("user_1")
        yield running


def only_nulls(value: Any, where: str = "") -> set[str]:
    """The paths of every null in a JSON value."""
    if isinstance(value, dict):
        return set().union(*(only_nulls(part, f"{where}.{name}") for name, part in value.items()))
    if isinstance(value, list):
        return set().union(*(only_nulls(part, where) for part in value))
    return {where} if value is None else set()


async def test_a_created_session_is_a_session_v3_with_its_job(pro: Media) -> None:
    answer = await pro.api.post("/sessions", draft())
    assert answer.status == 201
    created = answer.json
    assert UUID.fullmatch(created["id"])
    assert UUID.fullmatch(created["_audioJobId"])
    assert created == {
        "schemaVersion": 3,
        "id": created["id"],
        "ownerUserId": "user_1",
        "source": "user",
        "title": "Calm before the talk",
        "goalTag": "focus",
        "affirmations": list(LINES),
        "voiceId": "nova",
        "pace": "slow",
        "frequencyHz": 13.5,
        "brainwaveState": "SMR",
        "createdAt": NOW,
        "updatedAt": NOW,
        "_audioJobId": created["_audioJobId"],
    }
    del created["_audioJobId"]
    assert (await pro.api.get(f"/sessions/{created['id']}")).json == created
    assert (await pro.api.get(f"/sessions/{created['id'].upper()}")).json == created
    assert await pro.events(created["id"]) == [("session_created", 1), ("audio_requested", 2)]


async def test_the_home_cards_shape_is_taken(pro: Media) -> None:
    body = draft(
        localDraftId=None, goalTag="Anxiety Relief", voiceId="More space", frequencyHz=4, brainwaveState="Theta"
    )
    created = (await pro.api.post("/sessions", body)).json
    assert (created["goalTag"], created["frequencyHz"], created["brainwaveState"]) == ("anxiety-relief", 10, "Alpha")
    assert created["voiceId"] == "More space"


async def test_a_solfeggio_tone_takes_the_place_of_the_beat(pro: Media) -> None:
    created = (await pro.api.post("/sessions", draft(goalTag=None, solfeggioHz=528))).json
    assert created["solfeggioHz"] == 528
    assert {"frequencyHz", "brainwaveState", "goalTag", "audio"}.isdisjoint(created)
    await pro.audio(created["id"])
    bundle = (await pro.api.get(f"/sessions/{created['id']}/playback-bundle")).json["bundle"]
    assert "binaural" not in bundle
    assert bundle["solfeggio"]["hz"] == 528
    path = bundle["solfeggio"]["urlByPlatform"]["ios"].partition("?")[0]
    assert path.endswith("/solfeggio_528_3min.m4a")


async def test_a_catalogue_session_has_a_null_owner_and_its_audio(pro: Media) -> None:
    session = await pro.session()
    shown = (await pro.api.get(f"/sessions/{session}")).json
    assert only_nulls(shown) == {".ownerUserId"}
    assert set(shown["audio"]) == {"affirmationsMergedUrl", "affirmationsHash", "generatedAt"}
    assert shown["audio"]["generatedAt"] == NOW
    assert shown["audio"]["affirmationsMergedUrl"].startswith("http")
    assert shown["source"] == "catalog"


async def test_the_bundle_is_what_the_player_parses(pro: Media) -> None:
    session = await pro.session()
    answer = await pro.api.get(f"/sessions/{session}/playback-bundle")
    assert answer.status == 200
    assert set(answer.json) == {"bundle"}
    bundle = answer.json["bundle"]
    assert only_nulls(bundle) == set()
    tone, background = bundle.pop("binaural"), bundle.pop("background")
    url = bundle.pop("affirmationsMergedUrl")
    assert url.partition("?")[0].endswith("/audio/session/one/two.m4a")
    assert (tone["hz"], tone["loop"], background["loop"]) == (7, True, True)
    for bed, name in ((tone, "theta_7hz_400_3min.m4a"), (background, "Babbling%20Brook.m4a")):
        assert set(bed["urlByPlatform"]) == {"ios", "android"}
        for address in bed["urlByPlatform"].values():
            assert address.partition("?")[0].rpartition("/")[2] == name
    assert bundle == {
        "sessionId": session,
        "mix": {"affirmations": 1, "binaural": 0.05, "background": 0.3},
        "effectiveAffirmationSpacingMs": 4000,
        "loudness": {"affirmationsLUFS": -20.04, "backgroundLUFS": -32.2, "binauralLUFS": -34.0},
        "voiceActivity": {"segments": [{"startMs": 500, "endMs": 2300}, {"startMs": 3800, "endMs": 5700}]},
    }
    assert not re.search(r'"(startMs|endMs)": ?\d+\.', answer.text)


async def test_without_audio_bundle_and_start_say_so_and_nothing_is_counted(pro: Media) -> None:
    session = await pro.session(audio=False)
    free = pro.api.signed_in_as("user_2")
    answers = (await free.get(f"/sessions/{session}/playback-bundle"), await free.post(f"/sessions/{session}/start"))
    for answer in answers:
        assert (answer.status, answer.json["code"]) == (404, "AUDIO_NOT_READY")
        assert answer.json["details"] == {"sessionId": session}
    assert (await free.get("/me/entitlement")).json["remainingFreeGenerationsToday"] == 2


async def test_audio_of_other_lines_is_not_the_sessions_audio(pro: Media) -> None:
    session = await pro.session()
    await pro.rows("UPDATE media.session SET lines_hash = 'changed' WHERE id = $1", session)
    assert (await pro.api.get(f"/sessions/{session}/playback-bundle")).json["code"] == "AUDIO_NOT_READY"
    assert "audio" not in (await pro.api.get(f"/sessions/{session}")).json
    assert (await pro.api.post(f"/sessions/{session}/ensure-audio")).json["status"] == "pending"


async def test_a_job_on_the_wire(pro: Media) -> None:
    created = (await pro.api.post("/sessions", draft())).json
    state = (await pro.api.post(f"/sessions/{created['id']}/ensure-audio")).json
    assert state == {"status": "pending", "jobId": created["_audioJobId"]}
    answer = (await pro.api.get(f"/jobs/{state['jobId']}")).json
    assert set(answer) == {"job"}
    job = answer["job"]
    assert json.loads(job.pop("payload")) == {"sessionId": created["id"]}
    assert job == {
        "id": state["jobId"],
        "type": "ensure-audio",
        "status": "pending",
        "stage": "waiting",
        "percent": 0,
        "result": None,
        "error": None,
        "attempts": 0,
        "retryAfterSeconds": 1,
        "sessionId": created["id"],
        "userId": "user_1",
        "startedAt": None,
        "finishedAt": None,
        "createdAt": NOW,
        "updatedAt": NOW,
    }


async def test_ready_audio_needs_no_job(pro: Media) -> None:
    session = await pro.session()
    assert (await pro.api.post(f"/sessions/{session}/ensure-audio")).json == {"status": "ready"}
    assert await pro.rows("SELECT 1 FROM media.job") == []


async def test_twenty_parallel_requests_with_one_draft_id_make_one_session(pro: Media) -> None:
    body = draft()
    answers = await all_at_once(*[partial(pro.api.post, "/sessions", body)] * 20)
    assert {answer.status for answer in answers} == {201}
    [session] = {answer.json["id"] for answer in answers}
    assert len({answer.json["_audioJobId"] for answer in answers}) == 1
    assert await pro.events(session) == [("session_created", 1), ("audio_requested", 2)]
    assert len(await pro.rows("SELECT 1 FROM media.session_line")) == len(LINES)


async def test_an_idempotency_key_counts_before_the_draft_id(pro: Media) -> None:
    first = await pro.api.post("/sessions", draft(), headers={"Idempotency-Key": "tap-1"})
    again = await pro.api.post("/sessions", draft(), headers={"Idempotency-Key": "tap-1"})
    other = await pro.api.post("/sessions", draft(), headers={"Idempotency-Key": "tap-2"})
    assert first.json["id"] == again.json["id"] != other.json["id"]


async def test_a_draft_id_in_other_case_is_the_same_one(pro: Media) -> None:
    body = draft()
    first = await pro.api.post("/sessions", body)
    again = await pro.api.post("/sessions", {**body, "localDraftId": body["localDraftId"].upper()})
    assert first.json["id"] == again.json["id"]


async def test_the_same_key_with_another_body_is_a_conflict(pro: Media) -> None:
    body = draft()
    await pro.api.post("/sessions", body)
    refused = await pro.api.post("/sessions", {**body, "title": "Something else"})
    assert (refused.status, refused.json["code"]) == (409, "CONFLICT")
    assert len(await pro.rows("SELECT 1 FROM media.session")) == 1


async def test_a_key_belongs_to_its_user(pro: Media) -> None:
    await pro.subscribe("user_2")
    body = draft()
    first = await pro.api.post("/sessions", body)
    second = await pro.api.signed_in_as("user_2").post("/sessions", body)
    assert second.status == 201
    assert first.json["id"] != second.json["id"]


async def test_without_any_key_each_request_is_a_session(pro: Media) -> None:
    made = [(await pro.api.post("/sessions", draft(localDraftId=None))).json["id"] for _ in range(2)]
    assert len(set(made)) == 2


INVALID = {
    "no title": (draft(title=None), "title"),
    "blank title": (draft(title="   "), "title"),
    "long title": (draft(title="x" * 201), "title"),
    "NUL in the title": (draft(title="a\0b"), "title"),
    "title no text": (draft(title=5), "title"),
    "no lines": (draft(affirmations=[]), "affirmations"),
    "lines missing": (draft(affirmations=None), "affirmations"),
    "lines no list": (draft(affirmations="I rest."), "affirmations"),
    "blank line": (draft(affirmations=["I rest.", " "]), "affirmations"),
    "line without words": (draft(affirmations=["I rest.", "☀️☀️"]), "affirmations"),
    "line in another script": (draft(affirmations=["I rest.", "I am 平静."]), "affirmations"),
    "long line": (draft(affirmations=["word " * 81]), "affirmations"),
    "NUL in a line": (draft(affirmations=["I\0rest."]), "affirmations"),
    "too many lines": (draft(affirmations=["I rest."] * 61), "affirmations"),
    "other pace": (draft(pace="fast"), "pace"),
    "draft id no UUID": (draft(localDraftId="draft-1"), "localDraftId"),
    "no voice": (draft(voiceId=""), "voiceId"),
    "tone no number": (draft(solfeggioHz="high"), "solfeggioHz"),
}


async def test_a_body_that_makes_no_session_is_refused_by_field(pro: Media) -> None:
    for name, (body, field) in INVALID.items():
        answer = await pro.api.post("/sessions", body)
        assert (answer.status, answer.json.get("code")) == (400, "VALIDATION_ERROR"), name
        assert list(answer.json["details"]["fieldErrors"]) == [field], name
    assert await pro.rows("SELECT 1 FROM media.session") == []


async def test_every_line_that_cannot_be_said_is_named(pro: Media) -> None:
    answer = await pro.api.post("/sessions", draft(affirmations=["I rest.", "🌙", "I am calm.", "Мир"]))
    assert answer.json["details"]["lines"] == [1, 3]
    assert [said.partition(":")[0] for said in answer.json["details"]["fieldErrors"]["affirmations"]] == [
        "Line 2",
        "Line 4",
    ]


async def test_a_body_that_is_no_object_is_a_400(pro: Media) -> None:
    for raw in (b"{", b"", b"[]", b'"text"', b"null", b"\xff", b'{"title": "\\ud800', b"[" * 100_000):
        answer = await pro.api.request("POST", "/sessions", raw=raw)
        assert (answer.status, answer.json["code"]) == (400, "VALIDATION_ERROR"), raw[:20]


async def test_a_halved_emoji_is_stored_readable(pro: Media) -> None:
    raw = json.dumps(draft(title="Calm \ud83d", affirmations=["I rest \ud83d here."])).encode()
    answer = await pro.api.request("POST", "/sessions", raw=raw)
    assert answer.status == 201
    assert (answer.json["title"], answer.json["affirmations"]) == ("Calm \ufffd", ["I rest \ufffd here."])


async def test_what_users_edit_freely_is_taken(pro: Media) -> None:
    lines = [
        "Yes.",
        "Yes.",
        "I will not stop, whatever happens, and I say so at length because I may.",
        *["I rest."] * 21,
    ]
    created = await pro.api.post("/sessions", draft(affirmations=lines, voiceId="en-US-Standard-C", goalTag="General"))
    assert created.status == 201
    assert created.json["affirmations"] == lines
    assert created.json["frequencyHz"] == 10


CALLS = [
    ("GET", "/me/entitlement"),
    ("GET", "/sessions?limit=abc"),
    ("POST", "/sessions"),
    ("GET", "/sessions/day1-session"),
    ("DELETE", "/sessions/day1-session"),
    ("POST", "/sessions/day1-session/ensure-audio"),
    ("GET", "/sessions/day1-session/playback-bundle"),
    ("POST", "/sessions/day1-session/start"),
    ("GET", "/jobs/1"),
    ("POST", "/affirmations/generate"),
    ("GET", "/voices"),
    ("GET", "/play/nothing"),
]


async def test_who_sends_no_token_learns_only_that(pro: Media) -> None:
    stranger = pro.api.signed_in_as(None)
    for method, path in CALLS:
        for raw in (b"{", b"[]", b'{"count": "many"}', b"\xff"):
            answer = await stranger.request(method, path, raw=raw)
            assert (answer.status, answer.json["code"]) == (401, "UNAUTHORIZED"), (method, path, raw)
            assert "details" not in answer.json


async def test_ids_are_checked_for_shape_only(pro: Media) -> None:
    invalid = {"formErrors": [], "fieldErrors": {"id": ["Invalid uuid"]}}
    for method, path in (("GET", ""), ("POST", "/ensure-audio"), ("GET", "/playback-bundle"), ("POST", "/start")):
        for wrong in ("day1-session", f"{{{UNKNOWN}}}", UNKNOWN + "%0A", UNKNOWN[:-1]):
            answer = await pro.api.request(method, f"/sessions/{wrong}{path}")
            assert (answer.status, answer.json["code"]) == (400, "INVALID_SESSION_ID"), wrong
            assert answer.json["details"] == invalid
        answer = await pro.api.request(method, f"/sessions/{UNKNOWN}{path}")
        assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND")


async def test_a_stranger_sees_nothing_of_a_users_session(pro: Media) -> None:
    created = (await pro.api.post("/sessions", draft())).json
    other = pro.api.signed_in_as("user_2")
    one, job = f"/sessions/{created['id']}", f"/jobs/{created['_audioJobId']}"
    for missing in (await other.get(f"/sessions/{UNKNOWN}"), await other.get(f"/jobs/{UNKNOWN}")):
        assert missing.status == 404
    unknown = (await other.get(f"/sessions/{UNKNOWN}")).text
    for path in (one, f"{one}/playback-bundle"):
        answer = await other.get(path)
        assert (answer.status, answer.text) == (404, unknown)
    for path in (f"{one}/ensure-audio", f"{one}/start"):
        answer = await other.post(path)
        assert (answer.status, answer.text) == (404, unknown)
    assert (await other.get(job)).json == (await other.get(f"/jobs/{UNKNOWN}")).json
    assert created["id"] not in (await other.get("/sessions")).text
    assert len(await pro.rows("SELECT 1 FROM media.job")) == 1


async def test_each_lists_the_catalogue_and_their_own(pro: Media) -> None:
    shared, mine, theirs = await pro.session(), await pro.session("user_1"), await pro.session("user_2")

    async def listed(caller: Api) -> set[str]:
        page = (await caller.get("/sessions")).json
        assert (page["limit"], page["offset"], page["hasMore"]) == (50, 0, False)
        return {each["id"] for each in page["sessions"]}

    assert await listed(pro.api) == {shared, mine}
    assert await listed(pro.api.signed_in_as("user_2")) == {shared, theirs}


async def test_pages_show_each_session_once_though_many_are_of_one_instant(pro: Media) -> None:
    start = pro.service.database.clock()
    newest = await pro.session("user_1", made=start + timedelta(hours=1))
    same = {await pro.session("user_1", made=start) for _ in range(6)}
    oldest = await pro.session(made=start - timedelta(days=1))
    pages = [(await pro.api.get(f"/sessions?limit=3&offset={offset}")).json for offset in (0, 3, 6)]
    seen = [each["id"] for page in pages for each in page["sessions"]]
    assert (seen[0], set(seen[1:7]), seen[7]) == (newest, same, oldest)
    assert len(seen) == 8
    assert [page["hasMore"] for page in pages] == [True, True, False]
    exact = (await pro.api.get("/sessions?limit=8")).json
    assert (len(exact["sessions"]), exact["hasMore"]) == (8, False)


async def test_page_bounds_are_clamped_and_nonsense_is_refused(pro: Media) -> None:
    await pro.session()
    page = (await pro.api.get("/sessions?limit=1000&offset=-3")).json
    assert (page["limit"], page["offset"], len(page["sessions"])) == (100, 0, 1)
    assert (await pro.api.get("/sessions?limit=0")).json["limit"] == 1
    assert (await pro.api.get("/sessions?limit=abc")).json["code"] == "VALIDATION_ERROR"


async def test_a_list_entry_without_a_goal_says_null(pro: Media) -> None:
    created = (await pro.api.post("/sessions", draft(goalTag=None))).json
    assert (await pro.api.get("/sessions")).json["sessions"] == [
        {"id": created["id"], "title": created["title"], "goalTag": None}
    ]


async def test_voices_are_those_the_app_knows(pro: Media) -> None:
    voices = (await pro.api.get("/voices")).json["voices"]
    assert {voice["id"] for voice in voices} == {"nova", "shimmer", "alloy", "onyx", "echo", "fable"}


async def test_writing_affirmations_is_part_of_pro(pro: Media) -> None:
    body = {"sessionType": "Focus", "goal": "finish my thesis", "count": 6}
    written = await pro.api.post("/affirmations/generate", body)
    assert written.status == 200
    assert len(written.json["affirmations"]) == 6
    refused = await pro.api.signed_in_as("user_2").post("/affirmations/generate", body)
    assert (refused.status, refused.json["code"]) == (403, "ENTITLEMENT_REQUIRED")
