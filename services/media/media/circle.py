"""Sound on a circle of 64 s: what every background is made of, and why none of them has a seam.

Noise is shaped in the frequency domain (an inverse transform repeats by construction), slow movements have whole
numbers of cycles, and what is laid past the end goes on at the beginning.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, rfft

from media.samples import RATE, Samples

PERIOD = 64 * RATE
"""Samples in one period: 3000 AAC frames."""

STEREO = (0, 1)
_CONTROL_STEP = 512

Grain = Callable[[np.random.Generator], Samples]
Curve = npt.NDArray[np.float64]


def single(values: npt.ArrayLike) -> Samples:
    """The values as samples."""
    return np.asarray(values, np.float32)


def noise(rng: np.random.Generator, low_hz: float, high_hz: float, tilt_db: float, slope: int = 2) -> Samples:
    """(2, PERIOD) of noise between two corner frequencies, falling `tilt_db` an octave; RMS 1, channels independent."""
    hertz = np.arange(PERIOD // 2 + 1, dtype=np.float32) * (RATE / PERIOD)
    hertz[0] = hertz[1]
    shape = hertz ** np.float32(-tilt_db / 6.02)
    shape /= np.sqrt((1 + (low_hz / hertz) ** (2 * slope)) * (1 + (hertz / high_hz) ** (2 * slope)))
    channels = []
    for _ in STEREO:
        bins = rng.standard_normal((PERIOD // 2 + 1, 2), dtype=np.float32).view(np.complex64)[:, 0]
        channel = irfft(bins * shape, PERIOD, overwrite_x=True)
        channels.append(channel / channel.std())
    return single(channels)


def movement(rng: np.random.Generator, cycles: tuple[int, int], count: int) -> Samples:
    """(PERIOD,) slow curve between 0 and 1: `count` waves with whole numbers of cycles in the given range."""
    time = np.arange(0, PERIOD + _CONTROL_STEP, _CONTROL_STEP) / PERIOD
    waves = [
        np.cos(2 * np.pi * (rng.integers(cycles[0], cycles[1] + 1) * time + rng.random())) / np.sqrt(index + 1)
        for index in range(count)
    ]
    curve = np.sum(waves, axis=0)
    curve = (curve - curve.min()) / (curve.max() - curve.min())
    return single(np.interp(np.arange(PERIOD), time * PERIOD, curve))


def scatter(rng: np.random.Generator, per_second: float, grain: Grain, width: float = 0.9) -> Samples:
    """(2, PERIOD) of grains at random places and positions between the loudspeakers; the end runs into the start."""
    circle = np.zeros((2, PERIOD), np.float32)
    for _ in range(round(per_second * PERIOD / RATE)):
        sound = grain(rng)
        angle = np.pi / 4 * (1 + width * rng.uniform(-1, 1))
        lay(circle, sound, int(rng.integers(PERIOD)), float(np.cos(angle)), float(np.sin(angle)))
    return circle


def lay(circle: Samples, sound: Samples, start: int, left: float, right: float) -> None:
    """Adds a sound of at most one period to the circle, beginning at `start`."""
    head = min(len(sound), PERIOD - start)
    for channel, gain in enumerate((left, right)):
        circle[channel, start : start + head] += np.float32(gain) * sound[:head]
        circle[channel, : len(sound) - head] += np.float32(gain) * sound[head:]


def time_axis(length: float) -> Curve:
    """Seconds from the start of a sound `length` seconds long, one value a sample."""
    return np.arange(round(length * RATE)) / RATE


def decay(time: Curve, attack: float, fall: float) -> Curve:
    """An envelope that rises in about `attack` and falls by 1/e in `fall` seconds, ending at zero."""
    ending = np.minimum(1.0, (time[-1] - time) / (0.15 * time[-1]))
    return np.asarray((1 - np.exp(-time / attack)) * np.exp(-time / fall) * ending)


def hall(rng: np.random.Generator, dry: Samples, seconds: float, wet: float) -> Samples:
    """The sound with a diffuse room around it, convolved on the circle."""
    time = time_axis(seconds * 1.5)
    result = []
    for channel in dry:
        response = np.zeros(PERIOD, np.float32)
        tail = rng.standard_normal(len(time)) * np.exp(-6.9 * time / seconds)
        # A room swallows the highest tones first.
        response[: len(time)] = np.convolve(tail, np.ones(6) / 6, "same")
        response *= wet / np.sqrt(np.square(response).sum())
        response[0] += 1
        result.append(irfft(rfft(channel) * rfft(response), PERIOD))
    return single(result)


def tone(hertz: float) -> Curve:
    """Phase (PERIOD,) of the nearest tone that fits the period, in radians."""
    cycles = round(hertz * PERIOD / RATE)
    return np.asarray(((np.arange(PERIOD, dtype=np.int64) * cycles) % PERIOD) * (2 * np.pi / PERIOD))
