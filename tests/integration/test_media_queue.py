"""Whose audio is made first when all cannot be, and what becomes of audio that cannot be made."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common.clock import utc_now
from media.claims import TAKE
from tests.support.hand_clock import HandClock
from tests.support.media import draft, media, settings
from tests.support.render_works import Shelf, Works
from tests.support.tone_speech import ToneSpeech

DROWNED = """
    WITH sessions AS (
        INSERT INTO media.session (id, owner_user_id, source, title, voice_id, lines_hash, version, created_at,
            updated_at)
        SELECT 's' || n, 'user_' || n % 500, 'user', 'Calm', 'nova', '', 1, now(), now()
        FROM generate_series(1, 100000) AS n RETURNING id, owner_user_id)
    INSERT INTO media.job (id, session_id, user_id, lines_hash, status, stage, percent, attempts, available_at, turn_at,
        created_at, updated_at)
    SELECT 'j' || id, id, owner_user_id, '', 'pending', 'waiting', 0, 0, now(), now() + random() * interval '1 day',
        now(), now()
    FROM sessions
"""


@pytest.fixture
async def works(database_url: str) -> AsyncIterator[Works]:
    clock = HandClock()
    async with media(settings(database_url, media_free_tier="create", media_free_daily_sessions=1000), clock=clock) as [
        running
    ]:
        yield Works(running, clock, Shelf())


async def order(works: Works, user: str) -> str:
    return str((await works.media.api.signed_in_as(user).post("/sessions", draft())).json["id"])


async def taken(works: Works, jobs: int) -> list[str]:
    claims = [await works.worker().claims.take() for _ in range(jobs)]
    return [claim.session_id for claim in claims if claim is not None]


async def test_fifty_sessions_of_one_user_let_anothers_one_pass(works: Works) -> None:
    many = [await order(works, "user_1") for _ in range(50)]
    works.clock.forward(seconds=1)
    one = await order(works, "user_2")
    assert await taken(works, 3) == [many[0], one, many[1]]


async def test_who_has_one_under_way_stands_behind_who_has_none(works: Works) -> None:
    await order(works, "user_1")
    assert len(await taken(works, 1)) == 1
    second = await order(works, "user_1")
    works.clock.forward(seconds=10)
    other = await order(works, "user_2")
    assert await taken(works, 2) == [other, second]


async def test_a_subscriber_goes_first_but_not_for_ever(works: Works) -> None:
    await works.media.subscribe("pro_1")
    await works.media.subscribe("pro_2")
    free = await order(works, "user_1")
    works.clock.forward(seconds=119)
    first = await order(works, "pro_1")
    works.clock.forward(seconds=2)
    late = await order(works, "pro_2")
    assert await taken(works, 3) == [first, free, late]


async def test_of_many_that_were_asked_for_long_ago_each_gets_its_turn(works: Works) -> None:
    many = [await order(works, "user_1") for _ in range(3)]
    works.clock.forward(minutes=10, seconds=1)
    assert await taken(works, 3) == many
    waiting = [await order(works, "user_1"), await order(works, "user_2")]
    assert await taken(works, 2) == waiting[::-1]


async def test_in_a_queue_of_a_hundred_thousand_a_claim_reads_a_few_rows(works: Works) -> None:
    await works.media.rows(DROWNED)
    await works.media.rows("ANALYZE media.job")
    async with works.media.service.database.transaction() as uow:
        explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {TAKE.text}")
        values = {"token": "mine", "now": utc_now() + timedelta(days=365), "until": uow.now}
        [plan] = (await uow.session.execute(explain, values)).scalar_one()
    steps = list(nodes(plan["Plan"]))
    assert "ix_job_turn" in [step.get("Index Name") for step in steps]
    assert not {"Sort", "Seq Scan"} & {step["Node Type"] for step in steps}
    assert max(step["Actual Rows"] + step.get("Rows Removed by Filter", 0) for step in steps) <= 10


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes(part))]


async def fails(works: Works, session: str) -> dict[str, Any]:
    """The failed job that the session's owner is told of."""
    asked = (await works.media.api.post(f"/sessions/{session}/ensure-audio")).json
    await works.work_once(works.worker(ToneSpeech(refuses="Unsayable")))
    return await works.job(asked["jobId"])


async def test_who_asks_every_two_minutes_for_what_cannot_be_made_gets_fewer_and_fewer_jobs(works: Works) -> None:
    session, _ = await works.ordered(affirmations=["Unsayable words."])
    told = [await fails(works, session)]
    answers = []
    for _ in range(2 * 30):
        works.clock.forward(minutes=2)
        asked = (await works.media.api.post(f"/sessions/{session}/ensure-audio")).json
        answers.append(asked["jobId"])
        if asked["jobId"] != told[-1]["id"]:
            told.append(await fails(works, session))
    assert {job["status"] for job in told} == {"failed"}
    assert len({job["error"] for job in told}) == 1
    minutes = [job["retryAfterSeconds"] // 60 for job in told]
    assert minutes == [10, 20, 40, 80]
    assert set(answers) <= {job["id"] for job in told}


async def test_a_cool_down_is_a_day_at_most_and_begins_anew_with_other_lines(works: Works) -> None:
    session, _ = await works.ordered(affirmations=["Unsayable words."])
    for _ in range(9):
        last = await fails(works, session)
        works.clock.forward(days=1)
    assert last["retryAfterSeconds"] == timedelta(days=1).total_seconds()
    again = await fails(works, session)
    await works.media.rows("UPDATE media.session SET lines_hash = 'changed' WHERE id = $1", session)
    other = await fails(works, session)
    assert other["id"] != again["id"]
    assert other["retryAfterSeconds"] == 600
