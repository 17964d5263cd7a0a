"""From rows to what a player needs: URLs, levels, and when the voice speaks."""

from typing import Any, ClassVar

from common.db.uow import UnitOfWork
from common.errors import NotFound
from media.beds import DEFAULT_BACKGROUND_MEASURED_LUFS, TONE_MEASURED_LUFS, background_key, brain_layer
from media.delivery import AudioUrls
from media.grants import Grant, seal
from media.models import Entitlement, Session, SessionAudio
from media.plans import Plans
from media.queries import current_audio, entitlement_of, grant_keys, started_on, use_on
from media.quota import limits_of, subscribed
from media.schemas import (
    EXAMPLE_SESSION,
    Background,
    EntitlementView,
    LimitsView,
    Loudness,
    PlatformUrls,
    PlaybackBundle,
    SegmentView,
    SessionAudioView,
    Tone,
    VoiceActivity,
)

SPACING_MS = 4000
"""The pause after each line of the delivery pattern."""

_SOURCES = {"app_store": "apple", "mac_app_store": "apple", "play_store": "google", "stripe": "stripe"}


class AudioNotReady(NotFound):
    """The audio of this session is still being made."""

    code = "AUDIO_NOT_READY"
    sample_details: ClassVar[Any] = {"sessionId": EXAMPLE_SESSION}

    def __init__(self, session_id: str) -> None:
        super().__init__("The audio of this session is still being made.", details={"sessionId": session_id})


class Playback:
    """Builds playback bundles for this installation's plans, CDN and public address."""

    def __init__(self, plans: Plans, urls: AudioUrls, public_url: str) -> None:
        self.plans = plans
        self.urls = urls
        self._public_url = public_url.rstrip("/")

    async def voice_url(self, uow: UnitOfWork, session: Session, audio: SessionAudio, user_id: str) -> str:
        """The signed URL, or a play grant where hearing the session would be a start that has not been counted yet."""
        limits = await limits_of(uow, self.plans, user_id)
        counted = limits.counts_start(own=session.owner_user_id == user_id)
        if not counted or await started_on(uow, user_id, session.id, uow.now.date()):
            return await self.urls.url(audio.audio_key)
        return await self._grant_url(uow, session, user_id)

    async def _grant_url(self, uow: UnitOfWork, session: Session, user_id: str) -> str:
        token = seal(Grant(user_id, session.id), await grant_keys(uow), uow.now)
        return f"{self._public_url}/play/{token}"

    async def bundle(self, uow: UnitOfWork, session: Session, user_id: str) -> PlaybackBundle:
        """Raises AudioNotReady while there is no file."""
        audio = await current_audio(uow, session)
        if audio is None:
            raise AudioNotReady(session.id)
        layer = brain_layer(session.goal_tag, session.solfeggio_hz)
        tone = Tone(url_by_platform=await self._both(layer.key), hz=layer.hz)
        return PlaybackBundle(
            session_id=session.id,
            affirmations_merged_url=await self.voice_url(uow, session, audio, user_id),
            background=Background(url_by_platform=await self._both(background_key())),
            binaural=tone if layer.kind == "binaural" else None,
            solfeggio=tone if layer.kind == "solfeggio" else None,
            effective_affirmation_spacing_ms=SPACING_MS,
            loudness=Loudness(
                affirmations_lufs=round(audio.loudness_lufs, 2),
                background_lufs=DEFAULT_BACKGROUND_MEASURED_LUFS,
                binaural_lufs=TONE_MEASURED_LUFS if layer.kind == "binaural" else None,
                solfeggio_lufs=TONE_MEASURED_LUFS if layer.kind == "solfeggio" else None,
            ),
            voice_activity=VoiceActivity(segments=[SegmentView.model_validate(part) for part in audio.segments]),
        )

    async def audio_view(self, uow: UnitOfWork, session: Session, user_id: str) -> SessionAudioView | None:
        audio = await current_audio(uow, session)
        if audio is None:
            return None
        url = await self.voice_url(uow, session, audio, user_id)
        return SessionAudioView(
            affirmations_merged_url=url, affirmations_hash=audio.sha256, generated_at=audio.generated_at
        )

    async def entitlement(self, uow: UnitOfWork, user_id: str) -> EntitlementView:
        """The plan at this instant and what is left of today, from the table that enforces both."""
        row = await entitlement_of(uow, user_id)
        pro = subscribed(row, uow)
        limits = self.plans.limits(pro)
        use = await use_on(uow, user_id, uow.now.date())
        used = use.starts if limits.counted == "starts" else use.creations
        remaining = limits.remaining(used)
        return EntitlementView(
            plan="pro" if pro else "free",
            status=_status(row, pro),
            renews_at=row.renews_at if row is not None and pro else None,
            source=_SOURCES.get(row.store or "", "revenuecat") if row is not None and pro else "internal",
            limits=LimitsView(
                daily_generations=limits.daily,
                max_session_length_sec=limits.session_seconds,
                offline_downloads=limits.offline_downloads,
            ),
            can_create_session=limits.own_sessions and remaining > 0,
            can_generate_audio=remaining > 0,
            remaining_free_generations_today=remaining,
            max_session_length_sec_effective=limits.session_seconds,
        )

    async def _both(self, key: str) -> PlatformUrls:
        url = await self.urls.url(key)
        return PlatformUrls(ios=url, android=url)


def _status(row: Entitlement | None, pro: bool) -> str:
    if row is None:
        return "active"
    if pro:
        return row.status
    return "expired" if row.plan == "pro" or row.status == "expired" else "active"
