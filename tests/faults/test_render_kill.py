"""A worker process is killed in the middle of a long render; another finishes it, once."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from embedded.object_store import PrivateObjectStore
from media.storage import ObjectStorage
from tests.support.event_ledger import until
from tests.support.media import Media, draft, media, settings
from tests.support.worker_processes import WorkerProcesses, environment_of

LEASE_SECONDS = 5
LINES = [f"I walk step {number} of this long road with calm and with courage." for number in range(30)]


@asynccontextmanager
async def worker_processes(
    folder: Path, database_url: str, rabbitmq_url: str, store: PrivateObjectStore, bucket: str
) -> AsyncIterator[WorkerProcesses]:
    chosen = settings(database_url, store, aws_s3_bucket_name=bucket, media_job_lease_seconds=LEASE_SECONDS)
    async with WorkerProcesses("media", environment_of(chosen, RABBITMQ_URL=rabbitmq_url), folder) as processes:
        yield processes


async def job_of(service: Media, job_id: str) -> dict[str, Any]:
    return dict((await service.api.get(f"/jobs/{job_id}")).json["job"])


@pytest.mark.timeout(180)
async def test_a_render_cut_off_by_kill_is_taken_up_again_and_completes_once(
    tmp_path: Path, database_url: str, rabbitmq_url: str, object_store: PrivateObjectStore, bucket: str
) -> None:
    configured = settings(database_url, object_store, aws_s3_bucket_name=bucket)
    async with (
        media(configured) as [service],
        worker_processes(tmp_path, database_url, rabbitmq_url, object_store, bucket) as workers,
    ):
        await service.subscribe("user_1")
        first = await workers.start()
        created = (await service.api.post("/sessions", draft(affirmations=LINES))).json
        job_id = created["_audioJobId"]

        async def well_begun() -> bool:
            job = await job_of(service, job_id)
            assert job["status"] in ("pending", "processing"), job
            return bool(job["stage"] == "speaking" and job["percent"] >= 15)

        await until(well_begun, 60)
        first.kill()
        await first.wait()
        cut = await job_of(service, job_id)
        assert (cut["status"], cut["attempts"]) == ("processing", 1)

        await workers.start()

        async def completed() -> bool:
            job = await job_of(service, job_id)
            assert job["status"] != "failed", job
            return bool(job["status"] == "completed")

        await until(completed, 90)
        assert (await job_of(service, job_id))["attempts"] == 2
        await once_and_whole(service, created["id"])


async def once_and_whole(service: Media, session_id: str) -> None:
    """One AudioGenerated, and the object it speaks of; the second worker used the lines the first had finished."""
    query = "SELECT body FROM media.outbox WHERE type = 'media.audio_generated.v1'"
    [generated] = [json.loads(row["body"])["data"] for row in await service.rows(query)]
    assert generated["sessionId"] == session_id
    storage: ObjectStorage = service.service.app.state.storage
    stored = await storage.get(generated["audioKey"])
    assert stored is not None
    assert hashlib.sha256(stored).hexdigest() == generated["sha256"]
    certificate = json.loads(await storage.get(generated["audioKey"].replace(".m4a", ".json")) or b"")
    assert 0 < certificate["linesSpoken"] < len(LINES)
    assert certificate["sha256"] == generated["sha256"]

    async def published() -> bool:
        return not await service.rows("SELECT 1 FROM media.outbox WHERE published_at IS NULL")

    await until(published)
    assert await service.events(session_id) == [("session_created", 1), ("audio_requested", 2), ("audio_generated", 3)]
