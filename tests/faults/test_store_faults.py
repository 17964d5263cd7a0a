"""A render while its store has a bad day: tried again, and nothing published that is not there."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from embedded.object_store import PrivateObjectStore
from media.claims import Claim
from media.jobs import Renderer
from media.object_keys import SESSIONS
from media.removals import Removals
from tests.support.doorstep import Doorstep
from tests.support.event_ledger import until
from tests.support.hand_clock import HandClock
from tests.support.media import media, settings
from tests.support.render_works import Shelf, Works


@dataclass
class BadDay:
    works: Works
    doorstep: Doorstep
    worker: Renderer

    async def published(self, session: str) -> bool:
        """Whether anybody was told of audio, in any way."""
        rows = await self.works.media.rows("SELECT 1 FROM media.session_audio WHERE session_id = $1", session)
        ready = (await self.works.media.api.get(f"/sessions/{session}/playback-bundle")).status == 200
        told = [name for name, _ in await self.works.media.events(session)]
        assert bool(rows) is ready is ("audio_generated" in told)
        return ready

    async def claim(self) -> Claim:
        claim = await self.worker.claims.take()
        assert claim is not None
        return claim


@pytest.fixture
async def day(database_url: str, object_store: PrivateObjectStore, bucket: str) -> AsyncIterator[BadDay]:
    clock = HandClock()
    async with Doorstep(object_store) as doorstep:
        through = settings(database_url, object_store, aws_s3_bucket_name=bucket, aws_endpoint_url_s3=doorstep.url)
        async with media(through, clock=clock) as [running]:
            await running.subscribe("user_1")
            works = Works(running, clock, Shelf())
            yield BadDay(works, doorstep, works.worker(storage=running.service.app.state.storage))
            doorstep.faults.clear()


@pytest.mark.parametrize(
    "kind,status",
    [("unavailable", 503), ("error", 507), ("cut", 0)],
    ids=["asks to slow down", "full disk", "resets amid the upload"],
)
async def test_a_store_that_takes_no_files_has_the_job_tried_again(day: BadDay, kind: str, status: int) -> None:
    session, job = await day.works.ordered()
    day.doorstep.faults.fail_next(kind, -1, where=f"/{SESSIONS}", status=status)
    await day.worker.carry_out(await day.claim())
    waiting = await day.works.job(job)
    assert (waiting["status"], waiting["attempts"], waiting["error"]) == ("pending", 1, None)
    assert not await day.published(session)
    day.doorstep.faults.clear()
    day.works.clock.forward(seconds=waiting["retryAfterSeconds"])
    await day.worker.carry_out(await day.claim())
    assert (await day.works.job(job))["status"] == "completed"
    assert await day.published(session)


async def test_a_slow_store_holds_the_job_and_nobody_hears_of_it_too_early(day: BadDay) -> None:
    session, job = await day.works.ordered()
    day.doorstep.faults.fail_next("slow", 1, where=".m4a")
    rendering = asyncio.create_task(day.worker.carry_out(await day.claim()))

    async def storing() -> bool:
        return bool((await day.works.job(job))["stage"] == "storing" and day.doorstep.faults.waiting == [])

    await until(storing)
    assert not await day.published(session)
    day.works.clock.forward(seconds=19)
    assert await day.worker.claims.take() is None
    day.doorstep.faults.release()
    await rendering
    assert await day.published(session)


async def test_a_session_deleted_while_its_file_is_stored_leaves_nothing_behind_for_long(
    day: BadDay, object_store: PrivateObjectStore, bucket: str
) -> None:
    session, _ = await day.works.ordered()
    day.doorstep.faults.fail_next("slow", 1, where=".m4a")
    rendering = asyncio.create_task(day.worker.carry_out(await day.claim()))

    async def storing() -> bool:
        return any(path.endswith(".m4a") for path in day.doorstep.faults.calls)

    await until(storing)
    assert (await day.works.media.api.delete(f"/sessions/{session}")).status == 200
    await rendering  # its heartbeat finds the session gone, and nothing had to let the upload go on
    assert await day.works.payloads("audio_generated") == []
    day.doorstep.faults.clear()
    day.works.clock.forward(minutes=10)
    service = day.works.media.service
    await Removals(service.database, service.app.state.storage).remove_due()
    async with object_store.client() as s3:
        assert "Contents" not in await s3.list_objects_v2(Bucket=bucket)
