"""Which engine speaks here, and which one takes over when a provider fails."""

from __future__ import annotations

from pathlib import Path

from media.elevenlabs_speech import ElevenLabsSpeech
from media.elevenlabs_voices import voices_named
from media.hibari_speech import HibariSpeech
from media.kokoro import KokoroSpeech
from media.openai_speech import OpenAISpeech
from media.settings import MediaSettings
from media.speech import Speech


def engine_named(name: str, settings: MediaSettings) -> Speech:
    """Settings have made sure that the engine has what it needs."""
    if name == "kokoro":
        return KokoroSpeech(Path(settings.media_kokoro_path))
    if name == "openai" and settings.openai_api_key is not None:
        key = settings.openai_api_key.get_secret_value()
        return OpenAISpeech(settings.openai_base_url, key, settings.openai_speech_model)
    if name == "elevenlabs" and settings.elevenlabs_api_key is not None:
        key = settings.elevenlabs_api_key.get_secret_value()
        return ElevenLabsSpeech(
            settings.elevenlabs_base_url, key, voices=voices_named(settings.elevenlabs_voices or "")
        )
    return HibariSpeech()
