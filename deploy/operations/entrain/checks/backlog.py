"""Whether work is done as it comes: outboxes and render jobs."""

from functools import partial

from common.db.driver import LOST
from entrain.checks.databases import session
from entrain.deployment import OWNERS, Deployment
from entrain.findings import Check, Outcome, fail, ok, said, warn

OUTBOX_SECONDS = 60.0
JOB_SECONDS = 300.0
_OUTBOX = """
    SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float
    FROM {schema}.outbox WHERE published_at IS NULL
"""
_JOBS = """
    SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float
    FROM media.job WHERE status = 'pending' AND available_at <= now()
"""


async def _outbox(service: str, deployment: Deployment) -> Outcome:
    try:
        async with session(deployment.owner(service).direct_url) as opened:
            count, age = await opened.fetchrow(_OUTBOX.format(schema=service))
    except LOST as error:
        return fail(said(error), f"see database.{service} and revision.{service}")
    if age <= OUTBOX_SECONDS:
        return ok(f"{count} waiting, the oldest for {age:.0f} s")
    advice = f"start `python -m {service} worker`, see broker.{service}; `python -m entrain outbox` names them"
    return fail(f"{count} waiting, the oldest for {age:.0f} s", advice)


async def _jobs(deployment: Deployment) -> Outcome:
    try:
        async with session(deployment.owner("media").direct_url) as opened:
            count, age = await opened.fetchrow(_JOBS)
    except LOST as error:
        return fail(said(error), "see database.media and revision.media")
    if age <= JOB_SECONDS:
        return ok(f"{count} waiting, the oldest for {age:.0f} s")
    advice = "start another `python -m media worker` or more --render-slots; `python -m entrain jobs` lists them"
    return warn(f"{count} waiting, the oldest for {age:.0f} s", advice)


CHECKS = (
    *(Check(f"outbox.{service}", partial(_outbox, service)) for service in OWNERS),
    Check("jobs.pending", _jobs),
)
