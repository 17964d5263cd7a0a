"""Loudness and true peak by ITU-R BS.1770-4, and the levelling that reaches a target without clipping.

One channel is measured as it is heard: on both loudspeakers (dual mono). A meter that counts one channel once reads
3.01 LU lower for the same file.

Loudness is computed from *cells*: the K-weighted energy of 64 consecutive samples. Cells of pieces that are separated
by silence can be laid end to end, and the whole is measured exactly without filtering it again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import firwin, resample_poly, sosfilt

from media.samples import RATE, Samples, amplitude, decibels

CELL = 64
"""Samples per cell: the largest length that divides both an AAC frame (1024) and the 100 ms between blocks (4800)."""

Cells = npt.NDArray[np.float32]
"""K-weighted energy per cell, summed over loudspeakers, shape (n,)."""

_BLOCK = RATE * 400 // 1000 // CELL
_HOP = RATE * 100 // 1000 // CELL
_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE = -10.0
_OFFSET = -0.691
_K_WEIGHTING = np.array(
    [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
    ]
)
_OVERSAMPLING = 4
_INTERPOLATION = firwin(20 * _OVERSAMPLING + 1, 1 / _OVERSAMPLING, window=("kaiser", 5.0)).astype(np.float32)
_MARGIN = 64
_PEAK_BLOCK = 512
_LOOK_AHEAD = RATE * 4 // 1000
_LEVEL_TOLERANCE = 0.05
_LEVEL_ATTEMPTS = 5


def cells(samples: Samples) -> Cells:
    """K-weighted energy of each 64 samples of (n,) or (2, n); an incomplete last cell is filled with zeros."""
    channels = np.atleast_2d(samples)
    heard_on = 2.0 if samples.ndim == 1 else 1.0
    count = -(-channels.shape[1] // CELL)
    padded = np.zeros((channels.shape[0], count * CELL))
    padded[:, : channels.shape[1]] = channels
    weighted = sosfilt(_K_WEIGHTING, padded, axis=1)
    by_cell = weighted.reshape(channels.shape[0], count, CELL)
    energy = np.einsum("ijk,ijk->j", by_cell, by_cell)
    weighed: Cells = (heard_on * energy).astype(np.float32)
    return weighed


def integrated(energy: Cells) -> float:
    """Gated loudness in LUFS; -inf for silence or for less than one block (400 ms)."""
    if len(energy) < _BLOCK:
        return float("-inf")
    running = np.concatenate([[0.0], np.cumsum(energy, dtype=np.float64)])
    starts = np.arange(0, len(energy) - _BLOCK + 1, _HOP)
    power = (running[starts + _BLOCK] - running[starts]) / (_BLOCK * CELL)
    power = power[power > 10 ** ((_ABSOLUTE_GATE - _OFFSET) / 10)]
    if len(power) == 0:
        return float("-inf")
    relative = 10 * np.log10(power.mean()) + _RELATIVE_GATE
    return float(_OFFSET + 10 * np.log10(power[10 * np.log10(power) > relative].mean()))


def loudness(samples: Samples) -> float:
    """Integrated loudness of (n,) or (2, n) samples in LUFS."""
    return integrated(cells(samples))


def true_peak(samples: Samples) -> float:
    """Highest inter-sample peak of (n,) or (2, n) samples, oversampled four times, in dBTP; -inf for silence.

    Only the neighbourhood of samples within 6 dB of the highest one is oversampled: peaks between samples do not rise
    that far above their neighbours in programme material, and most of a session is silence.
    """
    highest = 0.0
    for channel in np.atleast_2d(samples):
        blocks = -(-len(channel) // _PEAK_BLOCK)
        padded = np.pad(channel, (_MARGIN, blocks * _PEAK_BLOCK - len(channel) + _MARGIN))
        peaks = np.abs(padded[_MARGIN:-_MARGIN].reshape(blocks, _PEAK_BLOCK)).max(axis=1, initial=0.0)
        highest = max(highest, float(peaks.max(initial=0.0)))
        loud = np.flatnonzero(peaks > highest / 2)
        if len(loud):
            stretches = sliding_window_view(padded, _PEAK_BLOCK + 2 * _MARGIN)[loud * _PEAK_BLOCK]
            highest = max(highest, float(_oversampled_envelope(stretches).max()))
    return decibels(highest)


def _oversampled_envelope(stretches: Samples) -> Samples:
    """Highest magnitude around each sample of (rows, n + 2 * _MARGIN) samples, shape (rows, n)."""
    # The filter sees zeros outside what it is given: real neighbours go in and the edges they spoil are thrown away.
    fine = np.abs(resample_poly(stretches, _OVERSAMPLING, 1, axis=1, window=_INTERPOLATION))
    kept = fine[:, _MARGIN * _OVERSAMPLING : -_MARGIN * _OVERSAMPLING]
    envelope: Samples = kept.reshape(len(stretches), -1, _OVERSAMPLING).max(axis=2).astype(np.float32)
    return envelope


def limit(samples: Samples, ceiling_dbtp: float) -> Samples:
    """One channel with its true peaks held at `ceiling_dbtp` by a gain that looks 4 ms ahead and never distorts.

    The gain needed at every sample is held over the window and then averaged over the same window, so that it is
    smooth and nowhere above what is needed.
    """
    ceiling = amplitude(ceiling_dbtp)
    envelope = _oversampled_envelope(np.pad(samples, _MARGIN)[None])[0]
    needed = np.minimum(1.0, ceiling / np.maximum(envelope, 1e-9))
    window = 2 * _LOOK_AHEAD + 1
    held = minimum_filter1d(needed, window, mode="nearest")
    limited: Samples = (samples * uniform_filter1d(held, window, mode="nearest")).astype(np.float32)
    return limited


@dataclass(frozen=True)
class Levelled:
    """Samples at their target, with what was measured on them."""

    samples: Samples
    loudness_lufs: float
    true_peak_dbtp: float


def level(samples: Samples, target_lufs: float = -20.0, ceiling_dbtp: float = -1.5) -> Levelled:
    """One channel brought to `target_lufs` with true peaks at or under `ceiling_dbtp`.

    Silence is imagined around the samples, as there is around every read, so that even one word can be measured.
    A very peaky sound may end under the target: the ceiling wins. Raises ValueError for silence.
    """
    measured = loudness(_surrounded(samples))
    if measured == float("-inf"):
        raise ValueError("silence has no loudness to level")
    gain, result = target_lufs - measured, samples
    for _ in range(_LEVEL_ATTEMPTS):
        result = (samples * np.float32(amplitude(gain))).astype(np.float32)
        if true_peak(result) > ceiling_dbtp:
            # The modulated gain can lift a peak between samples by a hair.
            result = limit(result, ceiling_dbtp - 0.05)
        reached = loudness(_surrounded(result))
        if abs(reached - target_lufs) <= _LEVEL_TOLERANCE:
            break
        gain += target_lufs - reached
    return Levelled(result, reached, true_peak(result))


def _surrounded(samples: Samples) -> Samples:
    return np.pad(samples, _BLOCK * CELL)
