"""Events owned by media."""

from typing import ClassVar, Literal

from common.contracts.event import Event

SessionSource = Literal["catalog", "user", "generated"]


class SessionCreated(Event):
    """A session was created by a user, or put into the catalogue."""

    type: ClassVar[str] = "media.session_created.v1"
    about: ClassVar[str] = "session_id"

    session_id: str
    """The session."""
    user_id: str | None = None
    """Its owner; absent for the catalogue's."""
    source: SessionSource
    """Where it comes from: the catalogue, the user's own lines, or lines written for the user."""


class SessionDeleted(Event):
    """Its owner deleted a session; its audio follows. Sessions that go with an account are not announced one by one."""

    type: ClassVar[str] = "media.session_deleted.v1"
    about: ClassVar[str] = "session_id"

    session_id: str
    """The session that is no more."""
    user_id: str | None = None
    """Its owner."""
    source: SessionSource
    """Where it came from."""


class AudioRequested(Event):
    """A render job was recorded: the session's file is missing, or is not what the session says now."""

    type: ClassVar[str] = "media.audio_requested.v1"
    about: ClassVar[str] = "session_id"

    job_id: str
    """The job, as `GET /jobs/{id}` names it."""
    session_id: str
    """The session it is for."""
    user_id: str | None = None
    """Who asked; absent for the catalogue's."""
    lines_hash: str
    """What will be spoken: the same lines have the same hash."""


class AudioGenerated(Event):
    """A session's file is stored, and its job complete."""

    type: ClassVar[str] = "media.audio_generated.v1"
    about: ClassVar[str] = "session_id"

    job_id: str
    """The job that made it."""
    session_id: str
    """The session."""
    user_id: str | None = None
    """Who asked; absent for the catalogue's."""
    audio_key: str
    """The file's key in the bucket."""
    duration_ms: int
    """How long it plays, milliseconds."""
    loudness_lufs: float
    """How loud it is, integrated, LUFS."""
    true_peak_dbtp: float
    """Its highest peak, dBTP."""
    bytes: int
    """Its size."""
    sha256: str
    """Its checksum, hexadecimal."""


class AudioFailed(Event):
    """A render job failed for good: its attempts are used up, or no attempt could help."""

    type: ClassVar[str] = "media.audio_failed.v1"
    about: ClassVar[str] = "session_id"

    job_id: str
    """The job that failed."""
    session_id: str
    """The session that stays without a file."""
    user_id: str | None = None
    """Who asked; absent for the catalogue's."""
    code: str
    """The reason's code, as the job shows it."""
    message: str
    """The reason in words."""
    attempts: int
    """How often it was tried."""


class UserDataErased(Event):
    """What media held of a deleted user is gone from one store, its own or the bucket."""

    type: ClassVar[str] = "media.user_data_erased.v1"

    user_id: str
    """The deleted user."""
    deletion_id: str
    """The deletion whose receipt this is."""
    store: Literal["media", "storage"]
    """Which store holds nothing of the user any more."""
    counts: dict[str, int]
    """How much it held, by kind."""
