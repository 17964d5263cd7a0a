"""Who has which render job: claimed under a lease, renewed by a heartbeat, completed or failed by its holder alone.

A killed worker's lease runs out and another takes the job up again; whoever lost the lease changes nothing any more, so
a job completes once. Sessions are locked before their jobs, here as everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import text, update
from sqlmodel import col

from common.db.engine import Database
from common.db.uow import UnitOfWork
from media.erasure import note_lines
from media.models import Job, Session, SessionAudio
from media.queries import claimed_job, job_and_session, lines_of, locked_session
from media.render_metrics import READY_SECONDS

TAKE = text("""
    UPDATE media.job SET status = 'processing', stage = 'starting', percent = 0, attempts = attempts + 1,
        lease_token = :token, available_at = :until, started_at = coalesce(started_at, :now), updated_at = :now
    WHERE id = (
        SELECT id FROM media.job
        WHERE status IN ('pending', 'processing') AND available_at <= :now
        ORDER BY turn_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in hand: what to say, and the token under which it may be finished."""

    job_id: str
    session_id: str
    token: str
    attempt: int
    voice_id: str
    lines: tuple[str, ...]
    lines_hash: str
    traceparent: str | None
    correlation_id: str | None
    """Of the request that asked for the job."""


class LeaseLost(Exception):
    """Another worker has the job now, or it is gone."""


class Claims:
    """Every method is a transaction of its own; all but ``take`` raise LeaseLost when the claim holds no longer.

    ``cool_down`` is how long a session's first failed job is the last word.
    """

    def __init__(self, database: Database, lease: timedelta, cool_down: timedelta) -> None:
        self._database = database
        self.lease = lease
        self._cool_down = cool_down

    async def take(self) -> Claim | None:
        """The job whose turn comes first of those that nobody holds."""
        async with self._database.transaction() as uow:
            token = str(uuid4())
            values = {"token": token, "now": uow.now, "until": uow.now + self.lease}
            job_id = (await uow.session.execute(TAKE, values)).scalar_one_or_none()
            if job_id is None:
                return None
            job, session = await job_and_session(uow, job_id)
            lines = tuple(await lines_of(uow, session.id))
            return Claim(
                job_id=job.id,
                session_id=session.id,
                token=token,
                attempt=job.attempts,
                voice_id=session.voice_id,
                lines=lines,
                lines_hash=session.lines_hash,
                traceparent=job.traceparent,
                correlation_id=job.correlation_id,
            )

    async def renew(self, claim: Claim, stage: str, percent: int) -> None:
        """Holds the job for another lease and shows how far it is."""
        async with self._database.transaction() as uow:
            mine = (
                update(Job)
                .where(col(Job.id) == claim.job_id, col(Job.lease_token) == claim.token)
                .values(available_at=uow.now + self.lease, stage=stage, percent=percent, updated_at=uow.now)
                .returning(col(Job.id))
            )
            if (await uow.session.execute(mine)).scalar_one_or_none() is None:
                raise LeaseLost

    async def note_lines(self, claim: Claim, line_keys: Sequence[str]) -> None:
        """Notes which spoken lines the session uses, before any of them is stored."""
        async with self._database.transaction() as uow:
            await _held(uow, claim)
            await note_lines(uow, claim.session_id, set(line_keys))

    async def complete(self, claim: Claim, audio: SessionAudio) -> None:
        """Makes ``audio`` the session's file; its ``generated_at`` is set here."""
        async with self._database.transaction() as uow:
            session, job = await _held(uow, claim)
            audio.generated_at = uow.now
            await uow.session.merge(audio)
            session.version += 1
            uow.emit(job.complete(audio, uow.now, session.version))
        if job.user_id is not None:
            READY_SECONDS.observe((audio.generated_at - job.created_at).total_seconds())

    async def fail(self, claim: Claim, code: str, message: str, *, final: bool) -> None:
        """Another attempt later, or the end of the job when it is ``final`` or was the last one."""
        async with self._database.transaction() as uow:
            session, job = await _held(uow, claim)
            event = job.fail(
                code, message, uow.now, final=final, cool_down=self._cool_down, sequence=session.version + 1
            )
            if event is not None:
                session.version += 1
                uow.emit(event)

    async def hand_back(self, claim: Claim) -> None:
        """Gives the job up unfinished, as if it had never been claimed."""
        async with self._database.transaction() as uow:
            _, job = await _held(uow, claim)
            job.hand_back(uow.now)


async def _held(uow: UnitOfWork, claim: Claim) -> tuple[Session, Job]:
    session = await locked_session(uow, claim.session_id)
    job = await claimed_job(uow, claim.job_id, claim.token)
    if session is None or job is None:
        raise LeaseLost
    return session, job
