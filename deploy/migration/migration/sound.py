"""What a legacy file is and sounds like: its container, length, loudness and peak, and whether a beep stands for words.

Read in pieces, so that a long file needs no more memory than a short one.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import av
import numpy as np

from media.loudness import CELL, cells, integrated, true_peak
from media.samples import RATE, Samples, decibels

PIECE = RATE * 10 // CELL * CELL
_WINDOW = RATE // 2
_TONE_SHARE = 0.97
_TONE_BINS = 3
_HEARD_DBFS = -45.0
_LEAD_MS = 500
_ENDINGS = {"mp3": "mp3", "mov,mp4,m4a,3gp,3g2,mj2": "m4a"}
CONTENT_TYPES = {"mp3": "audio/mpeg", "m4a": "audio/mp4"}


class NotPlayable(Exception):
    """No sound that a player could play; the message says why."""


@dataclass(frozen=True, slots=True)
class Sound:
    """``onset_ms``: where something is first heard; ``beeps``: a tone of a second or more stands for words."""

    ending: str
    duration_ms: int
    loudness_lufs: float
    true_peak_dbtp: float
    onset_ms: int
    beeps: bool


def listen(data: bytes) -> Sound:
    """Raises NotPlayable."""
    try:
        with av.open(BytesIO(data), "r") as container:
            if container.format.name not in _ENDINGS:
                raise NotPlayable("neither mp3 nor m4a")
            return _measured(_ENDINGS[container.format.name], _pieces(container))
    except (av.FFmpegError, IndexError, EOFError) as error:
        raise NotPlayable("cannot be decoded") from error


def _measured(ending: str, pieces: Iterator[Samples]) -> Sound:
    energy, peak, samples, onset, tones = [], -math.inf, 0, -1, 0
    beeps = False
    for piece in pieces:
        energy.append(cells(piece if piece.shape[0] > 1 else piece[0]))
        peak = max(peak, true_peak(piece))
        mono = piece.mean(axis=0)
        if onset < 0 and (heard := np.flatnonzero(np.abs(mono) > 10 ** (_HEARD_DBFS / 20))).size:
            onset = samples + int(heard[0])
        for start in range(0, len(mono) - _WINDOW + 1, _WINDOW):
            tones = tones + 1 if _is_tone(mono[start : start + _WINDOW]) else 0
            beeps = beeps or tones >= 2
        samples += piece.shape[1]
    loudness = integrated(np.concatenate(energy)) if energy else -math.inf
    if not math.isfinite(loudness):
        raise NotPlayable("holds no sound")
    return Sound(ending, samples * 1000 // RATE, loudness, peak, onset * 1000 // RATE, beeps)


def _pieces(container: Any) -> Iterator[Samples]:
    """Decoded sound at RATE, PIECE samples at a time, the last piece shorter."""
    resampler = av.AudioResampler(format="fltp", rate=RATE)
    held: list[Samples] = []
    size = 0
    for frame in _resampled(container, resampler):
        held.append(frame)
        size += frame.shape[1]
        if size >= PIECE:
            whole = np.concatenate(held, axis=1)
            yield whole[:, :PIECE]
            held, size = [whole[:, PIECE:]], size - PIECE
    if size:
        yield np.concatenate(held, axis=1)


def _resampled(container: Any, resampler: av.AudioResampler) -> Iterator[Samples]:
    for frame in container.decode(audio=0):
        for part in resampler.resample(frame):
            yield np.atleast_2d(part.to_ndarray())
    for part in resampler.resample(None):
        yield np.atleast_2d(part.to_ndarray())


def _is_tone(window: Samples) -> bool:
    """Whether nearly all of it is one frequency: speech never is for half a second."""
    if decibels(float(np.sqrt(np.square(window).mean()))) < _HEARD_DBFS:
        return False
    power = np.square(np.abs(np.fft.rfft(window * np.hanning(len(window)))))
    top = int(power.argmax())
    return float(power[max(0, top - _TONE_BINS) : top + _TONE_BINS + 1].sum()) > _TONE_SHARE * float(power.sum())


def segments(meta_json: str | None, sound: Sound) -> str:
    """Where the voice is heard, as the row said it, in whole milliseconds; none where it said nothing usable.

    The prototype left the half second before the first word out of some of its rows.
    """
    found = []
    for part in _listed(meta_json):
        start, end = part.get("startMs"), part.get("endMs")
        if isinstance(start, int | float) and isinstance(end, int | float) and 0 <= start < end < math.inf:
            found.append((round(start), round(end)))
    if found and found[0][0] < _LEAD_MS // 2 and sound.onset_ms >= _LEAD_MS - 100:
        found = [(start + _LEAD_MS, end + _LEAD_MS) for start, end in found]
    found = [(start, min(end, sound.duration_ms)) for start, end in found if start < sound.duration_ms]
    return json.dumps([{"endMs": end, "startMs": start} for start, end in found])


def _listed(meta_json: str | None) -> list[dict[str, Any]]:
    try:
        meta = json.loads(meta_json or "{}")
        listed = meta["voiceActivity"]["segments"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return []
    return [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []


def is_beep(meta_json: str | None) -> bool:
    """Whether a cached line is the tone that stood for speech when the prototype's engine failed: 1.5 s, all of it."""
    try:
        meta = json.loads(meta_json or "{}")
    except (ValueError, RecursionError):
        return False
    if not isinstance(meta, dict) or meta.get("durationMs") != 1500:
        return False
    activity = meta.get("voiceActivity")
    listed = meta.get("segments") or (activity or {}).get("segments") or meta.get("timestamps")
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        return False
    (only,) = listed
    return only.get("startMs", only.get("start")) == 0 and only.get("endMs", only.get("end")) in (1500, 1.5)
