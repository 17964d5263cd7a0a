"""The render worker: claims a job with a lease, works outside any transaction, completes under the same lease.

A killed worker's lease runs out and another takes the job up again; whoever lost the lease changes nothing any more, so
a job completes once, and its file lies under a key that follows from what it says.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import select, text, update
from sqlmodel import col

from common.db.engine import REACHING_FAILED, Database, is_outage
from common.db.uow import UnitOfWork
from common.db.wakeup import WakeUp
from common.observability import logger
from media.commands import JOBS_CHANNEL
from media.line_audio import BadRender
from media.models import LEASE, MAXIMUM_ATTEMPTS, Job, Session, SessionAudio
from media.queries import lines_of
from media.rendering import Rendering, render
from media.speech import Speech, Unspeakable
from media.storage import IMMUTABLE, ObjectStorage, StorageUnavailable
from media.studio import RenderCancelled

log = logger("media.jobs")
POLL_SECONDS = 1.0

_CLAIM = text("""
    UPDATE media.job SET status = 'processing', stage = 'starting', percent = 0, attempts = attempts + 1,
        lease_token = :token, available_at = :until, started_at = coalesce(started_at, :now), updated_at = :now
    WHERE id = (
        SELECT id FROM media.job
        WHERE status IN ('pending', 'processing') AND available_at <= :now
        ORDER BY user_id IS NULL, available_at, created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
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


class LeaseLost(Exception):
    """Another worker has the job now, or it is gone."""


class Renderer:
    """``slots`` jobs at once. Run as a loop of the worker."""

    def __init__(self, database: Database, storage: ObjectStorage, speech: Speech, *, slots: int = 1) -> None:
        self._database = database
        self._storage = storage
        self._speech = speech
        self._slots = slots

    async def run(self) -> None:
        await asyncio.to_thread(self._speech.warm_up)
        async with WakeUp(self._database.direct_url, JOBS_CHANNEL) as wake, asyncio.TaskGroup() as group:
            for _ in range(self._slots):
                group.create_task(self._work(wake))

    async def _work(self, wake: WakeUp) -> None:
        while True:
            try:
                claim = await self.claim()
                if claim is not None:
                    await self.carry_out(claim)
                    continue
            except REACHING_FAILED as error:
                if not is_outage(error):
                    raise
                log.warning("database_unreachable", error=f"{type(error).__name__}: {error}"[:200])
            await wake.wait(POLL_SECONDS)

    async def claim(self) -> Claim | None:
        """Takes the job that has waited longest, or whose lease has run out."""
        async with self._database.transaction() as uow:
            token = str(uuid4())
            values = {"token": token, "now": uow.now, "until": uow.now + LEASE}
            job_id = (await uow.session.execute(_CLAIM, values)).scalar_one_or_none()
            if job_id is None:
                return None
            job, session = await _locked(uow, job_id)
            if job.attempts > MAXIMUM_ATTEMPTS:
                _fail(uow, job, session, "RENDER_FAILED", "Rendering was cut off again and again.", final=True)
                return None
            lines = tuple(await lines_of(uow, session.id))
            return Claim(job.id, session.id, token, job.attempts, session.voice_id, lines, session.lines_hash)

    async def carry_out(self, claim: Claim) -> None:
        """Renders, uploads and completes; or records why not. Never raises for the job's own faults."""
        log.info("render_started", job_id=claim.job_id, attempt=claim.attempt, lines=len(claim.lines))
        try:
            rendering = await self._render(claim)
            key = await self._upload(claim, rendering)
            await self._complete(claim, rendering, key)
            log.info("render_completed", job_id=claim.job_id, seconds=round(rendering.seconds, 2))
        except LeaseLost:
            log.warning("lease_lost", job_id=claim.job_id)
        except Unspeakable as error:
            await self._failed(claim, "UNSPEAKABLE", str(error), final=True)
        except BadRender as error:
            log.error("render_refused", job_id=claim.job_id, reason=str(error))
            await self._failed(claim, "RENDER_FAILED", "The sound did not pass its checks.")
        except StorageUnavailable as error:
            log.warning("upload_failed", job_id=claim.job_id, reason=str(error.__cause__))
            await self._failed(claim, "STORAGE_UNAVAILABLE", "The audio could not be stored.")
        except Exception as error:  # a job's fault is recorded with the job, not the end of the worker
            if isinstance(error, REACHING_FAILED) and is_outage(error):
                raise  # the lease runs out and the job is taken up again
            log.error("render_failed", job_id=claim.job_id, exc_info=error)
            await self._failed(claim, "RENDER_FAILED", "The audio could not be made.")

    async def _render(self, claim: Claim) -> Rendering:
        """Renders in a thread while the lease is renewed and progress is told. Raises LeaseLost when it is not ours."""
        told: list[tuple[str, int]] = [("starting", 0)]
        stop: list[bool] = []
        cache = _StoredLines(self._storage, asyncio.get_running_loop())
        work = asyncio.create_task(
            asyncio.to_thread(
                render,
                claim.lines,
                claim.voice_id,
                self._speech,
                on_progress=lambda stage, percent: told.append((stage, percent)),
                cancelled=lambda: bool(stop),
                line_cache=cache,
            )
        )
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=1.0)
                if not work.done():
                    await self._renew(claim, *told[-1])
            return await work
        except RenderCancelled:
            raise LeaseLost from None
        finally:
            stop.append(True)
            with contextlib.suppress(Exception):  # already raised above, or no longer wanted
                await work

    async def _renew(self, claim: Claim, stage: str, percent: int) -> None:
        async with self._database.transaction() as uow:
            mine = (
                update(Job)
                .where(col(Job.id) == claim.job_id, col(Job.lease_token) == claim.token)
                .values(available_at=uow.now + LEASE, stage=stage, percent=percent, updated_at=uow.now)
                .returning(col(Job.id))
            )
            if (await uow.session.execute(mine)).scalar_one_or_none() is None:
                raise LeaseLost

    async def _upload(self, claim: Claim, rendering: Rendering) -> str:
        """Stores file and certificate under a key that follows from the lines, so that a repeat writes the same."""
        name = hashlib.sha256("|".join(rendering.line_keys).encode()).hexdigest()
        key = f"audio/session/{claim.session_id}/{name}.m4a"
        certificate = json.dumps(rendering.certificate(), indent=2).encode()
        await self._storage.put(
            key.replace(".m4a", ".json"), certificate, content_type="application/json", cache_control="no-store"
        )
        await self._storage.put(key, rendering.m4a, content_type="audio/mp4", cache_control=IMMUTABLE)
        return key

    async def _complete(self, claim: Claim, rendering: Rendering, key: str) -> None:
        async with self._database.transaction() as uow:
            job, session = await _mine(uow, claim)
            audio = SessionAudio(
                session_id=session.id,
                audio_key=key,
                lines_hash=claim.lines_hash,
                duration_ms=rendering.duration_ms,
                loudness_lufs=rendering.loudness_lufs,
                true_peak_dbtp=rendering.true_peak_dbtp,
                size_bytes=len(rendering.m4a),
                sha256=rendering.sha256,
                engine=rendering.engine,
                segments=[{"startMs": part.start_ms, "endMs": part.end_ms} for part in rendering.segments],
                generated_at=uow.now,
            )
            await uow.session.merge(audio)
            session.version += 1
            uow.emit(job.complete(audio, uow.now, session.version))

    async def _failed(self, claim: Claim, code: str, message: str, *, final: bool = False) -> None:
        try:
            async with self._database.transaction() as uow:
                job, session = await _mine(uow, claim)
                _fail(uow, job, session, code, message, final=final)
        except LeaseLost:
            log.warning("lease_lost", job_id=claim.job_id)


async def _locked(uow: UnitOfWork, job_id: str) -> tuple[Job, Session]:
    job = (await uow.session.scalars(select(Job).where(col(Job.id) == job_id).with_for_update())).one()
    whole = select(Session).where(col(Session.id) == job.session_id).with_for_update()
    return job, (await uow.session.scalars(whole)).one()


async def _mine(uow: UnitOfWork, claim: Claim) -> tuple[Job, Session]:
    """The job and its session, locked. Raises LeaseLost unless the claim still holds."""
    held = select(Job).where(col(Job.id) == claim.job_id, col(Job.lease_token) == claim.token)
    job = (await uow.session.scalars(held.with_for_update())).one_or_none()
    if job is None:
        raise LeaseLost
    return await _locked(uow, job.id)


def _fail(uow: UnitOfWork, job: Job, session: Session, code: str, message: str, *, final: bool) -> None:
    event = job.fail(code, message, uow.now, final=final, sequence=session.version + 1)
    if event is not None:
        session.version += 1
        uow.emit(event)


class _StoredLines:
    """The cache of spoken lines in the object store, for the rendering thread."""

    def __init__(self, storage: ObjectStorage, loop: asyncio.AbstractEventLoop) -> None:
        self._storage = storage
        self._loop = loop

    def get(self, key: str) -> bytes | None:
        found: bytes | None = self._await(lambda: self._storage.get(_line_object(key)))
        return found

    def put(self, key: str, data: bytes) -> None:
        self._await(
            lambda: self._storage.put(
                _line_object(key), data, content_type="application/octet-stream", cache_control=IMMUTABLE
            )
        )

    def _await(self, work: Callable[[], Any]) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work(), self._loop)
        return future.result(timeout=120)


def _line_object(key: str) -> str:
    return f"audio/line/{key[:2]}/{key}"
