"""Rows and objects agree in the end, whatever died between them; and nothing that is in use is ever taken away."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from common.clock import utc_now
from embedded.object_store import PrivateObjectStore
from media.object_keys import LINES, SESSIONS, line_object, session_prefix
from media.settings import MediaSettings
from media.storage import IMMUTABLE, S3Storage, StoredVersion
from media.storage_audit import StorageAudit
from media.stored_lines import RENEWED_AFTER
from media.sweeping import Sweeper
from tests.support.event_ledger import until
from tests.support.hand_clock import HandClock
from tests.support.media import media, settings
from tests.support.render_works import Shelf, Works
from tests.support.worker_processes import environment_of


@dataclass
class Bucket:
    """A service whose store is real."""

    works: Works
    storage: S3Storage
    settings: MediaSettings

    @property
    def audit(self) -> StorageAudit:
        return StorageAudit(self.works.media.service.database, self.storage)

    def sweeper(self) -> Sweeper:
        return Sweeper(self.works.media.service.database, self.storage, pause=0)

    async def put(self, *keys: str) -> None:
        for key in keys:
            await self.storage.put(key, b"sound", content_type="audio/mp4", cache_control=IMMUTABLE)

    async def keys(self) -> set[str]:
        return {each.key for prefix in (SESSIONS, LINES) for each in await self.storage.page(prefix, "")}

    async def rendered(self) -> tuple[str, str]:
        """A session that is ready, and its file's key."""
        session, _ = await self.works.ordered()
        await self.works.work_once(self.works.worker(storage=self.storage))
        [row] = await self.works.media.rows("SELECT audio_key FROM media.session_audio WHERE session_id = $1", session)
        return session, row["audio_key"]


@pytest.fixture
async def kept(database_url: str, object_store: PrivateObjectStore, bucket: str) -> AsyncIterator[Bucket]:
    clock = HandClock(utc_now())
    configured = settings(database_url, object_store, aws_s3_bucket_name=bucket)
    async with media(configured, clock=clock) as [running]:
        await running.subscribe("user_1")
        yield Bucket(Works(running, clock, Shelf()), running.service.app.state.storage, configured)


STRAYS = (
    f"{session_prefix('c3d4e5f6-a7b8-9012-cdef-123456789012')}left.m4a",
    f"{session_prefix('c3d4e5f6-a7b8-9012-cdef-123456789012')}left.json",
    line_object("ab" * 32),
)


async def test_what_no_row_names_goes_after_a_day_and_nothing_else(kept: Bucket) -> None:
    session, _ = await kept.rendered()
    in_use = await kept.keys()
    old = f"{session_prefix(session)}of-other-lines.m4a"
    await kept.put(*STRAYS, old, "audio/background/Forest Rain.m4a", "elsewhere/thing")
    assert await kept.sweeper().sweep_due() == 0
    assert await kept.keys() == {*in_use, *STRAYS, old}
    kept.works.clock.forward(days=1, minutes=1)
    assert await kept.sweeper().sweep_due() == len(STRAYS) + 1
    assert await kept.keys() == in_use
    assert [await kept.storage.get(key) for key in ("audio/background/Forest Rain.m4a", "elsewhere/thing")] == [
        b"sound",
        b"sound",
    ]


async def test_nothing_goes_while_something_is_made_or_removed_for_its_session(kept: Bucket) -> None:
    waiting, _ = await kept.works.ordered()
    discarded, _ = await kept.works.ordered()
    await kept.works.media.api.delete(f"/sessions/{discarded}")
    objects = {f"{session_prefix(session)}stored-by-a-worker-that-died.m4a" for session in (waiting, discarded)}
    await kept.put(*objects)
    kept.works.clock.forward(days=2)
    assert await kept.sweeper().sweep_due() == 0
    assert await kept.keys() == objects


async def test_a_sweeper_goes_on_where_another_stopped_and_begins_again_the_next_day(kept: Bucket) -> None:
    await kept.put(*STRAYS)
    kept.works.clock.forward(days=2)
    place = "INSERT INTO media.swept_prefix VALUES ($1, $2, $3)"
    await kept.works.media.rows(place, SESSIONS, STRAYS[1], kept.works.clock.now)
    assert await kept.sweeper().sweep_due() == 2
    assert await kept.keys() == {STRAYS[1]}
    assert await kept.sweeper().sweep_due() == 0
    kept.works.clock.forward(days=1)
    assert await kept.sweeper().sweep_due() == 1
    assert await kept.keys() == set()


async def test_a_worker_sweeps_by_itself(kept: Bucket) -> None:
    await kept.put(*STRAYS)
    kept.works.clock.forward(days=2)
    running = asyncio.create_task(kept.sweeper().run())
    try:

        async def swept() -> bool:
            return not await kept.keys()

        await until(swept)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_row_whose_object_is_gone_or_another_is_rendered_again(kept: Bucket) -> None:
    whole, _ = await kept.rendered()
    broken = dict([await kept.rendered(), await kept.rendered(), await kept.rendered()])
    gone, shorter, other = broken
    await kept.storage.remove(await kept.storage.find(broken[gone]))
    await kept.put(broken[shorter])
    same_size = b"x" * len(await kept.storage.get(broken[other]) or b"")
    await kept.storage.put(broken[other], same_size, content_type="audio/mp4", cache_control=IMMUTABLE)
    report = await kept.audit.run(remove=False, repair=True, tell=print)
    assert {row.session_id: row.problem for row in report.broken} == {
        gone: "no object",
        shorter: "wrong size",
        other: "wrong sha256",
    }
    assert (report.rows, report.repaired, report.agrees) == (4, 3, True)
    for session in broken:
        asked = (await kept.works.media.api.post(f"/sessions/{session}/ensure-audio")).json
        assert asked["status"] == "pending"
    for _ in broken:
        await kept.works.work_once(kept.works.worker(storage=kept.storage))
    report = await kept.audit.run(remove=False, repair=False, tell=print)
    assert (report.rows, report.broken, report.agrees) == (4, [], True)
    assert (await kept.works.media.api.post(f"/sessions/{whole}/ensure-audio")).json == {"status": "ready"}


async def test_a_render_that_begins_beside_the_sweeper_keeps_its_file(kept: Bucket) -> None:
    """The file of these lines lies there, a row for it does not: its worker was killed before it could complete."""
    session, key = await kept.rendered()
    for table in ("session_audio", "job"):
        await kept.works.media.rows(f"DELETE FROM media.{table}")
    kept.works.clock.forward(days=2)

    async def render() -> None:
        await kept.works.media.api.post(f"/sessions/{session}/ensure-audio")
        claim = await kept.works.worker().claims.take()
        if claim is not None:
            await kept.works.worker(storage=kept.storage).carry_out(claim)

    await asyncio.gather(render(), kept.sweeper().sweep_due(), kept.sweeper().sweep_due())
    assert await kept.storage.get(key) is not None
    report = await kept.audit.run(remove=False, repair=False, tell=print)
    assert (report.rows, report.broken) == (1, [])


async def test_a_line_that_renders_use_is_stored_anew_once_a_month_and_spoken_again_when_it_is_gone(
    kept: Bucket, object_store: PrivateObjectStore, bucket: str
) -> None:
    """The bucket's own rule takes lines by their age: one in use must not grow old."""
    async with object_store.client() as s3:
        await s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    async def lines_after(days: int) -> list[StoredVersion]:
        kept.works.clock.forward(days=days)
        await kept.rendered()
        return await kept.storage.find(LINES)

    stored = await lines_after(0)
    assert stored == await lines_after(RENEWED_AFTER.days - 1)
    renewed = await lines_after(2)
    assert [version.key for version in renewed] == sorted(2 * [version.key for version in stored])
    assert set(stored) < set(renewed)
    await kept.storage.remove([version for version in renewed if version.key == stored[0].key])
    assert {version.key for version in await lines_after(0)} == {version.key for version in stored}


@pytest.mark.timeout(90)
async def test_the_command_line_reports_repairs_and_says_by_its_exit_code_whether_all_is_well(kept: Bucket) -> None:
    _, key = await kept.rendered()
    await kept.storage.remove(await kept.storage.find(key))
    code, report, progress = await audit_storage(kept, "--json")
    assert (code, [row["problem"] for row in report["broken"]]) == (1, ["no object"])
    assert report["young"] == report["objects"] > 0
    assert "1 rows" in progress
    code, report, _ = await audit_storage(kept, "--json", "--remove", "--repair")
    assert (code, report["repaired"]) == (0, 1)
    assert (await kept.works.media.rows("SELECT count(*) FROM media.session_audio"))[0]["count"] == 0


async def audit_storage(kept: Bucket, *flags: str) -> tuple[int, dict[str, Any], str]:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "media", "audit-storage", *flags,
        env=environment_of(kept.settings), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await started.communicate()
    assert started.returncode is not None, errors
    return started.returncode, json.loads(output), errors.decode()
