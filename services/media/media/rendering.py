"""A session's lines as one m4a: `[500 ms] (read 1 · 1500 ms · read 2 · 4000 ms) × lines [759 ms]`, looped without end.

The pauses are exact. Only the tail is longer than its 750 ms, because a file is a whole number of AAC frames.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from media import aac, m4a
from media.gate import ENDING, TAIL_FRAMES, require_pattern, require_sound_in_place
from media.line_audio import (
    CEILING_DBTP,
    LEAD,
    PAUSE,
    REST,
    START,
    TARGET_LUFS,
    BadRender,
    LineAudio,
    line_key,
    silent_frames_after,
)
from media.lines import normalise
from media.loudness import CELL, Cells, integrated
from media.memory import give_back
from media.samples import FRAME, RATE, milliseconds
from media.speech import Speech, Unspeakable
from media.studio import LineCache, Studio

LOUDNESS_TOLERANCE_LU = 0.5
_LEAD_FRAMES = LEAD // FRAME
_SPEAKING_PERCENT, _CHECKING_PERCENT = 95, 98

Progress = Callable[[str, int], None]
"""Told the stage ("speaking", "joining", "checking") and percent, from the thread that called `render`."""


@dataclass(frozen=True)
class Segment:
    """Where a read is heard in the file, in whole milliseconds, lead-in included."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Rendering:
    """A finished file and what was measured on its decoded sound. `seconds` is how long rendering took."""

    m4a: bytes = field(repr=False)
    samples: int
    segments: tuple[Segment, ...]
    loudness_lufs: float
    true_peak_dbtp: float
    sha256: str
    engine: str
    voice: str
    line_keys: tuple[str, ...]
    lines_spoken: int
    seconds: float
    sample_rate: int = RATE

    @property
    def duration_ms(self) -> int:
        return round(milliseconds(self.samples))

    def certificate(self) -> dict[str, Any]:
        """What is kept as JSON beside the file."""
        return {
            "version": 1,
            "sha256": self.sha256,
            "bytes": len(self.m4a),
            "codec": aac.VOICE.identity,
            "sampleRate": self.sample_rate,
            "samples": self.samples,
            "durationMs": self.duration_ms,
            "loudness": {
                "method": "ITU-R BS.1770-4, one channel heard on both loudspeakers, on the decoded sound",
                "integratedLufs": round(self.loudness_lufs, 2),
                "truePeakDbtp": round(self.true_peak_dbtp, 2),
                "targetLufs": TARGET_LUFS,
                "ceilingDbtp": CEILING_DBTP,
            },
            "pausesMs": {name: milliseconds(value) for name, value in _PAUSES.items()},
            "segments": [{"startMs": segment.start_ms, "endMs": segment.end_ms} for segment in self.segments],
            "engine": self.engine,
            "voice": self.voice,
            "lines": list(self.line_keys),
            "linesSpoken": self.lines_spoken,
            "seconds": round(self.seconds, 3),
        }


_PAUSES: Mapping[str, int] = {
    "lead": LEAD,
    "betweenReads": PAUSE,
    "afterLine": REST,
    "tail": ENDING,
}


def render(
    lines: Sequence[str],
    voice: str,
    speech: Speech,
    *,
    on_progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    line_cache: LineCache | None = None,
    threads: int = 2,
) -> Rendering:
    """Renders, joins, measures and checks a session; `threads` reads are made at once.

    Raises Unspeakable (with the index of the line), BadRender, RenderCancelled, and whatever the engine or the cache
    raises. What is refused is never cached.
    """
    began = time.perf_counter()
    texts = _normalised(lines)
    keys = _keys(texts, voice, speech)
    progress = on_progress or _unheard

    def read_done(done: int, total: int) -> None:
        progress("speaking", _SPEAKING_PERCENT * done // total)

    studio = Studio(voice, speech, line_cache, read_done, cancelled or _never, threads)
    ready, spoken = studio.lines(dict(zip(keys, texts, strict=True)))
    progress("joining", _SPEAKING_PERCENT)
    joined = _join([ready[key] for key in keys])
    data = aac.join(joined.packets)
    rendering = Rendering(
        m4a=data,
        samples=(len(joined.packets) - 1) * FRAME,
        segments=tuple(joined.segments),
        loudness_lufs=integrated(np.concatenate(joined.energy)),
        true_peak_dbtp=joined.true_peak_dbtp,
        sha256=_sha256(data),
        engine=f"{speech.name} {speech.version}",
        voice=speech.voice(voice),
        line_keys=keys,
        lines_spoken=spoken,
        seconds=time.perf_counter() - began,
    )
    progress("checking", _CHECKING_PERCENT)
    check(rendering)
    if spoken:
        give_back()
    return rendering


def line_keys(lines: Sequence[str], voice: str, speech: Speech) -> tuple[str, ...]:
    """Under which `render` keeps the lines. Raises Unspeakable as it does."""
    return _keys(_normalised(lines), voice, speech)


def _keys(texts: Sequence[str], voice: str, speech: Speech) -> tuple[str, ...]:
    return tuple(line_key(text, voice, speech) for text in texts)


def check(rendering: Rendering) -> None:
    """Raises BadRender for a file that is silent, clipped, cut off, damaged, or of the wrong loudness or length."""
    try:
        contents = m4a.unwrap(rendering.m4a)
    except m4a.DamagedContainer as damage:
        raise BadRender("container", str(damage), "an m4a") from damage
    _expect("sha256", _sha256(rendering.m4a), rendering.sha256)
    _expect("samples in the edit list", contents.samples, rendering.samples)
    _expect("packets", len(contents.packets), rendering.samples // FRAME + 1)
    _expect("priming samples", contents.priming, FRAME)
    _expect("index before the sound", contents.index_first, True)
    _expect("reads", len(rendering.segments), 2 * len(rendering.line_keys))
    edges = [0, *(edge for segment in rendering.segments for edge in (segment.start_ms, segment.end_ms))]
    _expect("edges of the reads in order", [*edges, rendering.duration_ms], sorted({*edges, rendering.duration_ms}))
    spans = [(segment.start_ms, segment.end_ms) for segment in rendering.segments]
    require_pattern(spans, rendering.samples)
    require_sound_in_place(contents.packets, spans)
    if not abs(rendering.loudness_lufs - TARGET_LUFS) <= LOUDNESS_TOLERANCE_LU:
        raise BadRender("loudness in LUFS", rendering.loudness_lufs, f"{TARGET_LUFS} +- {LOUDNESS_TOLERANCE_LU}")
    if not rendering.true_peak_dbtp <= CEILING_DBTP:
        raise BadRender("true peak in dBTP", rendering.true_peak_dbtp, f"<= {CEILING_DBTP}")


def _expect(what: str, measured: object, expected: object) -> None:
    if measured != expected:
        raise BadRender(what, measured, expected)


@dataclass
class _Joined:
    """Clips and silences laid end to end, with where they lie and the energy that was measured on each."""

    packets: list[bytes] = field(default_factory=list)
    energy: list[Cells] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    true_peak_dbtp: float = float("-inf")

    def silence(self, frames: int) -> None:
        self.packets.extend([aac.silent_packet()] * frames)
        self.energy.append(np.zeros(frames * FRAME // CELL, np.float32))

    def line(self, line: LineAudio) -> None:
        for clip, pause in ((line.first, PAUSE), (line.second, REST)):
            start = len(self.packets) * FRAME + START
            self.segments.append(Segment(round(milliseconds(start)), round(milliseconds(start + clip.spoken))))
            self.packets.extend(clip.packets)
            self.energy.append(clip.energy)
            self.true_peak_dbtp = max(self.true_peak_dbtp, clip.true_peak_dbtp)
            # The clip's last packet already reaches into the first silent frame.
            silent = silent_frames_after(clip, pause)
            self.packets.extend([aac.silent_packet()] * (silent - 1))
            self.energy.append(np.zeros(silent * FRAME // CELL, np.float32))


def _join(lines: Sequence[LineAudio]) -> _Joined:
    joined = _Joined()
    joined.silence(_LEAD_FRAMES)
    for line in lines:
        joined.line(line)
    joined.silence(TAIL_FRAMES)
    joined.packets.append(aac.silent_packet())
    return joined


def _normalised(lines: Sequence[str]) -> list[str]:
    if not lines:
        raise ValueError("a session has at least one line")
    texts = []
    for index, line in enumerate(lines):
        try:
            texts.append(normalise(line))
        except Unspeakable as refusal:
            raise Unspeakable(str(refusal), line=index) from refusal
    return texts


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _unheard(stage: str, percent: int) -> None:
    """Progress nobody asked for."""


def _never() -> bool:
    return False
