"""The render worker: takes a job, works outside any transaction under a heartbeat, and completes it or says why not.

The file of a session lies under a key that follows from what it says, so doing the work twice writes the same object.
"""

import asyncio
import hashlib
import json
import threading
import time
from dataclasses import dataclass
from datetime import timedelta

from common.db.engine import REACHING_FAILED, Database, is_outage
from common.db.wakeup import WakeUp
from common.observability import logger
from common.tracing import Span, job, span
from media.claims import Claim, Claims, LeaseLost
from media.commands import JOBS_CHANNEL
from media.line_audio import BadRender
from media.memory import give_back
from media.models import MAXIMUM_ATTEMPTS, SessionAudio
from media.object_keys import session_prefix
from media.outages import outages_told
from media.render_metrics import RENDER_SECONDS
from media.rendering import Rendering, line_keys, render
from media.speech import Speech, SpeechUnavailable, Unspeakable
from media.storage import IMMUTABLE, ObjectStorage, StorageUnavailable
from media.stored_lines import RecentLines, StoredLines

log = logger("media.jobs")
POLL_SECONDS = 1.0
LEASE = timedelta(seconds=20)
COOL_DOWN = timedelta(minutes=10)
MOST_BEAT_SECONDS = 1.0
"""How often progress is shown at least; the app asks once a second."""


@dataclass(slots=True)
class Progress:
    """How far a job is; written by the rendering thread, read by the heartbeat."""

    stage: str = "starting"
    percent: int = 0

    def tell(self, stage: str, percent: int) -> None:
        self.stage, self.percent = stage, percent


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a job failed, in words fit for its owner; ``final`` when no retry can help."""

    code: str
    message: str
    final: bool = False


class Renderer:
    """``slots`` jobs at once, each held by a ``lease``. Run as a loop of the worker.

    ``fallback`` speaks when ``speech`` cannot be had, and is named in the certificate then.
    """

    def __init__(
        self,
        database: Database,
        storage: ObjectStorage,
        speech: Speech,
        *,
        fallback: Speech | None = None,
        slots: int = 1,
        lease: timedelta = LEASE,
        cool_down: timedelta = COOL_DOWN,
    ) -> None:
        self._database = database
        self._storage = storage
        self._speech = speech
        self._fallback = fallback
        self._slots = slots
        self._recent_lines = RecentLines()
        self.claims = Claims(database, lease, cool_down)
        self._beat_seconds = min(MOST_BEAT_SECONDS, lease.total_seconds() / 4)

    async def run(self) -> None:
        """Renders the jobs that wait, each by whose turn it is."""
        await self._storage.check()  # a store that was never reachable must not use up the attempts of every job
        for engine in filter(None, (self._speech, self._fallback)):
            await asyncio.to_thread(engine.warm_up)
        give_back()  # what loading a model took
        async with WakeUp(self._database.direct_url, JOBS_CHANNEL) as wake, asyncio.TaskGroup() as group:
            for _ in range(self._slots):
                group.create_task(self._work(wake))

    async def _work(self, wake: WakeUp) -> None:
        while True:
            with outages_told(log):
                claim = await self.claims.take()
                if claim is not None:
                    await self.carry_out(claim)
                    continue
            await wake.wait(POLL_SECONDS)

    async def carry_out(self, claim: Claim) -> None:
        """Renders, uploads and completes; or records why not.

        Raises only when the database cannot be reached: then the lease runs out and the job is taken up again.
        """
        outcome, began = "cut_off", time.perf_counter()
        try:
            with job("render", claim.traceparent, claim.correlation_id, job_id=claim.job_id) as step:
                step.note("entrain.job.attempt", claim.attempt)
                outcome = await self._carry_out(claim, step)
        finally:
            RENDER_SECONDS.labels(outcome).observe(time.perf_counter() - began)

    async def _carry_out(self, claim: Claim, step: Span) -> str:
        """How it ended, for the metric."""
        log.info("render_started", attempt=claim.attempt, lines=len(claim.lines))
        try:
            if claim.attempt > MAXIMUM_ATTEMPTS:
                return await self._give_up(claim)
            rendering, key = await self._under_heartbeat(claim)
            await self.claims.complete(claim, _audio(claim, rendering, key))
            log.info("render_completed", seconds=round(rendering.seconds, 2))
            return "completed"
        except asyncio.CancelledError:
            await self._hand_back(claim)
            raise
        except LeaseLost:
            log.warning("lease_lost")
            return "lease_lost"
        except Exception as error:  # a job's fault is recorded with the job, not the end of the worker
            if isinstance(error, REACHING_FAILED) and is_outage(error):
                raise
            step.failed(type(error).__name__)
            return await self._failed(claim, error)

    async def _under_heartbeat(self, claim: Claim) -> tuple[Rendering, str]:
        """Does the work while the lease is renewed and progress is shown. Raises LeaseLost when it is not ours."""
        progress = Progress()
        work = asyncio.create_task(self._make(claim, progress))
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=self._beat_seconds)
                if not work.done():
                    await self._beat(claim, progress)
            return await work
        finally:
            work.cancel()
            await asyncio.wait({work})

    async def _beat(self, claim: Claim, progress: Progress) -> None:
        try:
            await self.claims.renew(claim, progress.stage, progress.percent)
        except REACHING_FAILED as error:
            if not is_outage(error):
                raise
            log.warning("lease_not_renewed", error=f"{type(error).__name__}: {error}"[:200])

    async def _make(self, claim: Claim, progress: Progress) -> tuple[Rendering, str]:
        rendering = await self._spoken(claim, progress)
        progress.tell("storing", 99)
        return rendering, await self._upload(claim, rendering)

    async def _spoken(self, claim: Claim, progress: Progress) -> Rendering:
        """By one engine from the first line to the last: a session in two voices would be worse than a late one."""
        try:
            return await self._render(claim, progress, self._speech)
        except SpeechUnavailable as error:
            if self._fallback is None:
                raise
            log.warning("another_engine_speaks", engine=self._fallback.name, reason=str(error))
            return await self._render(claim, progress, self._fallback)

    async def _render(self, claim: Claim, progress: Progress, speech: Speech) -> Rendering:
        """Renders in a thread, which ends before this does, however this ends."""
        with span("speak", "internal", {"entrain.speech.engine": speech.name}):
            return await self._said(claim, progress, speech)

    async def _said(self, claim: Claim, progress: Progress, speech: Speech) -> Rendering:
        keys = await asyncio.to_thread(line_keys, claim.lines, claim.voice_id, speech)
        await self.claims.note_lines(claim, keys)
        stop = threading.Event()
        cache = StoredLines(self._storage, self._database.clock, asyncio.get_running_loop(), self._recent_lines)
        thread = asyncio.create_task(
            asyncio.to_thread(
                render,
                claim.lines,
                claim.voice_id,
                speech,
                on_progress=progress.tell,
                cancelled=stop.is_set,
                line_cache=cache,
            )
        )
        try:
            return await asyncio.shield(thread)
        finally:
            stop.set()
            await asyncio.gather(thread, return_exceptions=True)

    async def _upload(self, claim: Claim, rendering: Rendering) -> str:
        """Stores the file and its certificate; returns the file's key."""
        name = hashlib.sha256("|".join(rendering.line_keys).encode()).hexdigest()
        stem = f"{session_prefix(claim.session_id)}{name}"
        certificate = json.dumps(rendering.certificate(), indent=2).encode()
        put = self._storage.put
        await asyncio.gather(
            put(f"{stem}.m4a", rendering.m4a, content_type="audio/mp4", cache_control=IMMUTABLE),
            put(f"{stem}.json", certificate, content_type="application/json", cache_control="no-store"),
        )
        return f"{stem}.m4a"

    async def _give_up(self, claim: Claim) -> str:
        """Its workers died over it, attempt after attempt: nobody was left to record a failure."""
        log.error("render_given_up", attempts=MAXIMUM_ATTEMPTS)
        await self.claims.fail(claim, "RENDER_FAILED", "Rendering was cut off again and again.", final=True)
        return "given_up"

    async def _failed(self, claim: Claim, error: Exception) -> str:
        verdict = verdict_on(error)
        cause = error if verdict.code == "RENDER_FAILED" else None
        log.warning("render_failed", code=verdict.code, reason=reason_of(error), exc_info=cause)
        try:
            await self.claims.fail(claim, verdict.code, verdict.message, final=verdict.final)
        except LeaseLost:
            log.warning("lease_lost")
            return "lease_lost"
        return "failed"

    async def _hand_back(self, claim: Claim) -> None:
        """This worker is being stopped: another may go on at once."""
        try:
            await self.claims.hand_back(claim)
        except LeaseLost:
            log.warning("lease_lost")
        except REACHING_FAILED as error:
            log.warning("not_handed_back", error=f"{type(error).__name__}: {error}"[:200])


def verdict_on(error: Exception) -> Verdict:
    """What to tell of an error met while making a session: never its own words, unless they are meant for the owner."""
    if isinstance(error, Unspeakable):
        where = "" if error.line is None else f"Line {error.line + 1}: "
        return Verdict("UNSPEAKABLE", f"{where}{error}", final=True)
    if isinstance(error, StorageUnavailable):
        return Verdict("STORAGE_UNAVAILABLE", "The audio could not be stored.")
    if isinstance(error, SpeechUnavailable):
        return Verdict("SPEECH_UNAVAILABLE", "The voice cannot be reached just now.", final=error.final)
    if isinstance(error, BadRender):
        return Verdict("RENDER_FAILED", "The sound did not pass its checks.")
    return Verdict("RENDER_FAILED", "The audio could not be made.")


def reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error.__cause__ or error}"[:300]


def _audio(claim: Claim, rendering: Rendering, key: str) -> SessionAudio:
    return SessionAudio(
        session_id=claim.session_id,
        audio_key=key,
        lines_hash=claim.lines_hash,
        duration_ms=rendering.duration_ms,
        loudness_lufs=rendering.loudness_lufs,
        true_peak_dbtp=rendering.true_peak_dbtp,
        size_bytes=len(rendering.m4a),
        sha256=rendering.sha256,
        engine=rendering.engine,
        segments=[{"startMs": part.start_ms, "endMs": part.end_ms} for part in rendering.segments],
    )
