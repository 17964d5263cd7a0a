"""What support does with a render job: tries it again at once, or ends it."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from common.errors import Conflict, NotFound
from media.claims import LeaseLost
from media.support import cancel_job, retry_job
from tests.support.hand_clock import HandClock
from tests.support.media import media, settings
from tests.support.render_works import Shelf, Works

COOL_DOWN = timedelta(minutes=10)


@pytest.fixture
async def works(database_url: str) -> AsyncIterator[Works]:
    clock = HandClock()
    async with media(settings(database_url), clock=clock) as [running]:
        await running.subscribe("user_1")
        yield Works(running, clock, Shelf())


async def retried(works: Works, job_id: str) -> str:
    async with works.media.service.database.transaction() as uow:
        return (await retry_job(uow, job_id)).id


async def cancelled(works: Works, job_id: str) -> None:
    async with works.media.service.database.transaction() as uow:
        await cancel_job(uow, job_id, COOL_DOWN)


async def test_a_job_that_waits_for_its_next_attempt_is_taken_at_once(works: Works) -> None:
    _, job = await works.ordered()
    works.shelf.down = True
    await works.work_once(works.worker())
    assert await works.worker().claims.take() is None

    assert await retried(works, job) == job

    works.shelf.down = False
    await works.work_once(works.worker())
    assert (await works.job(job))["status"] == "completed"
    with pytest.raises(Conflict):
        await retried(works, job)


async def test_a_failed_job_is_followed_by_another_without_cooling_down(works: Works) -> None:
    session, job = await works.ordered()
    await cancelled(works, job)
    assert (await works.media.api.post(f"/sessions/{session}/ensure-audio")).json["jobId"] == job

    follower = await retried(works, job)

    assert follower != job
    await works.work_once(works.worker())
    assert (await works.job(follower))["status"] == "completed"


async def test_a_job_that_is_ended_is_lost_to_its_worker_and_told_of_once(works: Works) -> None:
    _, job = await works.ordered()
    renderer = works.worker()
    claim = await renderer.claims.take()
    assert claim is not None

    await cancelled(works, job)

    with pytest.raises(LeaseLost):
        await renderer.claims.renew(claim, "speaking", 10)
    assert (await works.job(job))["status"] == "failed"
    assert [told["code"] for told in await works.payloads("audio_failed")] == ["CANCELLED"]
    with pytest.raises(Conflict):
        await cancelled(works, job)


async def test_what_is_not_there_is_said_so(works: Works) -> None:
    with pytest.raises(NotFound):
        await retried(works, "nothing")
