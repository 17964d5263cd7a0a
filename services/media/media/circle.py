"""Sound on a circle of about three minutes: what every background is made of, and why none of them has a seam.

Noise and chords are shaped in the frequency domain (an inverse transform repeats by construction), slow movements
have whole numbers of cycles, and what is laid past the end goes on at the beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, rfft, rfftfreq

from media.samples import RATE, Samples, amplitude

SECONDS = 176
PERIOD = SECONDS * RATE
"""Samples in one period: 8250 AAC frames, and a length that is quick to transform."""

_CONTROL = 512
_CONTROLS = PERIOD // _CONTROL

Grain = Callable[[np.random.Generator], Samples]
"""Makes one short sound, shape (n,), never twice the same."""

Curve = npt.NDArray[np.float64]


def single(values: npt.ArrayLike) -> Samples:
    """The values as samples."""
    return np.asarray(values, np.float32)


def mix(*layers: tuple[float, Samples]) -> Samples:
    """(2, PERIOD) of layers, each brought to its own RMS level in dB first."""
    total = np.zeros((2, PERIOD), np.float32)
    for decibels, layer in layers:
        rms = float(np.sqrt(np.mean(np.square(layer), dtype=np.float64)))
        total += layer * np.float32(amplitude(decibels) / rms)
    return total


def noise(rng: np.random.Generator, low_hz: float, high_hz: float, tilt_db: float, slope: int = 2) -> Samples:
    """(2, PERIOD) of noise between two corner frequencies, falling `tilt_db` an octave; channels independent."""
    hertz = _bins()
    shape = hertz ** np.float32(-tilt_db / 6.02)
    shape /= np.sqrt((1 + (low_hz / hertz) ** (2 * slope)) * (1 + (hertz / high_hz) ** (2 * slope)))
    return _shaped_noise(rng, shape)


def chord(rng: np.random.Generator, partials: Sequence[tuple[float, float]], cents: float) -> Samples:
    """(2, PERIOD) of a choir: every partial (Hz, amplitude) is a narrow band of noise `cents` wide, so that it floats
    as many voices do and never beats evenly.
    """
    hertz = _bins()
    shape = np.zeros_like(hertz)
    for centre, share in partials:
        width = max(centre * (2 ** (cents / 1200) - 1), 2 * RATE / PERIOD)
        first, last = np.searchsorted(hertz, [centre - 4 * width, centre + 4 * width])
        band = np.exp(-0.5 * ((hertz[first:last] - centre) / width) ** 2)
        shape[first:last] += share * band / np.sqrt(np.square(band).sum())
    return _shaped_noise(rng, shape)


def _bins() -> Samples:
    hertz = single(rfftfreq(PERIOD, 1 / RATE))
    hertz[0] = hertz[1]
    return hertz


def _shaped_noise(rng: np.random.Generator, shape: Samples) -> Samples:
    shape[0] = 0  # no direct current
    channels = np.empty((2, PERIOD), np.float32)
    for channel in channels:
        bins = rng.standard_normal((len(shape), 2), dtype=np.float32).view(np.complex64)[:, 0]
        bins *= shape
        channel[:] = irfft(bins, PERIOD, overwrite_x=True)
    return channels


def movement(rng: np.random.Generator, shortest: float, longest: float) -> Samples:
    """(PERIOD,) slow curve between 0 and 1 whose waves last between `shortest` and `longest` seconds."""
    waves = np.zeros(_CONTROLS // 2 + 1, np.complex128)
    cycles = np.arange(max(1, round(SECONDS / longest)), round(SECONDS / shortest) + 1)
    waves[cycles] = np.exp(2j * np.pi * rng.random(len(cycles))) / np.sqrt(cycles)
    curve = irfft(waves, _CONTROLS)
    return curve_of(np.asarray((curve - curve.min()) / np.ptp(curve)))


def times(rng: np.random.Generator, shortest: float, longest: float) -> Curve:
    """Seconds at which something happens again and again, at uneven distances about the given ones, once around."""
    distances = rng.uniform(shortest, longest, round(2 * SECONDS / (shortest + longest)))
    return np.asarray((np.cumsum(distances) * (SECONDS / distances.sum()) + rng.uniform(0, longest)) % SECONDS)


def gestures(at: Curve, gesture: Callable[[int, Curve], Curve], length: float) -> Samples:
    """(PERIOD,) slow curve of a gesture at every given second: `gesture(number, seconds since)`, `length` s long."""
    controls: Curve = np.zeros(_CONTROLS)
    since = np.asarray(np.arange(round(length * RATE / _CONTROL)) * (_CONTROL / RATE), np.float64)
    for number, second in enumerate(at):
        place = round(second * RATE / _CONTROL) + np.arange(len(since))
        np.add.at(controls, place % _CONTROLS, gesture(number, since))
    return curve_of(controls)


def curve_of(controls: Curve) -> Samples:
    """(PERIOD,) of a value for each 512 samples."""
    around = single([*controls, controls[0]])
    steps = np.arange(_CONTROL, dtype=np.float32) / _CONTROL
    return single(around[:-1, None] + (around[1:] - around[:-1])[:, None] * steps).reshape(PERIOD)


def scatter(
    rng: np.random.Generator,
    per_second: float,
    grain: Grain,
    *,
    width: float = 0.9,
    variety: int = 300,
    density: Samples | None = None,
) -> Samples:
    """(2, PERIOD) of grains at random places and positions between the loudspeakers, more of them where `density` is
    high; `variety` different ones at many different levels.
    """
    circle = np.zeros((2, PERIOD), np.float32)
    count = round(per_second * SECONDS)
    grains = [grain(rng) for _ in range(min(variety, count))]
    chances = np.cumsum(np.ones(_CONTROLS) if density is None else density[::_CONTROL], dtype=np.float64)
    cells = np.searchsorted(chances, rng.random(count) * chances[-1])
    starts = (cells * _CONTROL + rng.integers(_CONTROL, size=count)) % PERIOD
    angles = np.pi / 4 * (1 + width * rng.uniform(-1, 1, count))
    levels = np.exp(np.clip(rng.normal(0, 0.5, count), -1.5, 1.0))
    for start, angle, level, which in zip(starts, angles, levels, rng.integers(len(grains), size=count), strict=True):
        lay(circle, grains[which], int(start), float(level * np.cos(angle)), float(level * np.sin(angle)))
    return circle


def lay(circle: Samples, sound: Samples, start: int, left: float, right: float) -> None:
    """Adds a sound of at most one period to the circle, beginning at `start`."""
    head = min(len(sound), PERIOD - start)
    for channel, gain in enumerate((left, right)):
        circle[channel, start : start + head] += np.float32(gain) * sound[:head]
        if head < len(sound):
            circle[channel, : len(sound) - head] += np.float32(gain) * sound[head:]


def hall(rng: np.random.Generator, dry: Samples, seconds: float, wet: float) -> Samples:
    """The sound with a diffuse room around it, which runs on from the end into the start."""
    since = np.arange(round(1.5 * seconds * RATE)) / RATE
    result = dry.copy()
    for channel in result:
        tail = rng.standard_normal(len(since)) * np.exp(-6.9 * since / seconds)
        # A room swallows the highest tones first.
        response = single(np.convolve(tail, np.ones(6) / 6, "same"))
        response *= wet / np.sqrt(np.square(response).sum())
        channel[:] += irfft(rfft(channel) * rfft(response, PERIOD), PERIOD, overwrite_x=True)
    return result
