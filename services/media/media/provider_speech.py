"""Speech by a provider over HTTP: called from rendering threads, spoken on the process's own event loop.

A provider that fails is asked again within bounds; what it sends is believed only when it can be the speech of that
text. Nothing else ever takes its place here: whoever wants another engine then, sets one up.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import numpy as np
import soxr
from prometheus_client import Counter

from common.observability import logger
from common.web.client import Answer, CallFailed, HttpClient, Patience
from media.samples import RATE, Samples, audible_span
from media.speech import DEFAULT_VOICE, FIRST_TAKE, SECOND_TAKE, SpeechUnavailable, Take, Unspeakable

PROVIDER_RATE = 24_000
PATIENCE = Patience(connect=3.0, read=15.0, total=20.0)
READ_SECONDS = 25.0
"""For one read with all its attempts: a worker that is told to stop waits for the reads in hand."""
ATTEMPTS = 2
"""At a read whose sound cannot be what was asked for; failed calls are repeated by the client besides."""
SHORTEST_WORD, LONGEST_WORD, LONGEST_SIGN, LONGEST_PAUSE = 0.08, 2.0, 0.6, 4.0
"""Seconds; a read outside of what its words can take is cut off, or is something else. Of figures and addresses each
sign may be said.
"""
_OTHER_FILES = (b"RIFF", b"OggS", b"fLaC", b"ID3")
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
READS = Counter("media_provider_reads_total", "Reads by speech providers", ["provider", "outcome"])
log = logger("media.speech")


class KeyRefused(SpeechUnavailable):
    """No attempt can succeed before an operator has seen to the provider's key."""

    final = True


class NoSpeech(SpeechUnavailable):
    """What the provider sent cannot be this text's speech."""


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One POST: where, with which headers, and what JSON."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


class ProviderSpeech(ABC):
    """Answers 24 kHz 16-bit mono PCM. ``async with`` opens it for the threads of this loop's process."""

    name: str
    voices: Mapping[str, str]
    """The provider's voice for each of ours."""

    def __init__(self, http: HttpClient | None = None) -> None:
        self._http = http or HttpClient(self.name, patience=PATIENCE, retries=2, sockets=8)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop = None
        await self._http.__aexit__(kind, error, trace)

    @cached_property
    def version(self) -> str:
        """Of everything that shapes the sound: what is sent for a fixed text, without the key."""
        asked = [
            self.request("text", voice, take) for voice in sorted(self.voices) for take in (FIRST_TAKE, SECOND_TAKE)
        ]
        shape = [(one.url.rpartition("/")[2], one.body) for one in asked]
        return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:12]

    def voice(self, requested: str) -> str:
        known = requested.strip().lower()
        return known if known in self.voices else DEFAULT_VOICE

    def warm_up(self) -> None:
        """Does nothing: a call made for nothing would be paid for."""
        return

    def read(self, text: str, voice: str, take: Take) -> Samples:
        """Raises Unspeakable for what the provider refuses to say, SpeechUnavailable when it cannot be had."""
        if self._loop is None:
            raise RuntimeError(f"{self.name} is not open")
        return asyncio.run_coroutine_threadsafe(self._read(text, voice, take), self._loop).result()

    @abstractmethod
    def request(self, text: str, voice: str, take: Take) -> SpeechRequest:
        """What is asked of the provider for one read."""

    async def _read(self, text: str, voice: str, take: Take) -> Samples:
        asked = self.request(text, self.voice(voice), take)
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._believable(text, asked)
        except TimeoutError:
            raise SpeechUnavailable(f"{self.name}: no speech within {READ_SECONDS:g} s") from None

    async def _believable(self, text: str, asked: SpeechRequest) -> Samples:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                samples = await self._asked(text, asked)
            except NoSpeech as problem:
                READS.labels(self.name, "no_speech").inc()
                log.warning("no_speech", provider=self.name, problem=str(problem), attempt=attempt)
                if attempt == ATTEMPTS:
                    raise
            else:
                READS.labels(self.name, "spoken").inc()
                return samples
        raise AssertionError("at least one attempt is made")

    async def _asked(self, text: str, asked: SpeechRequest) -> Samples:
        body = json.dumps(asked.body).encode()
        headers = {**asked.headers, "Content-Type": "application/json"}
        try:
            # said twice, it costs twice and changes nothing
            answer = await self._http.call("POST", asked.url, headers=headers, body=body, repeatable=True)
        except CallFailed as error:
            READS.labels(self.name, error.outcome).inc()
            raise SpeechUnavailable(str(error)) from error
        return await asyncio.to_thread(_heard, text, self._accepted(answer))

    def _accepted(self, answer: Answer) -> bytes:
        if answer.status == 200:
            return _pcm(answer)
        READS.labels(self.name, str(answer.status)).inc()
        if answer.status in (401, 403):
            log.error("speech_key_refused", provider=self.name, status=answer.status, remedy="check its API key")
            raise KeyRefused(f"{self.name}: the key is refused")
        if answer.status in (400, 422):
            raise Unspeakable("The voice does not take this line.")
        raise SpeechUnavailable(f"{self.name}: status {answer.status}")


def _pcm(answer: Answer) -> bytes:
    """The body, where it can be what was asked for. Raises NoSpeech."""
    kind = answer.headers.get("Content-Type", "").lower()
    rate = re.search(r"rate=(\d+)", kind)
    if kind.startswith("text/") or "json" in kind or (rate and int(rate[1]) != PROVIDER_RATE):
        raise NoSpeech(f"{kind[:80]} instead of PCM at {PROVIDER_RATE} Hz")
    body = answer.body
    start = body[:32].lstrip()
    # a file or a message under the wrong name; one byte proves nothing, sound may begin with any
    if len(body) % 2 or body.startswith(_OTHER_FILES) or (start and start.isascii() and start.decode().isprintable()):
        raise NoSpeech(f"{len(body)} bytes that are not 16-bit PCM")
    return body


def _heard(text: str, pcm: bytes) -> Samples:
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
    start, end = audible_span(samples)
    seconds = (end - start) / PROVIDER_RATE
    least, most = _plausible_seconds(text)
    if not least <= seconds <= most:
        raise NoSpeech(f"{seconds:.2f} s of sound for what takes {least:.1f} to {most:.1f} s")
    return np.asarray(soxr.resample(samples, PROVIDER_RATE, RATE, quality="HQ"), np.float32)


def _plausible_seconds(text: str) -> tuple[float, float]:
    """How short and how long a read of ``text`` may be."""
    said = [token.strip(".,;:!?\"'()-") for token in text.split() if any(map(str.isalnum, token))]
    longest = [
        LONGEST_WORD if _WORD.fullmatch(token) else max(LONGEST_WORD, LONGEST_SIGN * len(token)) for token in said
    ]
    return len(said) * SHORTEST_WORD, sum(longest) + LONGEST_PAUSE
