"""OpenAI's speech endpoint, or one that speaks like it."""

from __future__ import annotations

from collections.abc import Mapping

from common.web.client import HttpClient
from media.provider_speech import ProviderSpeech, SpeechRequest
from media.speech import FIRST_TAKE, Take

_MANNER = "Speak slowly and warmly, close to the listener, evenly, with a falling melody at the end."
_ONCE_MORE = "Say it once more, as if it had just come true: a little lower, softer and slower than before."
VOICES = ("nova", "shimmer", "alloy", "onyx", "echo", "fable")


class OpenAISpeech(ProviderSpeech):
    """``base_url`` as OpenAI's clients take it, with the ``/v1``."""

    name = "openai"
    voices: Mapping[str, str] = {one: one for one in VOICES}

    def __init__(self, base_url: str, key: str, model: str, http: HttpClient | None = None) -> None:
        super().__init__(http)
        self._url = f"{base_url.rstrip('/')}/audio/speech"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._model = model

    def request(self, text: str, voice: str, take: Take) -> SpeechRequest:
        body = {
            "model": self._model,
            "voice": self.voices[voice],
            "input": text,
            "response_format": "pcm",
            "speed": round(take.speed, 3),
        }
        if not self._model.startswith("tts-1"):  # those two take no instructions, and the others no speed to speak of
            body["instructions"] = _MANNER if take == FIRST_TAKE else f"{_MANNER} {_ONCE_MORE}"
        return SpeechRequest(self._url, self._headers, body)
