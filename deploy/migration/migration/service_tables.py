"""The services' tables that rows are moved to: their columns as this tool writes them, and what rows are known by."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any


@dataclass(frozen=True, slots=True)
class ServiceTable:
    """A table of a service. ``types`` are PostgreSQL's, in the order of the columns; ``key`` columns come first.

    ``settled`` columns stay as they were moved until their owner changes them: these are compared. The others a service
    counts on by itself.
    """

    schema: str
    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: int = 1
    unsettled: tuple[str, ...] = ()
    user: str | None = None
    """The column that names whose row it is."""
    session: str | None = None
    """The column that names the session with which the row comes, or not at all."""
    parent: tuple[str, str] | None = None
    """The column that must find its parent, and the parent's table in the same schema."""

    @property
    def full_name(self) -> str:
        """For SQL, and in the archive's book of conflicts."""
        return f'{self.schema}."{self.name}"'

    @property
    def shown_name(self) -> str:
        """For reports."""
        return f"{self.schema}.{self.name}"

    @property
    def settled(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name not in self.unsettled)

    def settled_of(self, rows: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        """The settled columns of whole rows."""
        if not self.unsettled:
            return rows
        places = [place for place, name in enumerate(self.columns) if name not in self.unsettled]
        return list(map(itemgetter(*places), rows))


def _service_table(schema: str, name: str, columns: str, **more: Any) -> ServiceTable:
    pairs = [word.partition(":") for word in columns.split()]
    kinds = {"": "text", "at": "timestamptz", "int": "bigint", "float": "double precision"}
    types = tuple(kinds.get(kind, kind) for _, _, kind in pairs)
    return ServiceTable(schema, name, tuple(name for name, _, _ in pairs), types, **more)


USER = _service_table(
    "identity",
    "user",
    "id issuer email struggle version:int lookup_at:at created_at:at updated_at:at",
    unsettled=("version", "lookup_at"),
    user="id",
)
USER_VALUE = _service_table(
    "identity",
    "user_value",
    "id user_id value_id value_text rank:int position:int created_at:at updated_at:at",
    user="user_id",
    parent=("user_id", "user"),
)
PREFERENCES = _service_table(
    "identity",
    "preferences",
    "user_id schema_version:int document created_at:at updated_at:at",
    user="user_id",
    parent=("user_id", "user"),
)
SESSION = _service_table(
    "media",
    "session",
    "id owner_user_id source title goal_tag voice_id frequency_hz:float brainwave_state solfeggio_hz:float lines_hash"
    " version:integer created_at:at updated_at:at",
    unsettled=("version",),
    user="owner_user_id",
)
SESSION_LINE = _service_table(
    "media",
    "session_line",
    "session_id position:integer text",
    key=2,
    session="session_id",
    parent=("session_id", "session"),
)
SESSION_AUDIO = _service_table(
    "media",
    "session_audio",
    "session_id audio_key lines_hash duration_ms:integer loudness_lufs:float true_peak_dbtp:float size_bytes:integer"
    " sha256 engine segments:jsonb generated_at:at",
    session="session_id",
    parent=("session_id", "session"),
)
CURATION_PROFILE = _service_table(
    "media",
    "curation_profile",
    "user_id primary_goal voice_preference sound_preference created_at:at updated_at:at",
    user="user_id",
)
LISTENING_EVENT = _service_table(
    "media",
    "listening_event",
    "id:int user_id session_id kind details:jsonb occurred_at:at",
    user="user_id",
    parent=("session_id", "session"),
)
REFRESH = _service_table(
    "billing",
    "refresh",
    "user_id due_at:at version:int attempts:integer readings_again:integer cause_kind cause",
    user="user_id",
)
JOB = _service_table(
    "media",
    "job",
    "id session_id user_id lines_hash status stage percent:integer attempts:integer available_at:at created_at:at"
    " updated_at:at",
    session="session_id",
    parent=("session_id", "session"),
)
OUTBOX = _service_table("media", "outbox", "message_id:uuid type subject body", session="subject")
