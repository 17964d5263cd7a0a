"""Binaural and solfeggio tones: exactly periodic in 8 s, because every frequency in them is a multiple of 1/8 Hz."""

from __future__ import annotations

import numpy as np

from media.samples import RATE, Samples

PERIOD = 8 * RATE
"""Samples in one period: a whole number of AAC frames (375) and of seconds."""

GRID_HZ = RATE / PERIOD

_BODY = ((0.5, 0.30), (1.0, 1.0), (2.0, 0.16), (3.0, 0.05))
_SWELL_DEPTH = 0.12


def binaural(beat_hz: float, carrier_hz: float) -> Samples:
    """One period, shape (2, PERIOD): a tone half the beat under the carrier on the left, half above on the right.

    The beat exists only in the listener, with headphones. Raises ValueError for frequencies that are not on the grid.
    """
    return np.stack([_sine(carrier_hz - beat_hz / 2), _sine(carrier_hz + beat_hz / 2)])


def solfeggio(hertz: float) -> Samples:
    """One period, shape (2, PERIOD): the tone with a soft body around it, breathing once in the period.

    Raises ValueError for frequencies that are not on the grid.
    """
    body = np.sum([share * _sine(hertz * ratio) for ratio, share in _BODY], axis=0)
    breath = np.cos(2 * np.pi * np.arange(PERIOD) / PERIOD)
    left, right = (1 + _SWELL_DEPTH * sign * breath for sign in (1, -1))
    return np.asarray([body * left, body * right], np.float32)


def _sine(hertz: float) -> Samples:
    cycles = hertz / GRID_HZ
    if cycles != round(cycles) or not 0 < hertz < RATE / 2:
        raise ValueError(f"{hertz} Hz is not a multiple of {GRID_HZ} Hz under {RATE // 2} Hz")
    # Whole numbers keep the phase exact to the last sample; a running float would drift off the seam.
    phase = (np.arange(PERIOD, dtype=np.int64) * round(cycles)) % PERIOD
    return np.asarray(np.sin(phase * (2 * np.pi / PERIOD)), np.float32)
