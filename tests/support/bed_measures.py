"""What can be measured on the decoded sound of a bed, shape (2, n)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from media.samples import RATE, Samples, decibels

_FINE = 32 * RATE
_LEVELS_PER_SECOND = 10
_SHORTEST_REPEAT = 20
"""Seconds: what comes back sooner is the sound's own pace, as waves and steps have."""


def frequency(channel: Samples, near_hz: float) -> float:
    """The frequency of the tone next to `near_hz`, from how its phase advances over 32 seconds."""
    channel = channel[:_FINE]
    block = RATE // 4
    time = np.arange(len(channel) // block * block) / RATE
    turned = channel[: len(time)] * np.exp(-2j * np.pi * near_hz * time)
    phase = np.unwrap(np.angle(turned.reshape(-1, block).mean(axis=1)))
    slope = np.polyfit(np.arange(len(phase)) * block / RATE, phase, 1)[0]
    return float(near_hz + slope / (2 * np.pi))


def leakage(heard: Samples, left_hz: float, right_hz: float) -> float:
    """How much of one channel's tone is in the other, in dB under its own; the worse of the two."""
    left, right = heard[:, :_FINE]
    return max(
        decibels(_strength(left, right_hz) / _strength(right, right_hz)),
        decibels(_strength(right, left_hz) / _strength(left, left_hz)),
    )


def _strength(channel: Samples, hertz: float) -> float:
    turning = np.exp(-2j * np.pi * hertz * np.arange(len(channel)) / RATE)
    return float(abs(np.mean(channel * turning)))


def seam(heard: Samples) -> float:
    """The step from the last sample to the first, over the largest step (of 10,000 all but one) anywhere else."""
    steps = np.abs(np.diff(np.concatenate([heard, heard[:, :1]], axis=1), axis=1))
    return float(np.max(steps[:, -1] / np.quantile(steps[:, ::5], 0.9999, axis=1)))


def seam_error(heard: Samples, left_hz: float, right_hz: float) -> float:
    """The largest difference from the two pure tones in the 1024 samples about the seam, in dBFS."""
    place = np.arange(-512, 512)
    worst = 0.0
    for channel, hertz in zip(heard, (left_hz, right_hz), strict=True):
        time = np.arange(_FINE) / RATE
        strength = 2 * np.mean(channel[:_FINE] * np.exp(-2j * np.pi * hertz * time))
        pure = np.real(strength * np.exp(2j * np.pi * hertz * place / RATE))
        worst = max(worst, float(np.abs(channel[place] - pure).max()))
    return decibels(worst)


def likeness(heard: Samples) -> float:
    """Correlation of the two channels: 1.0 is one channel twice."""
    left, right = heard / heard.std(axis=1, keepdims=True)
    return float(np.mean(left * right))


def levels(heard: Samples) -> npt.NDArray[np.float64]:
    """Level of each tenth of a second, in dBFS."""
    window = RATE // _LEVELS_PER_SECOND
    count = heard.shape[1] // window
    power = np.square(heard[:, : count * window]).reshape(2, count, window).mean(axis=(0, 2))
    return np.asarray(10 * np.log10(power + 1e-12), np.float64)


def repetition(heard: Samples) -> float:
    """How alike the course of levels is to itself at some distance of 20 s and more: 1.0 is a shorter loop."""
    course = levels(heard) - levels(heard).mean()
    alike = np.fft.irfft(np.square(np.abs(np.fft.rfft(course))), len(course))
    return float(alike[_SHORTEST_REPEAT * _LEVELS_PER_SECOND : len(course) // 2].max() / alike[0])
