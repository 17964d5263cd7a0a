"""Render jobs against a real database and store: claimed once, taken over, retried, given up, told of once."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from embedded.object_store import PrivateObjectStore
from media import aac
from media.catalogue import CATALOGUE, CatalogueSession
from media.claims import LeaseLost
from media.models import MAXIMUM_ATTEMPTS
from media.samples import RATE
from media.seeding import put_in_place
from media.storage import ObjectStorage, StorageUnavailable
from tests.support.callers import all_at_once
from tests.support.event_ledger import until
from tests.support.fault_proxy import FaultProxy
from tests.support.hand_clock import HandClock
from tests.support.media import LINES, media, settings
from tests.support.render_works import Shelf, Works, begun
from tests.support.tone_speech import ToneSpeech


@pytest.fixture
async def works(database_url: str) -> AsyncIterator[Works]:
    clock = HandClock()
    async with media(settings(database_url), clock=clock) as [running]:
        await running.subscribe("user_1")
        yield Works(running, clock, Shelf())


async def test_a_job_becomes_a_file_in_the_store_that_says_what_its_row_says(
    works: Works, database_url: str, object_store: PrivateObjectStore, bucket: str
) -> None:
    session, job = await works.ordered()
    configured = settings(database_url, object_store, aws_s3_bucket_name=bucket)
    async with media(configured, clock=works.clock) as [stored]:
        storage: ObjectStorage = stored.service.app.state.storage
        await works.work_once(works.worker(storage=storage))
        [generated] = await works.payloads("audio_generated")
        file = await storage.get(generated["audioKey"])
        found = await storage.head(generated["audioKey"])
        certificate = json.loads(await storage.get(generated["audioKey"].replace(".m4a", ".json")) or b"")
    assert file is not None
    assert found is not None
    assert generated["sha256"] == hashlib.sha256(file).hexdigest() == found.sha256 == certificate["sha256"]
    assert generated["bytes"] == len(file)
    assert len(aac.decode(file)) * 1000 // RATE == pytest.approx(generated["durationMs"], abs=1)
    assert (generated["jobId"], generated["sessionId"], generated["userId"]) == (job, session, "user_1")
    done = await works.job(job)
    assert (done["status"], done["stage"], done["percent"], done["attempts"]) == ("completed", "done", 100, 1)
    assert (done["error"], json.loads(done["result"])) == (None, {"sessionId": session})
    assert "retryAfterSeconds" not in done
    bundle = (await works.media.api.get(f"/sessions/{session}/playback-bundle")).json["bundle"]
    assert bundle["voiceActivity"]["segments"][0]["startMs"] == 500
    assert len(bundle["voiceActivity"]["segments"]) == 2 * len(LINES)
    events = [("session_created", 1), ("audio_requested", 2), ("audio_generated", 3)]
    assert await works.media.events(session) == events
    assert (await works.media.api.post(f"/sessions/{session}/ensure-audio")).json == {"status": "ready"}


async def test_users_jobs_come_before_the_catalogues_and_each_in_its_order(works: Works) -> None:
    shared = await works.media.session(audio=False)
    await works.media.api.post(f"/sessions/{shared}/ensure-audio")
    waiting = []
    for _ in range(3):
        works.clock.forward(seconds=1)
        waiting.append((await works.ordered())[0])
    worker = works.worker()
    taken = [await worker.claims.take() for _ in range(4)]
    assert [claim.session_id for claim in taken if claim] == [*waiting, shared]
    assert await worker.claims.take() is None


async def test_workers_who_ask_at_once_get_different_jobs(works: Works) -> None:
    sessions = {(await works.ordered())[0] for _ in range(4)}
    workers = [works.worker() for _ in range(8)]
    taken = await asyncio.gather(*(worker.claims.take() for worker in workers))
    assert Counter(claim.session_id for claim in taken if claim) == Counter(sessions)


async def test_a_job_is_taken_over_when_its_lease_has_run_out_and_not_before(works: Works) -> None:
    session, job = await works.ordered()
    first, second = works.worker(), works.worker()
    held = await first.claims.take()
    assert held is not None
    works.clock.forward(seconds=15)
    await first.claims.renew(held, "speaking", 40)
    works.clock.forward(seconds=19)
    assert await second.claims.take() is None
    assert ((await works.job(job))["stage"], (await works.job(job))["percent"]) == ("speaking", 40)
    works.clock.forward(seconds=1)
    taken = await works.work_once(second)
    assert (taken.job_id, taken.attempt) == (job, 2)
    before = await state(works)
    await first.carry_out(held)
    for late in (
        first.claims.renew(held, "speaking", 50),
        first.claims.fail(held, "RENDER_FAILED", "late", final=True),
        first.claims.hand_back(held),
    ):
        with pytest.raises(LeaseLost):
            await late
    assert await state(works) == before
    assert [name for name, _ in await works.media.events(session)].count("audio_generated") == 1
    assert (await works.job(job))["attempts"] == 2


async def state(works: Works) -> list[list[dict[str, Any]]]:
    tables = ("session", "session_audio", "job", "outbox")
    return [await works.media.rows(f"SELECT * FROM media.{table}") for table in tables]


async def test_a_worker_that_loses_its_lease_mid_render_stops_and_changes_nothing(works: Works) -> None:
    _, job = await works.ordered()
    slow = ToneSpeech()
    slow.gate.clear()
    first = works.worker(slow)
    held = await first.claims.take()
    assert held is not None
    rendering = asyncio.create_task(first.carry_out(held))
    await begun(slow)
    works.clock.forward(seconds=60)
    await works.work_once(works.worker())
    before = await state(works)
    slow.gate.set()
    await rendering
    assert await state(works) == before
    assert (await works.job(job))["status"] == "completed"
    assert len(await works.payloads("audio_generated")) == 1


async def test_the_heartbeat_holds_a_slow_job_and_shows_its_stage(works: Works) -> None:
    _, job = await works.ordered()
    slow = ToneSpeech()
    slow.gate.clear()
    worker = works.worker(slow)
    held = await worker.claims.take()
    assert held is not None
    rendering = asyncio.create_task(worker.carry_out(held))
    await begun(slow)
    works.clock.forward(seconds=19)

    async def renewed() -> bool:
        return bool((await works.job(job))["updatedAt"] == "2026-09-01T10:00:19.000Z")

    await until(renewed)
    works.clock.forward(seconds=19)
    assert await works.worker().claims.take() is None
    slow.gate.set()
    await rendering
    assert (await works.job(job))["status"] == "completed"


async def test_a_worker_that_is_stopped_hands_its_job_back(works: Works) -> None:
    _, job = await works.ordered()
    slow = ToneSpeech()
    slow.gate.clear()
    worker = works.worker(slow)
    held = await worker.claims.take()
    assert held is not None
    rendering = asyncio.create_task(worker.carry_out(held))
    await begun(slow)
    rendering.cancel()
    slow.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await rendering
    assert ((await works.job(job))["status"], (await works.job(job))["attempts"]) == ("pending", 0)
    taken = await works.work_once(works.worker())
    assert (taken.job_id, taken.attempt) == (job, 1)
    assert (await works.job(job))["status"] == "completed"


async def test_while_the_store_is_down_a_job_waits_longer_and_longer_and_then_fails(works: Works) -> None:
    session, job = await works.ordered()
    works.shelf.down = True
    worker = works.worker()
    for attempt, pause in enumerate((2, 8, 32, 128), 1):
        await works.work_once(worker)
        waiting = await works.job(job)
        assert (waiting["status"], waiting["attempts"], waiting["error"]) == ("pending", attempt, None)
        assert waiting["retryAfterSeconds"] == pause
        works.clock.forward(seconds=pause - 1)
        assert await worker.claims.take() is None
        works.clock.forward(seconds=1)
    assert await works.payloads("audio_failed") == []
    await works.work_once(worker)
    failed = await works.job(job)
    assert (failed["status"], failed["attempts"]) == ("failed", MAXIMUM_ATTEMPTS)
    assert failed["error"] == "The audio could not be stored."
    [told] = await works.payloads("audio_failed")
    assert (told["code"], told["attempts"], told["jobId"]) == ("STORAGE_UNAVAILABLE", MAXIMUM_ATTEMPTS, job)
    assert await works.media.events(session) == [("session_created", 1), ("audio_requested", 2), ("audio_failed", 3)]


async def test_a_job_outlives_an_outage_of_the_store_and_says_nothing_twice(works: Works) -> None:
    session, job = await works.ordered()
    works.shelf.down = True
    worker = works.worker()
    await works.work_once(worker)
    works.shelf.down = False
    works.clock.forward(seconds=2)
    await works.work_once(worker)
    assert ((await works.job(job))["status"], (await works.job(job))["attempts"]) == ("completed", 2)
    assert [name for name, _ in await works.media.events(session)] == [
        "session_created",
        "audio_requested",
        "audio_generated",
    ]


async def test_a_store_that_refuses_to_be_reached_is_an_outage_too(
    works: Works, database_url: str, object_store: PrivateObjectStore, bucket: str
) -> None:
    _, job = await works.ordered()
    async with FaultProxy("127.0.0.1", object_store.port) as proxy:
        through = settings(
            database_url,
            object_store,
            aws_s3_bucket_name=bucket,
            aws_endpoint_url_s3=f"http://127.0.0.1:{proxy.port}",
        )
        async with media(through, clock=works.clock) as [stored]:
            worker = works.worker(storage=stored.service.app.state.storage)
            await proxy.refuse()
            await works.work_once(worker)
            assert ((await works.job(job))["status"], (await works.job(job))["attempts"]) == ("pending", 1)
            await proxy.accept()
            works.clock.forward(seconds=2)
            await works.work_once(worker)
    assert (await works.job(job))["status"] == "completed"


async def test_sound_that_does_not_pass_is_never_delivered_nor_kept(works: Works) -> None:
    session, job = await works.ordered(affirmations=["I rest.", "This read is cut."])
    worker = works.worker(ToneSpeech(cut_on="cut"))
    for pause in (2, 8, 32, 128, 0):
        await works.work_once(worker)
        works.clock.forward(seconds=pause)
    failed = await works.job(job)
    assert (failed["status"], failed["error"]) == ("failed", "The sound did not pass its checks.")
    assert not [key for key in works.shelf.objects if key.startswith("audio/session/")]
    assert await works.media.rows("SELECT 1 FROM media.session_audio") == []
    assert (await works.media.api.get(f"/sessions/{session}/playback-bundle")).json["code"] == "AUDIO_NOT_READY"


async def test_a_line_that_cannot_be_said_fails_at_once_and_names_itself(works: Works) -> None:
    _, job = await works.ordered(affirmations=["I rest.", "Unsayable words."])
    await works.work_once(works.worker(ToneSpeech(refuses="Unsayable")))
    failed = await works.job(job)
    assert (failed["status"], failed["attempts"]) == ("failed", 1)
    assert "no words the voice can say" in failed["error"]
    assert [told["code"] for told in await works.payloads("audio_failed")] == ["UNSPEAKABLE"]


async def test_an_error_nobody_foresaw_is_told_without_internals(works: Works) -> None:
    class BrokenSpeech(ToneSpeech):
        def read(self, text: str, voice: str, take: Any) -> Any:
            raise ZeroDivisionError("secret of the engine")

    _, job = await works.ordered()
    worker = works.worker(BrokenSpeech())
    for pause in (2, 8, 32, 128, 0):
        await works.work_once(worker)
        works.clock.forward(seconds=pause)
    failed = await works.job(job)
    assert (failed["status"], failed["error"]) == ("failed", "The audio could not be made.")
    assert "secret" not in json.dumps(await works.payloads("audio_failed"))


async def test_a_job_whose_workers_die_over_it_ends(works: Works) -> None:
    _, job = await works.ordered()
    worker = works.worker()
    for _ in range(MAXIMUM_ATTEMPTS):
        assert await worker.claims.take() is not None
        works.clock.forward(seconds=20)
    await works.work_once(worker)
    failed = await works.job(job)
    assert (failed["status"], failed["attempts"]) == ("failed", MAXIMUM_ATTEMPTS)
    assert failed["error"] == "Rendering was cut off again and again."
    assert await worker.claims.take() is None


async def test_a_failed_job_is_answered_until_its_cool_down_is_over(works: Works) -> None:
    session, job = await works.ordered(affirmations=["Unsayable words."])
    await works.work_once(works.worker(ToneSpeech(refuses="Unsayable")))
    ask = f"/sessions/{session}/ensure-audio"
    for _ in range(5):
        assert (await works.media.api.post(ask)).json == {"status": "pending", "jobId": job}
    assert (await works.job(job))["retryAfterSeconds"] == 600
    works.clock.forward(minutes=9, seconds=59)
    assert (await works.media.api.post(ask)).json["jobId"] == job
    assert (await works.job(job))["retryAfterSeconds"] == 1
    works.clock.forward(seconds=1)
    answers = await all_at_once(*[partial(works.media.api.post, ask)] * 20)
    [fresh] = {answer.json["jobId"] for answer in answers}
    assert fresh != job
    await works.work_once(works.worker())
    assert [sequence for _, sequence in await works.media.events(session)] == [1, 2, 3, 4, 5]
    assert (await works.media.api.post(ask)).json == {"status": "ready"}


async def test_however_many_ask_at_once_one_job_is_open(works: Works) -> None:
    shared = await works.media.session(audio=False)
    callers = [works.media.api.signed_in_as(f"user_{number}") for number in range(20)]
    answers = await all_at_once(*(partial(caller.post, f"/sessions/{shared}/ensure-audio") for caller in callers))
    assert {answer.status for answer in answers} == {200}
    [job] = {answer.json["jobId"] for answer in answers}
    assert await works.media.rows("SELECT id, user_id FROM media.job") == [{"id": job, "user_id": None}]
    assert await works.media.events(shared) == [("session_created", 1), ("audio_requested", 2)]


async def test_asking_while_the_job_completes_never_opens_another(works: Works) -> None:
    session, job = await works.ordered()
    ask = f"/sessions/{session}/ensure-audio"
    asking = [partial(works.media.api.post, ask)] * 12
    answers, *_ = await asyncio.gather(all_at_once(*asking), works.work_once(works.worker()))
    assert {json.dumps(answer.json, sort_keys=True) for answer in answers} <= {
        json.dumps({"jobId": job, "status": "pending"}, sort_keys=True),
        json.dumps({"status": "ready"}),
    }
    assert len(await works.media.rows("SELECT 1 FROM media.job")) == 1


async def test_a_worker_renders_what_is_ordered_while_it_waits(works: Works) -> None:
    """The loop itself: woken by the order, it needs no poll."""
    running = asyncio.create_task(works.worker().run())
    try:
        _, job = await works.ordered()

        async def completed() -> bool:
            return bool((await works.job(job))["status"] == "completed")

        await until(completed)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_worker_does_not_begin_before_its_store_can_be_reached(works: Works) -> None:
    await works.ordered()
    works.shelf.down = True
    with pytest.raises(StorageUnavailable):
        await works.worker().run()
    assert await works.media.rows("SELECT attempts FROM media.job") == [{"attempts": 0}]


async def test_seeding_from_two_replicas_at_once_puts_each_session_in_place_once(works: Works) -> None:
    database = works.media.service.database
    assert sorted(await asyncio.gather(put_in_place(database), put_in_place(database))) == [0, len(CATALOGUE)]
    assert await put_in_place(database) == 0
    assert len(await works.media.rows("SELECT 1 FROM media.session")) == len(CATALOGUE)
    assert len(await works.media.rows("SELECT 1 FROM media.job")) == len(CATALOGUE)
    entry: CatalogueSession = CATALOGUE[0]
    shown = (await works.media.api.get(f"/sessions/{entry.id}")).json
    assert (shown["title"], shown["affirmations"]) == (entry.title, list(entry.lines))
