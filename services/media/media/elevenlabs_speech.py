"""ElevenLabs' text to speech."""

from __future__ import annotations

from collections.abc import Mapping

from common.web.client import HttpClient
from media.provider_speech import PROVIDER_RATE, ProviderSpeech, SpeechRequest
from media.speech import FIRST_TAKE, Take

MODEL = "eleven_multilingual_v2"
SLOWEST, QUICKEST = 0.7, 1.2


class ElevenLabsSpeech(ProviderSpeech):
    """``base_url`` is the host, without a version."""

    name = "elevenlabs"
    voices: Mapping[str, str] = {
        "nova": "EXAVITQu4vr4xnSDxMaL",
        "shimmer": "pFZP5JQG7iQjIQuC4Bku",
        "alloy": "21m00Tcm4TlvDq8ikWAM",
        "onyx": "nPczCjzI2devNBz1zQrb",
        "echo": "JBFqnCBsd6RMkjVDRZzb",
        "fable": "XB0fDUnXU5powFXDhCwa",
    }
    """Six of the voices every account has."""

    def __init__(self, base_url: str, key: str, http: HttpClient | None = None) -> None:
        super().__init__(http)
        self._url = f"{base_url.rstrip('/')}/v1/text-to-speech"
        self._headers = {"xi-api-key": key}

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
