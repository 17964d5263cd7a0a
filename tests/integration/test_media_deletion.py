"""A deleted session is gone at once for its owner, and soon from the store."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from embedded.object_store import PrivateObjectStore
from media.grants import Grant, seal
from media.object_keys import session_prefix
from media.queries import grant_keys
from media.removals import Removals
from media.storage import IMMUTABLE, S3Storage, StorageUnavailable
from tests.support.callers import all_at_once
from tests.support.hand_clock import HandClock
from tests.support.media import Media, draft, media, settings
from tests.support.render_works import Shelf, Works, begun
from tests.support.tone_speech import ToneSpeech


@pytest.fixture
async def works(database_url: str) -> AsyncIterator[Works]:
    clock = HandClock()
    async with media(settings(database_url), clock=clock) as [running]:
        await running.subscribe("user_1")
        yield Works(running, clock, Shelf())


def removals(works: Works) -> Removals:
    store: Any = works.shelf
    return Removals(works.media.service.database, store)


async def gone(service: Media, session: str, job: str) -> bool:
    paths = (f"/sessions/{session}", f"/sessions/{session}/playback-bundle", f"/jobs/{job}")
    return [(await service.api.get(path)).status for path in paths] == [404, 404, 404]


async def test_a_session_goes_with_its_lines_jobs_and_audio_and_says_so_once(works: Works) -> None:
    session, job = await works.ordered()
    kept, _ = await works.ordered()
    for _ in range(2):
        await works.work_once(works.worker())
    answer = await works.media.api.delete(f"/sessions/{session}")
    assert (answer.status, answer.json) == (200, {"success": True})
    assert await gone(works.media, session, job)
    assert (await works.media.api.delete(f"/sessions/{session}")).status == 404
    for table in ("session_line", "session_audio", "job"):
        left = await works.media.rows(f"SELECT DISTINCT session_id FROM media.{table}")
        assert left == [{"session_id": kept}], table
    events = await works.media.events(session)
    assert events == [("session_created", 1), ("audio_requested", 2), ("audio_generated", 3), ("session_deleted", 4)]


async def test_its_play_link_leads_nowhere_any_more(works: Works) -> None:
    session = await works.media.session("user_1")
    async with works.media.service.database.transaction() as uow:
        token = seal(Grant("user_1", session), await grant_keys(uow), works.clock.now)
    assert (await works.media.play(f"/play/{token}")).status == 302
    await works.media.api.delete(f"/sessions/{session}")
    refused = await works.media.play(f"/play/{token}")
    assert (refused.status, refused.json["code"]) == (404, "NOT_FOUND")


async def test_its_objects_follow_when_no_render_can_still_store_one(works: Works) -> None:
    session, _ = await works.ordered()
    kept, _ = await works.ordered()
    for _ in range(2):
        await works.work_once(works.worker())
    await works.media.api.delete(f"/sessions/{session}")
    works.clock.forward(minutes=9, seconds=59)
    assert await removals(works).remove_due() == 0
    works.clock.forward(seconds=1)
    works.shelf.down = True
    with pytest.raises(StorageUnavailable):
        await removals(works).remove_due()
    works.shelf.down = False
    assert await removals(works).remove_due() == 1
    stored = [key for key in works.shelf.objects if key.startswith("audio/session/")]
    assert len(works.shelf.objects) > len(stored)  # the other session says the same lines
    assert stored
    assert all(key.startswith(session_prefix(kept)) for key in stored)
    assert await removals(works).remove_due() == 0


async def test_deleting_a_session_cancels_its_render(works: Works) -> None:
    session, job = await works.ordered()
    slow = ToneSpeech()
    slow.gate.clear()
    worker = works.worker(slow)
    held = await worker.claims.take()
    assert held is not None
    rendering = asyncio.create_task(worker.carry_out(held))
    await begun(slow)
    assert (await works.media.api.delete(f"/sessions/{session}")).status == 200
    slow.gate.set()
    await rendering
    assert await gone(works.media, session, job)
    assert await works.media.rows("SELECT 1 FROM media.session_audio") == []
    assert await works.payloads("audio_generated") == []
    assert await works.payloads("audio_failed") == []


async def test_deletions_completions_and_requests_at_once_leave_nothing_behind(works: Works) -> None:
    session, job = await works.ordered()
    path = f"/sessions/{session}"
    deletions = [partial(works.media.api.delete, path)] * 5
    requests = [partial(works.media.api.post, f"{path}/ensure-audio")] * 5
    deleted, asked, _ = await asyncio.gather(
        all_at_once(*deletions), all_at_once(*requests), works.work_once(works.worker())
    )
    assert sorted(answer.status for answer in deleted) == [200, 404, 404, 404, 404]
    assert {answer.status for answer in asked} <= {200, 404}
    assert await gone(works.media, session, job)
    assert [name for name, _ in await works.media.events(session)].count("session_deleted") == 1


async def test_only_ones_own_sessions_can_be_deleted(works: Works) -> None:
    shared, theirs = await works.media.session(), await works.media.session("user_2")
    refused = await works.media.api.delete(f"/sessions/{shared}")
    assert (refused.status, refused.json["code"]) == (403, "FORBIDDEN")
    unknown = await works.media.api.delete("/sessions/c3d4e5f6-a7b8-9012-cdef-123456789012")
    strangers = await works.media.api.delete(f"/sessions/{theirs}")
    assert (strangers.status, strangers.text) == (404, unknown.text)
    assert (await works.media.api.delete("/sessions/day1-session")).json["code"] == "INVALID_SESSION_ID"
    assert len(await works.media.rows("SELECT 1 FROM media.session")) == 2


async def test_deleting_gives_no_quota_back_and_frees_the_draft_id(database_url: str) -> None:
    async with media(settings(database_url, media_free_tier="create"), clock=HandClock()) as [service]:
        body = draft()
        for _ in range(2):
            created = (await service.api.post("/sessions", body)).json
            assert (await service.api.delete(f"/sessions/{created['id']}")).status == 200
        refused = await service.api.post("/sessions", body)
        assert (refused.status, refused.json["code"]) == (403, "FREE_LIMIT_REACHED")


async def test_the_store_removes_what_lies_under_a_session_and_nothing_beside_it(
    object_store: PrivateObjectStore, bucket: str
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/x"
    async with S3Storage(settings(nowhere, object_store, aws_s3_bucket_name=bucket)) as storage:
        keys = ["audio/session/1/a.m4a", "audio/session/1/a.json", "audio/session/10/a.m4a", "audio/line/ab/abc"]
        for key in keys:
            await storage.put(key, b"sound", content_type="audio/mp4", cache_control=IMMUTABLE)
        found = await storage.find(session_prefix("1"))
        assert sorted(version.key for version in found) == sorted(keys[:2])
        for _ in range(2):
            await storage.remove(found)
            assert [await storage.get(key) for key in keys] == [None, None, b"sound", b"sound"]
        assert await storage.find(session_prefix("1")) == []
