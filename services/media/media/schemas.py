"""Bodies on the wire, as the shipped app sends and reads them."""

import json
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from common.contracts.media import SessionSource
from common.web.app import Instant, WireModel
from common.web.numbers import WHOLE, Count
from common.web.text import NO_NUL, NOT_BLANK, Url, UserIdText, one_of, storable
from media import curation
from media.ids import UUID_SHAPE
from media.lines import MAX_LINE_CHARACTERS

MAXIMUM_LINES = 60

_STORABLE = BeforeValidator(storable)
_MAY_BE_BLANK, _MUST_SAY_SOMETHING = (Field(json_schema_extra={"pattern": rule}) for rule in (NO_NUL, NOT_BLANK))
Title = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=200),
    _MUST_SAY_SOMETHING,
    _STORABLE,
]
Word = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, max_length=60), _MAY_BE_BLANK, _STORABLE]
Voice = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=60),
    _MUST_SAY_SOMETHING,
    _STORABLE,
]
Wish = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, max_length=500), _MAY_BE_BLANK, _STORABLE]
Line = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=MAX_LINE_CHARACTERS),
    _MUST_SAY_SOMETHING,
    _STORABLE,
]

EXAMPLE_SESSION = "6d7ec05c-c301-55da-b735-9da127dc779a"
"""In the published API: a session of the catalogue, so that it can be tried."""
Uuid = Annotated[str, Field(pattern=UUID_SHAPE, examples=[EXAMPLE_SESSION])]
JobId = Annotated[str, Field(pattern=UUID_SHAPE, examples=["0b9c1f0e-6f2a-4c57-9d5f-3d1b6f0f5f10"])]
AudioUrl = Annotated[Url, Field(examples=["https://cdn.example.com/audio/1.m4a?Signature=abc"])]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", examples=["5e" * 32])]
Hz = Annotated[float, Field(ge=1)]
Words = Annotated[str, Field(min_length=1, examples=["I speak calmly and take my time."])]


class DraftSession(WireModel):
    """The body of POST /sessions. The Home card sends no ``localDraftId`` and a goal tag in display form.

    Each line needs words that an English voice can say, and no letters of other scripts.
    """

    local_draft_id: Annotated[str, Field(pattern=UUID_SHAPE)] | None = None
    title: Annotated[Title, Field(examples=["Calm before the meeting"])]
    goal_tag: Word | None = Field(None, examples=["focus"])
    affirmations: Annotated[
        list[Line],
        Field(
            min_length=1,
            max_length=MAXIMUM_LINES,
            examples=[["I speak calmly and take my time.", "I trust what I have prepared."]],
        ),
    ]
    voice_id: Annotated[Voice, Field(examples=["nova"])]
    pace: Literal["slow"] = "slow"
    solfeggio_hz: Annotated[float, Field(strict=True, ge=1, le=20000, allow_inf_nan=False)] | None = None


class SessionAudioView(WireModel):
    affirmations_merged_url: AudioUrl
    affirmations_hash: Sha256
    generated_at: Instant


class SessionView(WireModel):
    """SessionV3."""

    nullable: ClassVar[frozenset[str]] = frozenset({"ownerUserId"})

    schema_version: Literal[3] = 3
    id: Uuid
    owner_user_id: UserIdText | None
    source: Annotated[str, one_of(*get_args(SessionSource))]
    title: Words
    goal_tag: str | None = Field(None, examples=["focus"])
    affirmations: Annotated[list[Words], Field(min_length=1)]
    voice_id: Annotated[str, Field(min_length=1, examples=["nova"])]
    pace: Literal["slow"] = "slow"
    frequency_hz: Hz | None = Field(None, examples=[13.5])
    brainwave_state: Annotated[str, one_of("Delta", "Theta", "Alpha", "SMR", "Beta")] | None = Field(
        None, examples=["SMR"]
    )
    solfeggio_hz: Hz | None = None
    audio: SessionAudioView | None = None
    created_at: Instant
    updated_at: Instant


class CreatedSessionView(SessionView):
    audio_job_id: JobId | None = Field(None, alias="_audioJobId")


class SessionSummary(WireModel):
    nullable: ClassVar[frozenset[str]] = frozenset({"goalTag"})

    id: Uuid
    title: Words
    goal_tag: Annotated[str, Field(examples=["focus"])] | None


class SessionPage(WireModel):
    sessions: list[SessionSummary]
    limit: Annotated[int, Field(ge=1, le=100, examples=[50])]
    offset: Annotated[Count, Field(examples=[0])]
    has_more: bool


class AudioState(WireModel):
    """`jobId` is there while the audio is not."""

    status: Annotated[Literal["ready", "pending"], Field(examples=["pending"])]
    job_id: JobId | None = None


class JobView(WireModel):
    """A job as the app polls it; its nullable columns are sent as null."""

    nullable: ClassVar[frozenset[str]] = frozenset(
        {"result", "error", "startedAt", "finishedAt", "sessionId", "userId"}
    )

    id: JobId
    type: Literal["ensure-audio"] = "ensure-audio"
    status: Annotated[
        str,
        Field(examples=["processing"], json_schema_extra={"enum": ["pending", "processing", "completed", "failed"]}),
    ]
    stage: Annotated[str, Field(examples=["speaking"])]
    percent: Annotated[int, Field(ge=0, le=100, examples=[40])]
    payload: Annotated[str, Field(examples=[f'{{"sessionId": "{EXAMPLE_SESSION}"}}'])]
    """JSON, as text."""
    result: Annotated[str, Field(examples=[f'{{"sessionId": "{EXAMPLE_SESSION}"}}'])] | None
    error: Annotated[str, Field(examples=["The audio could not be made."])] | None
    attempts: Count
    retry_after_seconds: Count | None = Field(None, examples=[1])
    session_id: Uuid | None
    user_id: UserIdText | None
    started_at: Instant | None
    finished_at: Instant | None
    created_at: Instant
    updated_at: Instant


class JobAnswer(WireModel):
    job: JobView


class PlatformUrls(WireModel):
    ios: AudioUrl
    android: AudioUrl


class Background(WireModel):
    url_by_platform: PlatformUrls
    loop: Literal[True] = True


class Tone(WireModel):
    url_by_platform: PlatformUrls
    loop: Literal[True] = True
    hz: Hz


Level = Annotated[float, Field(ge=0, le=1)]


class Mix(WireModel):
    affirmations: Level = 1
    binaural: Level = 0.05
    background: Level = 0.3


class Loudness(WireModel):
    """Measured on the decoded files, the beds' as they are made; the gain of ``mix`` is not in it."""

    affirmations_lufs: float | None = Field(None, alias="affirmationsLUFS", examples=[-20.0])
    background_lufs: float | None = Field(None, alias="backgroundLUFS", examples=[-32.2])
    binaural_lufs: float | None = Field(None, alias="binauralLUFS", examples=[-34.0])
    solfeggio_lufs: float | None = Field(None, alias="solfeggioLUFS")


class SegmentView(WireModel):
    start_ms: Annotated[Count, Field(examples=[500])]
    end_ms: Annotated[Count, Field(examples=[3100])]


class VoiceActivity(WireModel):
    segments: list[SegmentView]


_EXAMPLE_URL = "https://cdn.example.com/audio/binaural/alpha_10hz_400_3min.m4a"
_TONE = {"urlByPlatform": {"ios": _EXAMPLE_URL, "android": _EXAMPLE_URL}, "loop": True, "hz": 10}


class PlaybackBundle(WireModel):
    """PlaybackBundleVM: exactly one of ``binaural`` and ``solfeggio``."""

    session_id: Uuid
    affirmations_merged_url: AudioUrl
    background: Background
    binaural: Tone | None = Field(None, examples=[_TONE])
    solfeggio: Tone | None = None
    mix: Mix = Mix()
    effective_affirmation_spacing_ms: Annotated[Count, Field(examples=[4000])]
    loudness: Loudness
    voice_activity: VoiceActivity


class BundleAnswer(WireModel):
    bundle: PlaybackBundle


Limit = Annotated[int, Field(ge=0, le=2**53 - 1, examples=[2])]
"""The largest means that there is none."""


class LimitsView(WireModel):
    daily_generations: Limit
    max_session_length_sec: Limit
    offline_downloads: bool


class EntitlementView(WireModel):
    """EntitlementV3."""

    plan: Literal["free", "pro"]
    status: Annotated[str, one_of("active", "grace", "expired", "unknown")]
    renews_at: Instant | None = None
    source: Annotated[str, one_of("apple", "google", "stripe", "internal", "revenuecat")]
    limits: LimitsView
    can_create_session: bool
    can_generate_audio: bool
    remaining_free_generations_today: Limit
    max_session_length_sec_effective: Limit


class StartAnswer(WireModel):
    bundle: PlaybackBundle
    entitlement: EntitlementView


class GenerateRequest(WireModel):
    """The body of POST /affirmations/generate; everything is optional, and none of it is an instruction."""

    session_type: Word = "Meditate"
    goal: Wish | None = Field(None, examples=["speak calmly in front of my team"])
    struggle: Wish | None = Field(None, examples=["I doubt myself before I speak."])
    values: list[Word] = Field([], max_length=20, examples=[["courage", "growth"]])
    """What the person values, in words; beside the goal, when the app knows it."""
    count: Annotated[int, Field(strict=True, ge=0, le=24, examples=[6]), WHOLE] = 4


class GeneratedAffirmations(WireModel):
    affirmations: list[Words]


class VoiceView(WireModel):
    id: Annotated[str, Field(examples=["nova"])]
    name: Annotated[str, Field(examples=["Nova"])]
    description: Annotated[str, Field(examples=["Warm and even; the default"])]


class VoicesAnswer(WireModel):
    voices: list[VoiceView]


MAXIMUM_DETAILS = 2000
"""Characters of an event's metadata as JSON."""


def _bounded(details: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(details, ensure_ascii=False)
    if len(text) > MAXIMUM_DETAILS:
        raise ValueError(f"has {len(text)} characters of JSON; {MAXIMUM_DETAILS} are kept")
    storable(text.replace("\\u0000", "\0"))
    return details


class ListeningEventRequest(WireModel):
    """The body of POST /sessions/{id}/events."""

    event_type: curation.ListeningKind
    metadata: Annotated[dict[str, Any], AfterValidator(_bounded)] | None = Field(
        None, examples=[{"source": "curation_card", "cardSlot": "tonight"}]
    )


class CardView(WireModel):
    """CurationCard."""

    slot: Annotated[str, one_of(*get_args(curation.Slot))]
    title: Words
    duration: Annotated[Count, Field(examples=[600])]
    """Seconds."""
    voice_id: Annotated[str, Field(examples=["nova"])]
    brain_layer_type: Literal["binaural"] = "binaural"
    brain_layer_preset: Annotated[str, one_of(*get_args(curation.Preset))]
    background_id: Annotated[str, one_of("calm", "night")]
    why_text: Words | None = None


class CardsAnswer(WireModel):
    cards: list[CardView]


class TuneRequest(WireModel):
    """The body of POST /me/curation/preferences: what is left out stays as it is."""

    primary_goal: curation.Goal | None = None
    voice_preference: curation.VoicePreference | None = None
    sound_preference: curation.SoundPreference | None = None


class CurationPreferences(WireModel):
    nullable: ClassVar[frozenset[str]] = frozenset({"primaryGoal", "voicePreference", "soundPreference"})

    user_id: UserIdText
    primary_goal: Annotated[str, one_of(*get_args(curation.Goal))] | None
    voice_preference: Annotated[str, one_of(*get_args(curation.VoicePreference))] | None
    sound_preference: Annotated[str, one_of(*get_args(curation.SoundPreference))] | None
    created_at: Instant
    updated_at: Instant


class CurationPreferencesAnswer(WireModel):
    """`preferences` is null for a user who has said nothing."""

    nullable: ClassVar[frozenset[str]] = frozenset({"preferences"})

    preferences: CurationPreferences | None


class Success(WireModel):
    success: Literal[True] = True
