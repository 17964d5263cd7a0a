"""What must hold of sessions, their audio and what was counted."""

from collections.abc import Sequence
from datetime import timedelta

from common.db.engine import Database
from common.invariants import MOST_FINDINGS, Invariant, by_query, looking
from media.plans import Plans
from media.queries import audio_after, audio_by_session
from media.storage import ObjectStorage
from media.storage_audit import StorageAudit

JOBS_LOOKED_AT = timedelta(days=1)
_OF_THE_DELETED = """
    SELECT 'session ' || id || ' of ' || owner_user_id FROM media.session
    JOIN media.erased_user ON user_id = owner_user_id
"""
_WITHOUT_AUDIO = """
    SELECT 'job ' || job.id || ' of session ' || session.id || ': no file' FROM media.job
    JOIN media.session ON session.id = job.session_id
    WHERE job.status = 'completed' AND job.finished_at > CAST(:since AS timestamptz)
    AND job.lines_hash = session.lines_hash AND session.updated_at <= job.finished_at
    AND NOT EXISTS (SELECT FROM media.session_audio AS audio WHERE audio.session_id = session.id)
    AND NOT EXISTS (
        SELECT FROM media.job AS later WHERE later.session_id = session.id AND later.created_at > job.created_at)
"""
_ABOVE_THE_LIMIT = """
    SELECT user_id || ' on ' || day || ': ' || {counted} || ' {counted}' FROM media.daily_use
    WHERE day = CAST(:today AS date) AND {counted} > :daily
"""


class StoredFiles:
    """Some finished files a look, in turn, and those again whose object was missing last time."""

    def __init__(self, database: Database, storage: ObjectStorage) -> None:
        self._database = database
        self._audit = StorageAudit(database, storage)
        self._after = ""
        self._missing: list[str] = []

    async def find(self) -> list[str]:
        async with looking(self._database) as uow:
            rows = await audio_after(uow, self._after) or await audio_after(uow, "")
            again = await audio_by_session(uow, self._missing)
        self._after = rows[-1].session_id if rows else ""
        again.update({row.session_id: row for row in rows})
        broken = await self._audit.broken(list(again.values()))
        self._missing = [row.session_id for row in broken][:MOST_FINDINGS]
        return [f"session {row.session_id}: {row.problem}, {row.key}" for row in broken]


def invariants(database: Database, storage: ObjectStorage, plans: Plans) -> Sequence[Invariant]:
    limits = plans.limits(pro=False)
    return (
        Invariant(
            "every_finished_job_has_a_file",
            "a job completed within the last day has left its session a file",
            "ask for the session's audio in the app, which makes a new job; then see the log of the old one",
            by_query(database, _WITHOUT_AUDIO, since=lambda uow: uow.now - JOBS_LOOKED_AT),
        ),
        Invariant(
            "every_file_is_stored",
            "each finished file is in the store as its row says; some are looked at each time, in turn",
            "`python -m media audit-storage --repair` has it rendered again",
            StoredFiles(database, storage).find,
        ),
        Invariant(
            "nothing_kept_of_the_deleted",
            "no session is owned by a deleted user",
            "a fault of the program: keep the rows, and see the log of the user's deletion",
            by_query(database, _OF_THE_DELETED),
        ),
        Invariant(
            "no_use_above_the_limit",
            f"nobody has used the free tier more than {limits.daily} times today",
            "unless MEDIA_FREE_DAILY_SESSIONS was lowered today, a fault of the program: see `media/quota.py`",
            by_query(
                database,
                _ABOVE_THE_LIMIT.format(counted=limits.counted),
                today=lambda uow: uow.now.date(),
                daily=lambda _: limits.daily,
            ),
        ),
    )
