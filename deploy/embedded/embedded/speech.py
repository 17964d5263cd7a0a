"""A stand-in for the speech providers: OpenAI's `/v1/audio/speech` and ElevenLabs' `/v1/text-to-speech/{voice}`.

Every word is a short hum, so that a read has the length, the pauses and the loudness of speech; voices hum apart.
"""

import hashlib
from typing import Any

import numpy as np
from aiohttp import web

from embedded.faults import FaultList
from embedded.local_server import LocalServer, bearer_token

RATE = 24_000
WORD_SECONDS, GAP_SECONDS, EDGE_SECONDS = 0.3, 0.08, 0.25


class SpeechStandIn(LocalServer):
    """``asked`` keeps every request as (path, body). Faults: ``faults``, and the next bodies that are not whole:
    ``breaks_off`` (half the promised bytes), ``sends`` (these bytes instead of speech).
    """

    def __init__(self, port: int = 0, *, api_key: str = "sk-stand-in") -> None:
        super().__init__(port)
        self.api_key = api_key
        self.further_keys: set[str] = set()
        """Accepted too, as an account's other keys are."""
        self.faults = FaultList()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._broken = 0
        self._instead: list[bytes] = []
        self.content_type = "audio/pcm"

    def breaks_off(self, times: int = 1) -> None:
        self._broken += times

    def sends(self, *bodies: bytes) -> None:
        self._instead.extend(bodies)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.faults.middleware])
        app.router.add_post("/v1/audio/speech", self._openai)
        app.router.add_post("/v1/text-to-speech/{voice}", self._elevenlabs)
        return app

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        if not self._accepts(bearer_token(request)):
            return web.json_response({"error": {"message": "Incorrect API key provided."}}, status=401)
        body = await request.json()
        if not body.get("input") or body.get("response_format") != "pcm" or len(body["input"]) > 4096:
            return web.json_response({"error": {"message": "Invalid input."}}, status=400)
        return await self._spoken(request, body, body["input"], body["voice"], body.get("speed", 1.0))

    async def _elevenlabs(self, request: web.Request) -> web.StreamResponse:
        if not self._accepts(request.headers.get("xi-api-key")):
            return web.json_response({"detail": {"status": "invalid_api_key"}}, status=401)
        body = await request.json()
        if not body.get("text") or request.query.get("output_format") != "pcm_24000":
            return web.json_response({"detail": [{"msg": "field required"}]}, status=422)
        speed = body["voice_settings"].get("speed", 1.0)
        return await self._spoken(request, body, body["text"], request.match_info["voice"], speed)

    def _accepts(self, key: str | None) -> bool:
        return key in {self.api_key, *self.further_keys}

    async def _spoken(
        self, request: web.Request, body: dict[str, Any], text: str, voice: str, speed: float
    ) -> web.StreamResponse:
        self.asked.append((request.path, body))
        sound = self._instead.pop(0) if self._instead else hum(text, voice, speed)
        response = web.StreamResponse(headers={"Content-Type": self.content_type, "Content-Length": str(len(sound))})
        await response.prepare(request)
        if self._broken:
            self._broken -= 1
            await response.write(sound[: len(sound) // 4 * 2])
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(sound)
        return response


def hum(text: str, voice: str, speed: float) -> bytes:
    """24 kHz 16-bit mono PCM."""
    pitch = 110 + hashlib.sha256(voice.encode()).digest()[0]
    word = np.arange(int(RATE * WORD_SECONDS / speed)) / RATE
    shape = np.sin(np.pi * np.arange(len(word)) / len(word)) ** 0.5
    tone = sum(np.sin(2 * np.pi * pitch * harmonic * word) / harmonic for harmonic in range(1, 12)) * shape
    gap, edge = (np.zeros(int(RATE * seconds)) for seconds in (GAP_SECONDS / speed, EDGE_SECONDS))
    parts = [part for _ in text.split() for part in (tone, gap)]
    sound = np.concatenate([edge, *parts, edge])
    pcm: bytes = (sound / np.abs(sound).max() * 12_000).astype("<i2").tobytes()
    return pcm
