"""What every process says of itself: which build it is, and whether its event loop keeps up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Gauge, Histogram

from common.settings import Settings

LOOK_SECONDS = 0.5
BUILD_INFO = Gauge("entrain_build_info", "1; the labels say what runs here", ["service", "revision"])
LOOP_LAG = Histogram(
    "event_loop_lag_seconds",
    "How late the event loop wakes who sleeps",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)


def tell_build(settings: Settings) -> None:
    BUILD_INFO.labels(settings.service, settings.entrain_revision).set(1)


@asynccontextmanager
async def event_loop_watched() -> AsyncIterator[None]:
    """Measures the lag of the running loop while the block runs."""
    watching = asyncio.create_task(_watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch() -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        LOOP_LAG.observe(max(0.0, clock() - due))
