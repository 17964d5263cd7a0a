"""The free tier holds whatever clients try: at once, again, over midnight, over processes."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.support.callers import Answer, all_at_once
from tests.support.hand_clock import HandClock
from tests.support.media import PUBLIC_URL, Media, draft, media, settings
from tests.support.servers import both_ways

UNLIMITED = 9007199254740991
PLAY = f"{PUBLIC_URL}/play/"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def two(way: dict[str, Any], clock: HandClock) -> AsyncIterator[list[Media]]:
    """Two processes, free users listen to the catalogue."""
    async with media(settings(**way), clock=clock, processes=2) as running:
        yield running


@pytest.fixture
def one(two: list[Media]) -> Media:
    return two[0]


@pytest.fixture
async def creating(database_url: str, clock: HandClock) -> AsyncIterator[Media]:
    """Free users create sessions."""
    async with media(settings(database_url, media_free_tier="create"), clock=clock) as [running]:
        yield running


def outcomes(answers: list[Answer]) -> Counter[tuple[int, str]]:
    return Counter((answer.status, answer.json.get("code", "") if answer.text else "") for answer in answers)


async def remaining(service: Media, user: str = "user_1") -> int:
    entitlement = (await service.api.signed_in_as(user).get("/me/entitlement")).json
    return int(entitlement["remainingFreeGenerationsToday"])


@both_ways
async def test_of_forty_parallel_starts_of_different_sessions_exactly_two_succeed(two: list[Media]) -> None:
    sessions = [await two[0].session() for _ in range(40)]
    starts = [partial(two[place % 2].api.post, f"/sessions/{session}/start") for place, session in enumerate(sessions)]
    answers = await all_at_once(*starts)
    assert outcomes(answers) == {(200, ""): 2, (403, "FREE_LIMIT_REACHED"): 38}
    assert await two[0].rows("SELECT starts, creations FROM media.daily_use") == [{"starts": 2, "creations": 0}]
    assert len(await two[0].rows("SELECT 1 FROM media.session_start")) == 2
    assert await remaining(two[1]) == 0


async def test_a_session_started_today_starts_again_freely_however_often_at_once(two: list[Media]) -> None:
    first, second, third = [await two[0].session() for _ in range(3)]
    repeats = [partial(two[place % 2].api.post, f"/sessions/{first}/start") for place in range(20)]
    assert outcomes(await all_at_once(*repeats)) == {(200, ""): 20}
    assert await remaining(two[0]) == 1
    assert (await two[0].api.post(f"/sessions/{second}/start")).status == 200
    refused = await two[0].api.post(f"/sessions/{third}/start")
    assert (refused.status, refused.json["code"]) == (403, "FREE_LIMIT_REACHED")
    assert "connection" not in refused.text.lower()
    assert (await two[0].api.post(f"/sessions/{first}/start")).status == 200


async def test_a_start_answers_with_a_direct_url_and_what_is_left(one: Media) -> None:
    session = await one.session()
    before = (await one.api.get(f"/sessions/{session}/playback-bundle")).json["bundle"]
    assert before["affirmationsMergedUrl"].startswith("https://api.example.test/play/")
    started = (await one.api.post(f"/sessions/{session}/start")).json
    assert "/play/" not in started["bundle"]["affirmationsMergedUrl"]
    assert started["entitlement"]["remainingFreeGenerationsToday"] == 1
    after = (await one.api.get(f"/sessions/{session}")).json
    assert "/play/" not in after["audio"]["affirmationsMergedUrl"]


async def test_one_users_use_is_not_anothers(one: Media) -> None:
    sessions = [await one.session() for _ in range(3)]
    for user in ("user_1", "user_2"):
        answers = [await one.api.signed_in_as(user).post(f"/sessions/{each}/start") for each in sessions]
        assert [answer.status for answer in answers] == [200, 200, 403]


async def test_the_day_ends_at_midnight_utc(one: Media, clock: HandClock) -> None:
    sessions = [await one.session() for _ in range(3)]
    clock.now = clock.now.replace(hour=23, minute=59, second=59)
    assert [(await one.api.post(f"/sessions/{each}/start")).status for each in sessions] == [200, 200, 403]
    clock.forward(seconds=1)
    assert await remaining(one) == 2
    assert [(await one.api.post(f"/sessions/{each}/start")).status for each in sessions] == [200, 200, 403]


async def test_pro_is_never_counted(one: Media) -> None:
    await one.subscribe("user_1")
    sessions = [await one.session() for _ in range(5)]
    answers = [await one.api.post(f"/sessions/{each}/start") for each in sessions]
    assert [answer.status for answer in answers] == [200] * 5
    assert await remaining(one) == UNLIMITED
    assert await one.rows("SELECT 1 FROM media.daily_use") == []
    bundle = (await one.api.get(f"/sessions/{sessions[0]}/playback-bundle")).json["bundle"]
    assert "/play/" not in bundle["affirmationsMergedUrl"]


async def test_access_ends_with_the_clock_alone(one: Media, clock: HandClock) -> None:
    """No event says that the subscription is over."""
    await one.subscribe("user_1", lasts=timedelta(hours=1))
    assert (await one.api.post("/sessions", draft())).status == 201
    clock.forward(minutes=59, seconds=59)
    assert (await one.api.post("/sessions", draft())).status == 201
    clock.forward(seconds=1)
    refused = await one.api.post("/sessions", draft())
    assert (refused.status, refused.json["code"]) == (403, "ENTITLEMENT_REQUIRED")
    entitlement = (await one.api.get("/me/entitlement")).json
    assert (entitlement["plan"], entitlement["status"]) == ("free", "expired")


async def test_own_sessions_stay_playable_and_uncounted_when_pro_is_over(one: Media) -> None:
    own = [await one.session(owner="user_1") for _ in range(3)]
    assert [(await one.api.post(f"/sessions/{each}/start")).status for each in own] == [200] * 3
    assert await remaining(one) == 2


async def test_where_free_users_create_two_sessions_a_day_are_theirs(creating: Media, clock: HandClock) -> None:
    answers = await all_at_once(*(partial(creating.api.post, "/sessions", draft()) for _ in range(20)))
    assert outcomes(answers) == {(201, ""): 2, (403, "FREE_LIMIT_REACHED"): 18}
    assert len(await creating.rows("SELECT 1 FROM media.session")) == 2
    assert len(await creating.rows("SELECT 1 FROM media.job")) == 2
    entitlement = (await creating.api.get("/me/entitlement")).json
    assert entitlement["remainingFreeGenerationsToday"] == 0
    assert (entitlement["canCreateSession"], entitlement["canGenerateAudio"]) == (False, False)
    clock.forward(days=1)
    assert (await creating.api.post("/sessions", draft())).status == 201


async def test_where_free_users_create_a_repeated_request_costs_nothing(creating: Media) -> None:
    body = draft()
    for _ in range(3):
        assert (await creating.api.post("/sessions", body)).status == 201
    assert await remaining(creating) == 1


async def test_where_free_users_create_listening_is_not_counted(creating: Media) -> None:
    sessions = [await creating.session() for _ in range(4)]
    for session in sessions:
        assert (await creating.api.post(f"/sessions/{session}/start")).status == 200
        bundle = (await creating.api.get(f"/sessions/{session}/playback-bundle")).json["bundle"]
        assert "/play/" not in bundle["affirmationsMergedUrl"]
    assert await remaining(creating) == 2


async def row_counts(service: Media) -> dict[str, int]:
    counts = {}
    for table in service.service.metadata.sorted_tables:
        counts[table.name] = (await service.rows(f"SELECT count(*) FROM {table.fullname}"))[0]["count"]
    return counts


async def play_url(service: Media, session: str) -> str:
    bundle = (await service.api.get(f"/sessions/{session}/playback-bundle")).json["bundle"]
    return str(bundle["affirmationsMergedUrl"])


@both_ways
async def test_playing_counts_once_whatever_a_player_asks_first(two: list[Media]) -> None:
    url = await play_url(two[0], await two[0].session())
    asked = [("HEAD", None), ("GET", {"Range": "bytes=0-1"}), ("GET", {"Range": "bytes=2-"}), ("GET", None)]
    plays = (partial(two[place % 2].play, url, method, headers) for place, (method, headers) in enumerate(asked * 3))
    answers = await all_at_once(*plays)
    assert {answer.status for answer in answers} == {302}
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}
    assert all("/play/" not in answer.headers["Location"] for answer in answers)
    assert await remaining(two[0]) == 1


async def test_asking_for_a_session_is_no_start_and_leaves_no_row(one: Media) -> None:
    session = await one.session()
    before = await row_counts(one)
    for _ in range(3):
        assert (await one.api.get(f"/sessions/{session}")).status == 200
        assert (await one.play(await play_url(one, session) + "x")).status == 404
    assert await row_counts(one) == before
    assert await remaining(one) == 2


async def test_parallel_plays_pass_no_more_than_starts_do(two: list[Media]) -> None:
    urls = [await play_url(two[0], await two[0].session()) for _ in range(20)]
    answers = await all_at_once(*(partial(two[place % 2].play, url) for place, url in enumerate(urls)))
    assert Counter(answer.status for answer in answers) == {302: 2, 403: 18}
    refused = next(answer for answer in answers if answer.status == 403)
    assert refused.json["code"] == "FREE_LIMIT_REACHED"


async def test_a_grant_is_good_for_six_hours_and_only_as_it_was_given(one: Media, clock: HandClock) -> None:
    url = await play_url(one, await one.session())
    altered = url[:-3] + ("AAA" if not url.endswith("AAA") else "BBB")
    for wrong in (altered, url[:-20], PLAY + "é", PLAY + "AAAA", PLAY + "%00"):
        refused = await one.play(wrong)
        assert (refused.status, refused.json["code"]) == (404, "NOT_FOUND"), wrong
    clock.forward(hours=6)
    assert (await one.play(url)).status == 302
    clock.forward(seconds=1)
    assert (await one.play(url)).status == 404


async def test_a_grant_opens_after_the_keys_were_changed_until_the_old_one_is_removed(one: Media) -> None:
    session = await one.session()
    old = await play_url(one, session)
    added = "INSERT INTO media.grant_key (secret, created_at) VALUES ($1, now())"
    await one.rows(added, Fernet.generate_key().decode())
    new = await play_url(one, session)
    assert [(await one.play(url)).status for url in (old, new)] == [302, 302]
    await one.rows("DELETE FROM media.grant_key WHERE id = (SELECT min(id) FROM media.grant_key)")
    assert [(await one.play(url)).status for url in (old, new)] == [404, 302]


async def test_a_grant_tells_its_holder_neither_user_nor_session(one: Media) -> None:
    session = await one.session()
    token = (await play_url(one, session)).rpartition("/")[2]
    assert "user_1" not in token
    assert session not in token
