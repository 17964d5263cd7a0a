"""ElevenLabs' text to speech."""

from __future__ import annotations

from collections.abc import Mapping

from common.web.client import HttpClient
from media.elevenlabs_voices import DEFAULT_VOICES
from media.provider_speech import PROVIDER_RATE, ProviderSpeech, SpeechRequest
from media.speech import FIRST_TAKE, Take

MODEL = "eleven_multilingual_v2"
SLOWEST, QUICKEST = 0.7, 1.2


class ElevenLabsSpeech(ProviderSpeech):
    """``base_url`` is the host, without a version; ``voices`` are ElevenLabs' ids in place of the default ones."""

    name = "elevenlabs"

    def __init__(
        self, base_url: str, key: str, http: HttpClient | None = None, *, voices: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(http)
        self._url = f"{base_url.rstrip('/')}/v1/text-to-speech"
        self._headers = {"xi-api-key": key}
        self.voices: Mapping[str, str] = {**DEFAULT_VOICES, **(voices or {})}

    def request(self, text: str, voice: str, take: Take) -> SpeechRequest:
        first = take == FIRST_TAKE
        body = {
            "text": text,
            "model_id": MODEL,
            "seed": take.seed,
            "voice_settings": {
                "stability": 0.25 if first else 0.2,
                "similarity_boost": 0.5 if first else 0.45,
                "speed": round(min(QUICKEST, max(SLOWEST, take.speed)), 3),
            },
        }
        url = f"{self._url}/{self.voices[voice]}?output_format=pcm_{PROVIDER_RATE}"
        return SpeechRequest(url, self._headers, body)
