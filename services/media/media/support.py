"""What support does with a render job."""

from datetime import timedelta

from common.db.uow import UnitOfWork
from common.errors import Conflict, NotFound
from media.commands import request_audio, wake_renderers
from media.models import Job, Session
from media.queries import locked_job


async def retry_job(uow: UnitOfWork, job_id: str) -> Job:
    """Has the audio made now: the job that waits, or a new one after one that failed; the job to follow.

    Raises NotFound, and Conflict when there is nothing to wait for.
    """
    session, job = await _held(uow, job_id)
    if job.status not in ("pending", "failed"):
        raise Conflict(f"The job is {job.status}: only one that waits or failed can be tried again.")
    job.available_at = job.updated_at = uow.now
    if job.status == "pending":
        await wake_renderers(uow)
        return job
    await uow.session.flush()
    follower = await request_audio(uow, session)
    if follower is None:
        raise Conflict("The session has its audio: another job has made it.")
    return follower


async def cancel_job(uow: UnitOfWork, job_id: str, cool_down: timedelta) -> Job:
    """Ends an open job as failed; a worker that has it in hand loses it. Raises NotFound and Conflict."""
    session, job = await _held(uow, job_id)
    if not job.open:
        raise Conflict(f"The job is {job.status} already.")
    told = job.fail(
        "CANCELLED", "Support ended this job.", uow.now, final=True, cool_down=cool_down, sequence=session.version + 1
    )
    if told is not None:
        session.version += 1
        uow.emit(told)
    return job


async def _held(uow: UnitOfWork, job_id: str) -> tuple[Session, Job]:
    found = await locked_job(uow, job_id)
    if found is None:
        raise NotFound("There is no such job.")
    return found
