"""Render jobs: how many are in which state, which are open or failed, and one tried again or ended."""

from datetime import timedelta
from typing import Any

from common.clock import utc_now
from entrain.deployment import Deployment
from media import queries, support
from media.models import Job

STATUSES = ("pending", "processing", "failed", "completed")
LOOKED_AT = ("pending", "processing", "failed")


async def listed(deployment: Deployment, statuses: tuple[str, ...], most: int) -> dict[str, Any]:
    async with deployment.transaction("media") as uow:
        counted = await queries.jobs_by_status(uow)
        found = await queries.jobs_in(uow, statuses, most)
    states = {
        status: {"count": count, "oldestSeconds": round((utc_now() - oldest).total_seconds())}
        for status, count, oldest in counted
    }
    return {"states": states, "jobs": [described(job) for job in found]}


async def tried_again(deployment: Deployment, job_id: str) -> dict[str, Any]:
    """The job to follow. Raises NotFound and Conflict."""
    async with deployment.transaction("media") as uow:
        return described(await support.retry_job(uow, job_id))


async def ended(deployment: Deployment, job_id: str) -> dict[str, Any]:
    """Raises NotFound and Conflict."""
    cool_down = timedelta(seconds=deployment.media.media_job_cool_down_seconds)
    async with deployment.transaction("media") as uow:
        return described(await support.cancel_job(uow, job_id, cool_down))


def described(job: Job) -> dict[str, Any]:
    """Nothing of what the session says."""
    return {
        "id": job.id,
        "status": job.status,
        "stage": job.stage,
        "attempts": job.attempts,
        "error": job.error_code,
        "session": job.session_id,
        "user": job.user_id,
        "createdAt": job.created_at,
        "availableAt": job.available_at,
    }
