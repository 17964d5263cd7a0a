"""A deleted user is gone from media and stays gone, whatever arrives late, and then goes from the store too."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from common.db.tombstones import UserErased
from common.web.erasure import Belongings, streamed
from embedded.object_store import PrivateObjectStore
from media import erasure, queries
from media.claims import LeaseLost
from media.models import tombstones
from media.object_keys import line_object, session_prefix
from media.removals import Removals
from media.rendering import line_keys
from media.seeding import put_in_place
from media.storage import IMMUTABLE, S3Storage, StorageUnavailable
from tests.support.erasure import routes, tables_about_users, tables_naming, unguarded
from tests.support.hand_clock import HandClock
from tests.support.locks import waiting_for_a_lock
from tests.support.media import LINES, draft, media, settings
from tests.support.render_works import Shelf, Works, begun
from tests.support.tone_speech import ToneSpeech

KEPT = ("erased_user", "outbox")
SHARED = "I choose calm in this moment."
THEIRS = "Nobody else has ever said this about their mother."


@pytest.fixture
async def works(database_url: str) -> AsyncIterator[Works]:
    clock = HandClock()
    async with media(settings(database_url), clock=clock) as [running]:
        for user in ("user_1", "user_2"):
            await running.subscribe(user)
        yield Works(running, clock, Shelf())


def removals(works: Works) -> Removals:
    store: Any = works.shelf
    return Removals(works.media.service.database, store)


async def left(works: Works, *words: str) -> set[str]:
    return await tables_naming(works.media.database_url, "media", words or ("user_1",), kept=KEPT)


async def counts(works: Works, store: str) -> list[dict[str, int]]:
    return [receipt.counts for receipt in await works.media.receipts() if receipt.store == store]


async def rendered(works: Works, *lines: str, user: str = "user_1") -> str:
    """A session of the user's whose audio is made."""
    api = works.media.api.signed_in_as(user)
    created = (await api.post("/sessions", draft(affirmations=list(lines)))).json
    await works.work_once(works.worker())
    return str(created["id"])


async def listens(works: Works, session: str) -> None:
    """To the end, and says what for."""
    await works.media.api.post(f"/sessions/{session}/events", {"eventType": "complete"})
    await works.media.api.post("/me/curation/preferences", {"primaryGoal": "Sleep"})


def key_of(line: str) -> str:
    (key,) = line_keys([line], "nova", ToneSpeech())
    return line_object(key)


async def test_everything_about_a_user_goes_and_is_counted_once(works: Works) -> None:
    session = await rendered(works, SHARED, THEIRS)
    await works.media.api.post(f"/sessions/{session}/start")
    await listens(works, session)
    other = await rendered(works, SHARED, user="user_2")
    message = await works.media.erase("user_1")
    await works.media.deliver_deletion(message)
    await works.media.erase("user_1")
    assert await left(works, "user_1", THEIRS) == {"audio_erasure", "discarded_audio"}
    assert await counts(works, "media") == [
        {
            "listening": 1,
            "lines": 2,
            "jobs": 1,
            "sessions": 1,
            "entitlements": 1,
            "days": 0,
            "starts": 1,
            "curation": 1,
        }
    ]
    assert await removals(works).remove_due() == 1
    assert await left(works, "user_1", session, THEIRS) == set()
    assert await counts(works, "storage") == [{"objects": 3}]
    assert [(each.user_id, each.deletion_id) for each in await works.media.receipts()] == [("user_1", "deletion-1")] * 2
    assert (await works.media.api.signed_in_as("user_2").get(f"/sessions/{other}")).status == 200


async def test_words_that_another_session_says_stay_and_all_others_go(works: Works) -> None:
    await rendered(works, SHARED, THEIRS)
    await rendered(works, THEIRS)
    other = await rendered(works, SHARED, user="user_2")
    assert key_of(THEIRS) in works.shelf.objects
    await works.media.erase("user_1")
    assert await removals(works).remove_due() == 2
    assert key_of(THEIRS) not in works.shelf.objects
    assert {key for key in works.shelf.objects if not key.startswith(session_prefix(other))} == {key_of(SHARED)}
    await works.media.erase("user_2", "deletion-2")
    await removals(works).remove_due()
    assert works.shelf.objects == {}
    assert await works.media.rows("SELECT 1 FROM media.line_use") == []


async def test_two_sessions_with_a_line_in_common_leave_it_to_nobody(works: Works) -> None:
    for _ in range(6):
        await rendered(works, SHARED, THEIRS)
    await works.media.erase("user_1")
    await asyncio.gather(*(removals(works).remove_due() for _ in range(4)))
    assert works.shelf.objects == {}
    assert len(await counts(works, "storage")) == 1


async def test_of_two_that_give_up_a_line_at_once_the_second_has_it_alone(works: Works) -> None:
    first, second = [await rendered(works, THEIRS) for _ in range(2)]
    database = works.media.service.database

    async def second_ones_own() -> list[str]:
        async with database.transaction() as uow:
            return await erasure.lines_of_its_own(uow, second)

    async with database.transaction() as uow:
        assert await erasure.lines_of_its_own(uow, first) == []
        asking = asyncio.create_task(second_ones_own())
        await waiting_for_a_lock(works.media.database_url)
    assert [line_object(key) for key in await asking] == [key_of(THEIRS)]


async def test_what_was_made_before_uses_were_noted_goes_too(works: Works) -> None:
    await rendered(works, SHARED, THEIRS)
    await works.media.rows("DELETE FROM media.line_use")
    await works.media.erase("user_1")
    await removals(works).remove_due()
    assert works.shelf.objects == {}


async def test_sessions_deleted_before_belong_to_the_erasure(works: Works) -> None:
    session = await rendered(works, THEIRS)
    await works.media.api.delete(f"/sessions/{session}")
    await works.media.erase("user_1")
    assert await removals(works).remove_due() == 0
    assert await counts(works, "storage") == []
    works.clock.forward(minutes=10)
    assert await removals(works).remove_due() == 1
    assert await counts(works, "storage") == [{"objects": 3}]
    assert works.shelf.objects == {}


async def test_what_a_render_in_flight_uploads_afterwards_is_removed(works: Works) -> None:
    await works.ordered(affirmations=[THEIRS])
    slow = ToneSpeech()
    slow.gate.clear()
    worker = works.worker(slow)
    held = await worker.claims.take()
    assert held is not None
    rendering = asyncio.create_task(worker.carry_out(held))
    await begun(slow)
    await works.media.erase("user_1")
    slow.gate.set()
    await rendering
    late = f"{session_prefix(held.session_id)}late.m4a"
    await works.shelf.put(late, b"sound", content_type="audio/mp4", cache_control=IMMUTABLE)
    with pytest.raises(LeaseLost):
        await worker.claims.note_lines(held, ["a" * 64])
    assert await works.payloads("audio_generated") == []
    assert await removals(works).remove_due() == 0
    works.clock.forward(minutes=10)
    assert await removals(works).remove_due() == 1
    assert works.shelf.objects == {}
    assert await left(works, "user_1", held.session_id) == set()
    assert len(await counts(works, "storage")) == 1


async def test_a_store_that_is_down_delays_the_receipt_and_loses_no_count(works: Works) -> None:
    await rendered(works, THEIRS)
    await works.media.erase("user_1")
    works.shelf.down = True
    with pytest.raises(StorageUnavailable):
        await removals(works).remove_due()
    works.shelf.down, works.shelf.mute = False, True
    with pytest.raises(StorageUnavailable):
        await removals(works).remove_due()
    assert (works.shelf.objects, await counts(works, "storage")) == ({}, [])
    works.shelf.mute = False
    await removals(works).remove_due()
    assert await counts(works, "storage") == [{"objects": 3}]


@pytest.mark.parametrize("known_before", [True, False], ids=["after", "before"])
async def test_what_comes_late_makes_no_row(works: Works, known_before: bool) -> None:
    body = draft()
    if known_before:
        await works.media.api.post("/sessions", body)
    else:
        await works.media.rows("DELETE FROM media.entitlement WHERE user_id = 'user_1'")
    await works.media.erase("user_1")
    await works.media.subscribe("user_1", sequence=99)
    assert (await works.media.api.post("/sessions", body)).status == 401
    await put_in_place(works.media.service.database)
    await removals(works).remove_due()
    assert await left(works) == set()
    assert len(await counts(works, "storage")) == 1


async def test_a_play_link_of_a_deleted_user_starts_nothing(database_url: str) -> None:
    async with media(settings(database_url)) as [service]:
        shared = await service.session()
        link = (await service.api.get(f"/sessions/{shared}")).json["audio"]["affirmationsMergedUrl"]
        await service.erase("user_1")
        for method in ("GET", "HEAD"):
            assert (await service.play(link, method)).status == 404
        assert await service.rows("SELECT 1 FROM media.session_start") == []


async def test_a_deleted_users_token_opens_no_route(works: Works) -> None:
    await works.media.erase("user_1")
    assert unguarded(works.media.service.app) == set()
    somewhere = {"id": "c3d4e5f6-a7b8-9012-cdef-123456789012", "grant": "none"}
    tried = 0
    for route in routes(works.media.service.app):
        for method in route.methods or ():
            path = route.path.format(**somewhere)
            answer = await works.media.api.request(method, path, body={"no": "matter"})
            assert answer.status == 401, (method, path)
            assert (await works.media.api.signed_in_as("user_2").request(method, path)).status != 401, (method, path)
            tried += 1
    assert tried >= 14


async def test_a_request_under_way_is_waited_for_and_one_that_comes_now_waits(works: Works) -> None:
    database = works.media.service.database
    async with database.transaction() as uow:
        await tombstones.refuse(uow, "user_1")
        deleting = asyncio.create_task(works.media.erase("user_1"))
        await waiting_for_a_lock(works.media.database_url)
    await deleting
    async with database.transaction() as uow:
        await erasure.erase_user(uow, "user_2", "deletion-2")
        asking = asyncio.create_task(works.media.api.signed_in_as("user_2").post("/sessions", draft()))
        await waiting_for_a_lock(works.media.database_url)
    assert (await asking).status == 401


async def test_whatever_happens_at_once_nothing_is_left(works: Works) -> None:
    for number in range(6):
        user = f"user_x{number}"
        await works.media.subscribe(user)
        api = works.media.api.signed_in_as(user)
        answers = await asyncio.gather(
            *(api.post("/sessions", draft()) for _ in range(3)),
            works.media.erase(user, f"deletion-{number}"),
            *(works.media.subscribe(user, sequence=sequence) for sequence in (2, 3)),
            api.post("/sessions", draft()),
        )
        assert {answer.status for answer in answers if hasattr(answer, "status")} <= {201, 401}
    await removals(works).remove_due()
    assert await left(works, "user_x") == set()


async def test_in_a_bucket_that_keeps_versions_none_is_kept(object_store: PrivateObjectStore, bucket: str) -> None:
    async with object_store.client() as s3:
        await s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        nowhere = "postgresql://nobody@127.0.0.1:1/x"
        async with S3Storage(settings(nowhere, object_store, aws_s3_bucket_name=bucket)) as storage:
            key = f"{session_prefix('1')}a.m4a"
            for sound in (b"one", b"two"):
                await storage.put(key, sound, content_type="audio/mp4", cache_control=IMMUTABLE)
            await s3.delete_object(Bucket=bucket, Key=key)  # leaves a marker and both versions
            assert len(await storage.find(session_prefix("1"))) == 3
            await storage.remove(await storage.find(session_prefix("1")))
            kept = await s3.list_object_versions(Bucket=bucket)
            assert kept.get("Versions", []) + kept.get("DeleteMarkers", []) == []


async def test_a_copy_holds_everything_as_it_is_kept(works: Works) -> None:
    session = await rendered(works, SHARED, 'Quotes " and \\ and ünïcode \u2028 😀.')
    waiting, job = await works.ordered(title="Not yet", solfeggioHz=528.5)
    await works.media.api.post(f"/sessions/{session}/start")
    shared = await works.media.session()
    await works.media.api.post(f"/sessions/{shared}/start")
    await listens(works, shared)
    await works.media.rows(
        "INSERT INTO media.listening_event (id, user_id, session_id, kind, occurred_at)"
        " VALUES (-5, 'user_1', $1, 'start', now())",
        shared,
    )
    answer = await works.media.api.get("/internal/export")
    assert answer.status == 200
    copy = json.loads(answer.text, parse_constant=pytest.fail)
    assert [each["id"] for each in copy["sessions"]] == sorted([session, waiting])
    first, second = (next(each for each in copy["sessions"] if each["id"] == one) for one in (session, waiting))
    assert first["affirmations"] == [SHARED, 'Quotes " and \\ and ünïcode \u2028 😀.']
    assert (second["affirmations"], second["title"], second["solfeggioHz"]) == (list(LINES), "Not yet", 528.5)
    assert (second["audio"], first["audio"]["urlExpiresAt"]) == (None, "2026-09-02T10:00:00Z")
    assert f"audio/session/{session}/" in first["audio"]["url"]
    assert {(each["id"], each["status"]) for each in copy["jobs"]} >= {(job, "pending")}
    assert {(each["sessionId"], each["day"]) for each in copy["starts"]} == {
        (session, "2026-09-01"),
        (shared, "2026-09-01"),
    }
    assert copy["entitlements"][0]["plan"] == "pro"
    assert [(each["sessionId"], each["eventType"]) for each in copy["listening"]] == [
        (shared, "start"),
        (shared, "complete"),
    ]
    assert copy["curation"][0]["primaryGoal"] == "Sleep"
    strangers = (await works.media.api.signed_in_as("user_3").get("/internal/export")).json
    assert set(map(json.dumps, strangers.values())) == {"[]"}


async def test_a_copy_of_many_sessions_is_whole(works: Works) -> None:
    made = [await works.media.session("user_1", audio=number % 2 == 0) for number in range(45)]
    await works.media.session("user_2")
    await works.media.rows(
        "INSERT INTO media.session_start SELECT 'user_1', day::date, number::text, now()"
        " FROM generate_series('2026-01-01'::date, '2026-01-30', '1 day') day, generate_series(1, 9) number"
    )
    copy = (await works.media.api.get("/internal/export")).json
    assert sorted(each["id"] for each in copy["sessions"]) == sorted(made)
    assert len({(each["day"], each["sessionId"]) for each in copy["starts"]}) == 270


async def test_a_copy_that_is_overtaken_by_the_deletion_ends_in_an_error(works: Works) -> None:
    for _ in range(queries.SESSIONS_AT_ONCE + 1):
        await works.media.session("user_1", audio=False)
    belongings = Belongings(works.media.service.database, tombstones, "user_1")
    answer = streamed({}, {"sessions": belongings.all(queries.sessions_after, lambda session: f'"{session.id}"')})
    parts = aiter(answer.body_iterator)
    assert await anext(parts) == '{"sessions":['
    for _ in range(queries.SESSIONS_AT_ONCE):
        assert "]" not in str(await anext(parts))
    await works.media.erase("user_1")
    with pytest.raises(UserErased):
        await anext(parts)


async def test_a_new_table_about_users_must_be_erased_and_copied_too(works: Works) -> None:
    """Whoever adds one adds it to ``erasure.py``, to ``export.py`` and here."""
    erased = {"session", "job", "entitlement", "daily_use", "session_start", "listening_event", "curation_profile"}
    gone_with_the_objects = {"discarded_audio", "audio_erasure"}
    found = await tables_about_users(works.media.database_url, "media")
    assert found == erased | gone_with_the_objects | {"erased_user"}
