"""Events owned by media."""

from typing import ClassVar, Literal

from common.contracts.event import Event

SessionSource = Literal["catalog", "user", "generated"]


class SessionCreated(Event):
    type: ClassVar[str] = "media.session_created.v1"
    about: ClassVar[str] = "session_id"

    session_id: str
    user_id: str | None = None
    source: SessionSource


class SessionDeleted(Event):
    type: ClassVar[str] = "media.session_deleted.v1"
    about: ClassVar[str] = "session_id"

    session_id: str
    user_id: str | None = None
    source: SessionSource


class AudioRequested(Event):
    type: ClassVar[str] = "media.audio_requested.v1"
    about: ClassVar[str] = "session_id"

    job_id: str
    session_id: str
    user_id: str | None = None
    lines_hash: str


class AudioGenerated(Event):
    type: ClassVar[str] = "media.audio_generated.v1"
    about: ClassVar[str] = "session_id"

    job_id: str
    session_id: str
    user_id: str | None = None
    audio_key: str
    duration_ms: int
    loudness_lufs: float
    true_peak_dbtp: float
    bytes: int
    sha256: str


class AudioFailed(Event):
    type: ClassVar[str] = "media.audio_failed.v1"
    about: ClassVar[str] = "session_id"

    job_id: str
    session_id: str
    user_id: str | None = None
    code: str
    message: str
    attempts: int


class UserDataErased(Event):
    """What this service held of a deleted user is gone from one store; ``counts`` says how much, by kind."""

    type: ClassVar[str] = "media.user_data_erased.v1"

    user_id: str
    deletion_id: str
    store: Literal["media", "storage"]
    counts: dict[str, int]
