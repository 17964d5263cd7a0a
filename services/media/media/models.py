"""Media's tables, and the rules that need nothing but a row."""

from datetime import datetime, timedelta
from math import ceil
from typing import Any, cast

from sqlalchemy import BigInteger, Column, Date, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from common.contracts.media import (
    AudioFailed,
    AudioGenerated,
    AudioRequested,
    SessionCreated,
    SessionDeleted,
    SessionSource,
)
from common.db.tables import erased_user_table, moment, optional_moment, schema_registry
from common.db.tombstones import Tombstones


class Base(SQLModel, registry=schema_registry("media")):
    """Media's tables."""


erased_user_table(Base.metadata)
tombstones = Tombstones("media")

MAXIMUM_ATTEMPTS = 5
"""With the pauses between them (2, 8, 32 and 128 s) a job outlives an outage of about three minutes."""

LONGEST_COOL_DOWN = timedelta(days=1)


class Session(Base, table=True):
    """A session of the catalogue (no owner) or of a user. ``version`` counts its changes."""

    __tablename__ = "session"
    __table_args__ = (
        Index("uq_session_owner_user_id_idempotency_key", "owner_user_id", "idempotency_key", unique=True),
        Index("ix_session_owner_user_id_created_at", "owner_user_id", "created_at"),
        Index("ix_session_catalog", "created_at", postgresql_where=text("owner_user_id IS NULL")),
    )

    id: str = Field(primary_key=True)
    owner_user_id: str | None = None
    source: str
    title: str
    goal_tag: str | None = None
    voice_id: str
    frequency_hz: float | None = None
    brainwave_state: str | None = None
    solfeggio_hz: float | None = None
    lines_hash: str
    idempotency_key: str | None = None
    request_hash: str | None = None
    version: int = 1
    created_at: datetime = moment()
    updated_at: datetime = moment()

    def readable_by(self, user_id: str) -> bool:
        return self.owner_user_id is None or self.owner_user_id == user_id

    def created(self) -> SessionCreated:
        source = cast(SessionSource, self.source)
        return SessionCreated(session_id=self.id, user_id=self.owner_user_id, source=source, sequence=self.version)

    def deleted(self) -> SessionDeleted:
        source = cast(SessionSource, self.source)
        return SessionDeleted(session_id=self.id, user_id=self.owner_user_id, source=source, sequence=self.version + 1)


class SessionLine(Base, table=True):
    """One line of a session, as it was written."""

    __tablename__ = "session_line"

    session_id: str = Field(primary_key=True, foreign_key="media.session.id", ondelete="CASCADE")
    position: int = Field(primary_key=True)
    text: str


class SessionAudio(Base, table=True):
    """The finished file of a session, with what was measured on it."""

    __tablename__ = "session_audio"

    session_id: str = Field(primary_key=True, foreign_key="media.session.id", ondelete="CASCADE")
    audio_key: str = Field(index=True)
    lines_hash: str
    duration_ms: int
    loudness_lufs: float
    true_peak_dbtp: float
    size_bytes: int
    sha256: str
    engine: str
    segments: list[dict[str, int]] = Field(sa_column=Column(JSONB, nullable=False))
    generated_at: datetime = moment()


class Job(Base, table=True):
    """One rendering of one session: pending → processing → completed | failed.

    A claim is a lease under a token of its own; whoever lost the lease can neither finish nor fail the job.
    """

    __tablename__ = "job"
    __table_args__ = (
        Index(
            "uq_job_open_session_id",
            "session_id",
            unique=True,
            postgresql_where=text("status IN ('pending', 'processing')"),
        ),
        Index("ix_job_turn", "turn_at", "id", postgresql_where=text("status IN ('pending', 'processing')")),
        Index("ix_job_open_user_id", "user_id", postgresql_where=text("status IN ('pending', 'processing')")),
        Index("ix_job_session_id_created_at", "session_id", "created_at"),
        Index("ix_job_finished_at", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )

    id: str = Field(primary_key=True)
    session_id: str = Field(foreign_key="media.session.id", ondelete="CASCADE")
    user_id: str | None = None
    lines_hash: str
    status: str = "pending"
    stage: str = "waiting"
    percent: int = 0
    attempts: int = 0
    failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How many jobs in a row failed over these lines, this one included."""
    error_code: str | None = None
    error: str | None = None
    lease_token: str | None = None
    available_at: datetime = moment()
    """When it may be taken; of a failed job, when another may follow it."""
    turn_at: datetime = moment(sa_column_kwargs={"server_default": func.now()})
    """Its place among the jobs that may be taken: the earliest goes first."""
    created_at: datetime = moment()
    updated_at: datetime = moment()
    started_at: datetime | None = optional_moment()
    finished_at: datetime | None = optional_moment()
    traceparent: str | None = None
    correlation_id: str | None = None
    """Of the request that asked for it."""

    def requested(self, sequence: int) -> AudioRequested:
        return AudioRequested(
            job_id=self.id,
            session_id=self.session_id,
            user_id=self.user_id,
            lines_hash=self.lines_hash,
            sequence=sequence,
        )

    def retry_after(self, now: datetime) -> int | None:
        """Seconds until asking again can bring something new; None when the job has done its work."""
        if self.status in ("pending", "failed"):
            return max(1, ceil((self.available_at - now).total_seconds()))
        return 1 if self.status == "processing" else None

    def hand_back(self, now: datetime) -> None:
        """Undoes a claim that its worker gives up unfinished: any worker may start at once, no attempt is used up."""
        self.status, self.stage, self.percent, self.lease_token = "pending", "waiting", 0, None
        self.attempts -= 1
        self.available_at = self.updated_at = now

    def complete(self, audio: SessionAudio, now: datetime, sequence: int) -> AudioGenerated:
        self.status, self.stage, self.percent = "completed", "done", 100
        self.lease_token, self.error, self.error_code = None, None, None
        self.updated_at = self.finished_at = now
        return AudioGenerated(
            job_id=self.id,
            session_id=self.session_id,
            user_id=self.user_id,
            audio_key=audio.audio_key,
            duration_ms=audio.duration_ms,
            loudness_lufs=audio.loudness_lufs,
            true_peak_dbtp=audio.true_peak_dbtp,
            bytes=audio.size_bytes,
            sha256=audio.sha256,
            sequence=sequence,
        )

    def fail(
        self, code: str, message: str, now: datetime, *, final: bool, cool_down: timedelta, sequence: int
    ) -> AudioFailed | None:
        """Another attempt later with back-off, or the end of the job after the last one.

        Then no other follows it for ``cool_down``, doubled for every job that failed over the same lines before.
        """
        self.attempts = min(self.attempts, MAXIMUM_ATTEMPTS)  # the claim that finds them used up is none of them
        self.error_code, self.error, self.lease_token, self.updated_at = code, message, None, now
        if not final and self.attempts < MAXIMUM_ATTEMPTS:
            self.status, self.stage, self.percent = "pending", "waiting", 0
            self.available_at = now + timedelta(seconds=2 * 4 ** (self.attempts - 1))
            return None
        self.status, self.stage, self.finished_at = "failed", "failed", now
        self.failures += 1
        self.available_at = now + min(cool_down * 2 ** min(self.failures - 1, 20), LONGEST_COOL_DOWN)
        return AudioFailed(
            job_id=self.id,
            session_id=self.session_id,
            user_id=self.user_id,
            code=code,
            message=message,
            attempts=self.attempts,
            sequence=sequence,
        )

    @property
    def open(self) -> bool:
        return self.status in ("pending", "processing")

    def cooling_down(self, now: datetime) -> bool:
        return self.status == "failed" and now < self.available_at


class Entitlement(Base, table=True):
    """Billing's SubscriptionChanged, the newest of each user."""

    __tablename__ = "entitlement"

    user_id: str = Field(primary_key=True)
    plan: str
    status: str
    store: str | None = None
    source: str
    will_renew: bool = False
    sequence: int
    expires_at: datetime | None = optional_moment()
    renews_at: datetime | None = optional_moment()
    updated_at: datetime = moment()


class DailyUse(Base, table=True):
    """How often a user used the free tier on a UTC day. The row is the lock that no race can pass."""

    __tablename__ = "daily_use"

    user_id: str = Field(primary_key=True)
    day: Any = Field(sa_column=Column(Date, primary_key=True, index=True))
    starts: int = 0
    creations: int = 0


class SessionStart(Base, table=True):
    """A user's first start of a session on a UTC day; repeats on the same day are free."""

    __tablename__ = "session_start"

    user_id: str = Field(primary_key=True)
    day: Any = Field(sa_column=Column(Date, primary_key=True, index=True))
    session_id: str = Field(primary_key=True)
    started_at: datetime = moment()


class ListeningEvent(Base, table=True):
    """Something a user did with a session, as their app told it."""

    __tablename__ = "listening_event"
    __table_args__ = (
        Index("ix_listening_event_user_id_id", "user_id", "id"),
        Index("ix_listening_event_session_id", "session_id"),
        Index("ix_listening_event_occurred_at", "occurred_at"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, primary_key=True))
    user_id: str
    session_id: str = Field(foreign_key="media.session.id", ondelete="CASCADE")
    kind: str
    details: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB, nullable=True))
    occurred_at: datetime = moment()


class CurationProfile(Base, table=True):
    """How a user wants their cards to be; what they never said is None."""

    __tablename__ = "curation_profile"

    user_id: str = Field(primary_key=True)
    primary_goal: str | None = None
    voice_preference: str | None = None
    sound_preference: str | None = None
    created_at: datetime = moment()
    updated_at: datetime = moment()


class DiscardedAudio(Base, table=True):
    """A deleted session whose objects are still in the store."""

    __tablename__ = "discarded_audio"

    session_id: str = Field(primary_key=True)
    user_id: str | None = Field(default=None, index=True)
    due_at: datetime = moment(index=True)
    objects: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How many were found, noted before they are removed: after a kill nobody could count them."""


class LineUse(Base, table=True):
    """A spoken line that a session uses, or whose object it put into the store. Outlives the session until its objects
    are removed; a line's object goes with the last use.
    """

    __tablename__ = "line_use"

    line_key: str = Field(primary_key=True)
    session_id: str = Field(primary_key=True, index=True)


class AudioErasure(Base, table=True):
    """A deleted user whose audio is still in the store: over when none of their sessions is discarded any more."""

    __tablename__ = "audio_erasure"

    id: int | None = Field(default=None, primary_key=True)
    user_id: str
    deletion_id: str | None = None
    objects: int = 0


class SweptPrefix(Base, table=True):
    """How far the search for objects without a row has come in one part of the bucket."""

    __tablename__ = "swept_prefix"

    prefix: str = Field(primary_key=True)
    after_key: str = ""
    due_at: datetime = moment()


class GrantKey(Base, table=True):
    """A key that seals play grants. The newest seals; older ones still open, until their row is removed."""

    __tablename__ = "grant_key"

    id: int | None = Field(default=None, primary_key=True)
    secret: str
    created_at: datetime = moment()
