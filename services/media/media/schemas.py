"""Bodies on the wire, as the shipped app sends and reads them."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from common.web.app import Instant, WireModel
from common.web.text import storable
from media.lines import MAX_LINE_CHARACTERS

UUID_SHAPE = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
"""Any version and variant digit: ids of the catalogue have impossible ones."""

MAXIMUM_LINES = 60

_STORABLE = BeforeValidator(storable)
Title = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=200), _STORABLE]
Word = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, max_length=60), _STORABLE]
Voice = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=60), _STORABLE]
Wish = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, max_length=500), _STORABLE]
Line = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=MAX_LINE_CHARACTERS),
    _STORABLE,
]


class DraftSession(WireModel):
    """The body of POST /sessions. The Home card sends no ``localDraftId`` and a goal tag in display form."""

    local_draft_id: Annotated[str, Field(pattern=UUID_SHAPE)] | None = None
    title: Title
    goal_tag: Word | None = None
    affirmations: Annotated[list[Line], Field(min_length=1, max_length=MAXIMUM_LINES)]
    voice_id: Voice
    pace: Literal["slow"] = "slow"
    solfeggio_hz: Annotated[float, Field(ge=1, le=20000, allow_inf_nan=False)] | None = None


class SessionAudioView(WireModel):
    affirmations_merged_url: str
    affirmations_hash: str
    generated_at: Instant


class SessionView(WireModel):
    """SessionV3."""

    nullable: ClassVar[frozenset[str]] = frozenset({"ownerUserId"})

    schema_version: Literal[3] = 3
    id: str
    owner_user_id: str | None
    source: str
    title: str
    goal_tag: str | None = None
    affirmations: list[str]
    voice_id: str
    pace: Literal["slow"] = "slow"
    frequency_hz: float | None = None
    brainwave_state: str | None = None
    solfeggio_hz: float | None = None
    audio: SessionAudioView | None = None
    created_at: Instant
    updated_at: Instant


class CreatedSessionView(SessionView):
    audio_job_id: str | None = Field(None, alias="_audioJobId")


class SessionSummary(WireModel):
    nullable: ClassVar[frozenset[str]] = frozenset({"goalTag"})

    id: str
    title: str
    goal_tag: str | None


class SessionPage(WireModel):
    sessions: list[SessionSummary]
    limit: int
    offset: int
    has_more: bool


class AudioState(WireModel):
    status: Literal["ready", "pending"]
    job_id: str | None = None


class JobView(WireModel):
    """A job as the app polls it; its nullable columns are sent as null."""

    nullable: ClassVar[frozenset[str]] = frozenset(
        {"result", "error", "startedAt", "finishedAt", "sessionId", "userId"}
    )

    id: str
    type: Literal["ensure-audio"] = "ensure-audio"
    status: str
    stage: str
    percent: int
    payload: str
    result: str | None
    error: str | None
    attempts: int
    retry_after_seconds: int | None = None
    session_id: str | None
    user_id: str | None
    started_at: Instant | None
    finished_at: Instant | None
    created_at: Instant
    updated_at: Instant


class JobAnswer(WireModel):
    job: JobView


class PlatformUrls(WireModel):
    ios: str
    android: str


class Background(WireModel):
    url_by_platform: PlatformUrls
    loop: Literal[True] = True


class Tone(WireModel):
    url_by_platform: PlatformUrls
    loop: Literal[True] = True
    hz: float


class Mix(WireModel):
    affirmations: float = 1
    binaural: float = 0.05
    background: float = 0.3


class Loudness(WireModel):
    affirmations_lufs: float | None = Field(None, alias="affirmationsLUFS")


class SegmentView(WireModel):
    start_ms: int
    end_ms: int


class VoiceActivity(WireModel):
    segments: list[SegmentView]


class PlaybackBundle(WireModel):
    """PlaybackBundleVM: exactly one of ``binaural`` and ``solfeggio``."""

    session_id: str
    affirmations_merged_url: str
    background: Background
    binaural: Tone | None = None
    solfeggio: Tone | None = None
    mix: Mix = Mix()
    effective_affirmation_spacing_ms: int
    loudness: Loudness
    voice_activity: VoiceActivity


class BundleAnswer(WireModel):
    bundle: PlaybackBundle


class LimitsView(WireModel):
    daily_generations: int
    max_session_length_sec: int
    offline_downloads: bool


class EntitlementView(WireModel):
    """EntitlementV3."""

    plan: Literal["free", "pro"]
    status: str
    renews_at: Instant | None = None
    source: str
    limits: LimitsView
    can_create_session: bool
    can_generate_audio: bool
    remaining_free_generations_today: int
    max_session_length_sec_effective: int


class StartAnswer(WireModel):
    bundle: PlaybackBundle
    entitlement: EntitlementView


class GenerateRequest(WireModel):
    """The body of POST /affirmations/generate; everything is optional, and none of it is an instruction."""

    session_type: Word = "Meditate"
    goal: Wish | None = None
    struggle: Wish | None = None
    count: Annotated[int, Field(ge=0, le=24)] = 4


class GeneratedAffirmations(WireModel):
    affirmations: list[str]


class VoiceView(WireModel):
    id: str
    name: str
    description: str


class VoicesAnswer(WireModel):
    voices: list[VoiceView]


class Success(WireModel):
    success: Literal[True] = True
