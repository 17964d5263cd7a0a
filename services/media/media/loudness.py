"""Loudness and true peak by ITU-R BS.1770-4, and the levelling that reaches a target without clipping.

One channel is measured as it is heard: on both loudspeakers (dual mono). A meter that counts one channel once reads
3.01 LU lower for the same file.

Loudness is computed from *cells*: the K-weighted energy of 64 consecutive samples. Cells of pieces that are separated
by silence can be laid end to end, and the whole is measured exactly without filtering it again.

Filters are made of scipy.fft and scipy.ndimage, which are loaded anyway: scipy.signal would cost a worker 50 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from numpy.polynomial.polynomial import polyval
from scipy.fft import irfft, rfft
from scipy.ndimage import convolve1d, minimum_filter1d, uniform_filter1d

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
_K_WEIGHTING = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
_SPECTRUM = 16 * 1024
_MEMORY = 64 * CELL  # what came before is heard 180 dB down
_OVERSAMPLING = 4
_REACH = 10  # samples on either side between which a value is interpolated
_MARGIN = 64
_PEAK_BLOCK = 512
_LOOK_AHEAD = RATE * 4 // 1000
_LEVEL_TOLERANCE = 0.05
_LEVEL_ATTEMPTS = 5


def cells(samples: Samples) -> Cells:
    """K-weighted energy of each 64 samples of (n,) or (2, n); an incomplete last cell is filled with zeros."""
    channels = np.atleast_2d(samples)
    heard_on = 2.0 if samples.ndim == 1 else 1.0
    energy = np.sum([_weighted_energy(channel) for channel in channels], axis=0)
    weighed: Cells = (heard_on * energy).astype(np.float32)
    return weighed


def _weighted_energy(channel: Samples) -> Cells:
    """Of each cell of (n,) samples, by overlapping spectra, each heard where its filter has settled."""
    count, step = -(-len(channel) // CELL), _SPECTRUM - _MEMORY
    padded = np.zeros(_MEMORY + -(-len(channel) // step) * step, np.float32)
    padded[_MEMORY : _MEMORY + len(channel)] = channel
    spectra = rfft(sliding_window_view(padded, _SPECTRUM)[::step], axis=1)
    spectra *= _RESPONSE
    heard = irfft(spectra, _SPECTRUM, axis=1, overwrite_x=True)[:, _MEMORY:].reshape(-1, CELL)[:count]
    energy: Cells = np.einsum("ij,ij->i", heard, heard)
    return energy


def _response() -> npt.NDArray[np.complex64]:
    """The K weighting's, at each frequency of a spectrum."""
    delay = np.exp(-2j * np.pi * np.arange(_SPECTRUM // 2 + 1) / _SPECTRUM)
    sections = [polyval(delay, above) / polyval(delay, below) for above, below in _K_WEIGHTING]
    return np.asarray(np.prod(sections, axis=0), np.complex64)


_RESPONSE = _response()


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
    own, *between = _interpolation()
    envelope: Samples = np.abs(stretches) * own.max()
    for weights in between:
        np.maximum(envelope, np.abs(convolve1d(stretches, weights, axis=1, mode="constant")), out=envelope)
    # The filter sees zeros outside what it is given: real neighbours go in and the edges they spoil are thrown away.
    return envelope[:, _MARGIN:-_MARGIN]


@cache
def _interpolation() -> tuple[Samples, ...]:
    """The weights of the neighbours of each of four places from a sample to the next, the first of them the sample."""
    reach = np.arange(-_REACH * _OVERSAMPLING, _REACH * _OVERSAMPLING + 1)
    weights = np.sinc(reach / _OVERSAMPLING) * np.kaiser(len(reach), 5.0)
    weights *= _OVERSAMPLING / weights.sum()
    return tuple(weights[place::_OVERSAMPLING].astype(np.float32) for place in range(_OVERSAMPLING))


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
