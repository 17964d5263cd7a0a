"""What sound is made of here: 48 kHz float samples, frames of 1024 of them, and the few ways to shape their edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RATE = 48_000
"""Samples per second of everything that is measured, encoded or delivered."""

FRAME = 1024
"""Samples in one AAC frame; every delivered length is a whole number of frames."""

Samples = npt.NDArray[np.float32]
"""Full scale is 1.0. One channel is `(n,)`, two channels are `(2, n)`."""

SENTENCE_PAUSE = RATE * 350 // 1000
"""Between the sentences of one line."""

_ENVELOPE_WINDOW = RATE // 200  # 5 ms
_AUDIBLE_BELOW_PEAK_DB = 48.0


def milliseconds(samples: int) -> float:
    """Length of `samples` in milliseconds."""
    return samples * 1000 / RATE


def silence(samples: int) -> Samples:
    """One channel of digital silence."""
    return np.zeros(samples, np.float32)


def decibels(amplitude: float) -> float:
    """Amplitude (full scale 1.0) in dBFS; -inf for zero."""
    return float(20 * np.log10(amplitude)) if amplitude > 0 else float("-inf")


def amplitude(decibels_full_scale: float) -> float:
    """dBFS to amplitude (full scale 1.0)."""
    return float(10.0 ** (decibels_full_scale / 20))


def audible_span(samples: Samples) -> tuple[int, int]:
    """First and one-past-last sample of what can be heard in one channel; (0, 0) when nothing can.

    Audible means an RMS over 5 ms within 48 dB of the loudest 5 ms.
    """
    windows = -(-len(samples) // _ENVELOPE_WINDOW)
    if windows == 0:
        return (0, 0)
    padded = np.zeros(windows * _ENVELOPE_WINDOW, np.float32)
    padded[: len(samples)] = samples
    power = np.square(padded.reshape(windows, _ENVELOPE_WINDOW)).mean(axis=1)
    loudest = float(power.max())
    if loudest <= 0:
        return (0, 0)
    heard = np.flatnonzero(power >= loudest * 10 ** (-_AUDIBLE_BELOW_PEAK_DB / 10))
    return int(heard[0]) * _ENVELOPE_WINDOW, min(int(heard[-1] + 1) * _ENVELOPE_WINDOW, len(samples))


def fade_edges(samples: Samples, length: int) -> Samples:
    """A copy whose first and last `length` samples rise from and fall to zero along a raised cosine."""
    length = min(length, len(samples) // 2)
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / max(length, 1))).astype(np.float32)
    faded = samples.copy()
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded


def trim(samples: Samples, pad_ms: float = 30.0, fade_ms: float = 10.0) -> Samples:
    """One channel without the silence an engine puts around its speech, with `pad_ms` kept on either side.

    Shorter padding in the input is filled with silence, so that what comes back always starts and ends at zero.
    Empty when nothing is audible.
    """
    start, end = audible_span(samples)
    if end == 0:
        return silence(0)
    pad = round(pad_ms * RATE / 1000)
    kept = silence(end - start + 2 * pad)
    first, last = max(start - pad, 0), min(end + pad, len(samples))
    offset = pad - (start - first)
    kept[offset : offset + last - first] = samples[first:last]
    return fade_edges(kept, round(fade_ms * RATE / 1000))
