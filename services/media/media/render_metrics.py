"""How rendering is getting on, in numbers: what waits, how long it takes, and how it ends."""

import asyncio

from prometheus_client import Gauge, Histogram

from common.db.engine import Database
from common.observability import logger
from media import queries
from media.outages import outages_told

MEASURE_SECONDS = 10.0
OWNERS, STATUSES = ("user", "catalogue"), ("pending", "processing")
RENDER_SECONDS = Histogram(
    "media_render_duration_seconds",
    "Time a worker spent on a render job, by how that ended",
    ["outcome"],
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300),
)
READY_SECONDS = Histogram(
    "media_audio_ready_seconds",
    "From asking for the audio of a user's session until its file is there",
    buckets=(0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600),
)
JOBS = Gauge("media_render_jobs", "Open render jobs", ["owner", "status"])
OLDEST = Gauge("media_render_oldest_waiting_seconds", "How long the oldest pending render job has waited", ["owner"])
ERASURES = Gauge("media_erasures_open", "Deleted users whose audio is still in the store")
for _outcome in ("completed", "failed", "given_up", "lease_lost", "cut_off"):
    RENDER_SECONDS.labels(_outcome)
log = logger("media.render_metrics")


async def measure_for_ever(database: Database) -> None:
    """Keeps the gauges of waiting work true."""
    while True:
        with outages_told(log):
            await measure(database)
        await asyncio.sleep(MEASURE_SECONDS)


async def measure(database: Database) -> None:
    async with database.transaction() as uow:
        found = await queries.open_jobs(uow)
        ERASURES.set(await queries.open_erasures(uow))
        now = uow.now
    for owner in OWNERS:
        for status in STATUSES:
            count, oldest = found.get((owner, status), (0, now))
            JOBS.labels(owner, status).set(count)
            if status == "pending":
                OLDEST.labels(owner).set(max(0.0, (now - oldest).total_seconds()))
