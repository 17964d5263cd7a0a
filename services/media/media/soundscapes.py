"""Background sounds made by synthesis under the app's names for them. Every recipe gives one period of a circle."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from media.circle import (
    PERIOD,
    STEREO,
    decay,
    hall,
    lay,
    movement,
    noise,
    scatter,
    single,
    time_axis,
    tone,
)
from media.samples import RATE, Samples

Recipe = Callable[[np.random.Generator], Samples]
"""Makes one period, shape (2, PERIOD), at any level."""


def _bubble(rng: np.random.Generator) -> Samples:
    """A bubble rings while it rises to the surface: a short decaying tone that climbs."""
    hertz = float(np.exp(rng.normal(np.log(900), 0.45)))
    time = time_axis(min(0.14, 0.02 + 25 / hertz))
    climb = 1 + rng.uniform(0.5, 4.0) * time
    size = min(float(np.exp(rng.normal(-1.2, 0.6))), 0.8) * (600 / hertz) ** 0.6
    return single(size * np.sin(2 * np.pi * hertz * time * climb) * decay(time, 0.0015, time[-1] / 4))


def babbling_brook(rng: np.random.Generator) -> Samples:
    """Water over stones: a soft rush, its ripples, and many bubbles near and far."""
    rush = noise(rng, 250, 2600, 3.0) * (0.75 + 0.25 * movement(rng, (3, 40), 8))
    ripples = noise(rng, 900, 3800, 4.5, slope=3) * (movement(rng, (60, 400), 14) ** 2)
    bubbles = scatter(rng, 70, _bubble)
    return single(0.20 * rush + 0.22 * ripples + 0.9 * bubbles)


def _wave(cycles: int, offset: float, sharpness: float) -> Samples:
    """(PERIOD,) of waves that gather slowly and break quickly, `cycles` to the period."""
    phase = (np.arange(PERIOD) * (cycles / PERIOD) + offset) % 1.0
    skewed = np.where(phase < 0.62, phase / 1.24, 0.5 + (phase - 0.62) / 0.76)
    return single((0.5 - 0.5 * np.cos(2 * np.pi * skewed)) ** sharpness)


def distant_ocean(rng: np.random.Generator) -> Samples:
    """Long swells on a far beach: a low roar that never stops, and foam that follows every wave."""
    roar = noise(rng, 40, 420, 3.0)
    surf = noise(rng, 180, 1800, 3.0)
    foam = noise(rng, 1400, 7000, 2.0)
    result = []
    for channel in STEREO:
        drift = 0.03 * channel
        swell = 0.65 * _wave(6, drift, 1.6) + 0.45 * _wave(5, 0.37 - drift, 1.8)
        breaking = 0.7 * _wave(6, drift - 0.05, 4.0) + 0.4 * _wave(5, 0.32 - drift, 4.0)
        water = roar[channel] * (0.45 + 0.4 * swell) + surf[channel] * (0.10 + 0.75 * swell)
        result.append(water + 0.30 * foam[channel] * (0.05 + breaking))
    return single(result)


def _drop(rng: np.random.Generator) -> Samples:
    time = time_axis(rng.uniform(0.004, 0.014))
    hertz = rng.uniform(1200, 6500)
    ring = np.sin(2 * np.pi * hertz * time + rng.uniform(0, 6.28)) + 0.6 * rng.standard_normal(len(time))
    return single(float(np.exp(rng.normal(-1.0, 0.7))) * ring * decay(time, 0.0004, time[-1] / 4))


def heavy_rain(rng: np.random.Generator) -> Samples:
    """A downpour on leaves and ground, drops in front of it."""
    sheet = noise(rng, 350, 6500, 1.5) * (0.85 + 0.15 * movement(rng, (2, 12), 5))
    ground = noise(rng, 90, 600, 3.0)
    return single(sheet + 0.35 * ground + 1.1 * scatter(rng, 160, _drop))


def _drip(rng: np.random.Generator) -> Samples:
    """A drop falling from a leaf into a small puddle."""
    time = time_axis(0.09)
    hertz = rng.uniform(500, 1500)
    fall = np.sin(2 * np.pi * hertz * time * (1 + 1.5 * time))
    return single(float(np.exp(rng.normal(-0.8, 0.5))) * fall * decay(time, 0.001, 0.018))


def forest_rain(rng: np.random.Generator) -> Samples:
    """Light rain under trees: a veil, drips from the leaves, a bird now and then."""
    veil = noise(rng, 700, 5200, 2.5) * (0.7 + 0.3 * movement(rng, (2, 16), 6))
    trees = noise(rng, 120, 700, 3.5) * (0.3 + 0.7 * movement(rng, (2, 9), 4))
    near = scatter(rng, 6, _drip) + 0.5 * scatter(rng, 60, _drop)
    birds = hall(rng, scatter(rng, 0.12, _bird_phrase), 1.8, 0.9)
    return single(0.35 * veil + 0.25 * trees + 0.8 * near + 0.25 * birds)


def _wind(rng: np.random.Generator) -> Samples:
    low, high = noise(rng, 60, 350, 2.0), noise(rng, 260, 900, 3.0, slope=3)
    gusts = movement(rng, (2, 11), 7)
    return single(low * (0.35 + 0.65 * gusts) + 0.7 * high * gusts**2)


def storm(rng: np.random.Generator) -> Samples:
    """Rain driven by gusts, and weather rolling in the distance."""
    gusts = 0.6 + 0.4 * movement(rng, (3, 14), 6)
    rain = noise(rng, 400, 6000, 1.5) * gusts + 0.8 * scatter(rng, 90, _drop)
    return single(0.6 * rain + 0.55 * _wind(rng) + 0.5 * _rolls(rng, 3))


def _rolls(rng: np.random.Generator, count: int) -> Samples:
    """(2, PERIOD) of thunder: low noise under envelopes of many small strokes, evenly spread and never the same."""
    rumble = noise(rng, 28, 130, 2.0) + 0.35 * noise(rng, 110, 420, 4.0)
    strength = np.zeros((2, PERIOD), np.float32)
    for index in range(count):
        start = round(PERIOD * (index + rng.uniform(0.1, 0.5)) / count)
        side = rng.uniform(0.3, 0.7)
        for _ in range(9):
            time = time_axis(7.0)
            stroke = decay(time, rng.uniform(0.08, 0.5), rng.uniform(0.5, 1.9)).astype(np.float32)
            delay = int(rng.exponential(1.1) * RATE)
            lay(strength, rng.uniform(0.2, 1.0) * stroke, (start + delay) % PERIOD, 1 - side, side)
    return single(rumble * strength)


def thunder(rng: np.random.Generator) -> Samples:
    """Thunder far away over soft rain."""
    rain = noise(rng, 500, 4200, 2.5) + 0.5 * scatter(rng, 40, _drop)
    return single(0.22 * rain + 0.12 * noise(rng, 60, 300, 3.0) + 0.55 * _rolls(rng, 4))


def _syllable(rng: np.random.Generator, start_hz: float, end_hz: float, seconds: float) -> Samples:
    time = time_axis(seconds)
    position = time / time[-1]
    curve = start_hz + (end_hz - start_hz) * position + rng.uniform(-0.06, 0.06) * start_hz * np.sin(np.pi * position)
    phase = 2 * np.pi * np.cumsum(curve) / RATE
    whistle = np.sin(phase) + 0.12 * np.sin(2 * phase)
    return single(whistle * np.sin(np.pi * position) ** 0.8)


def _bird_phrase(rng: np.random.Generator) -> Samples:
    """A few syllables of one bird, repeated with small changes."""
    low, high = sorted(rng.uniform(2300, 5200, 2))
    motif = [
        (rng.choice([low, high]), rng.uniform(low, high), rng.uniform(0.05, 0.16)) for _ in range(rng.integers(1, 4))
    ]
    parts: list[Samples] = []
    for _ in range(rng.integers(2, 5)):
        for start, end, length in motif:
            parts.append(_syllable(rng, start * rng.uniform(0.98, 1.02), end, length))
            parts.append(np.zeros(int(RATE * rng.uniform(0.03, 0.09)), np.float32))
        parts.append(np.zeros(int(RATE * rng.uniform(0.05, 0.25)), np.float32))
    return single(np.float32(np.exp(rng.normal(-0.6, 0.5))) * np.concatenate(parts))


def birds_chirping(rng: np.random.Generator) -> Samples:
    """A morning in a light wood."""
    near = hall(rng, scatter(rng, 0.55, _bird_phrase), 1.1, 0.5)
    far = hall(rng, scatter(rng, 0.8, _bird_phrase), 2.2, 1.4)
    leaves = noise(rng, 500, 4000, 3.0) * (0.2 + 0.8 * movement(rng, (2, 10), 5))
    return single(0.5 * near + 0.16 * far + 0.05 * leaves + 0.06 * _wind(rng))


def _cricket(rng: np.random.Generator) -> Samples:
    """(PERIOD,) of one cricket: chirps of three pulses at its own pitch and its own steady pace."""
    hertz = rng.uniform(4100, 4900)
    chirps = int(rng.integers(90, 150))
    position = (np.arange(PERIOD) * (chirps / PERIOD) + rng.random()) % 1.0
    elapsed = position * PERIOD / RATE / chirps
    pulse = np.clip(np.sin(2 * np.pi * 32 * elapsed), 0, None) * (elapsed < 3 / 32)
    cycles = round(hertz * PERIOD / RATE)
    phase = (np.arange(PERIOD, dtype=np.int64) * cycles) % PERIOD
    singing = movement(rng, (1, 5), 3) > 0.25
    return single(pulse * np.sin(phase * (2 * np.pi / PERIOD)) * np.maximum(singing, 0.15))


def evening_walk(rng: np.random.Generator) -> Samples:
    """Crickets on both sides of a path, and a mild wind."""
    meadow = np.zeros((2, PERIOD), np.float32)
    for distance in (1.0, 0.6, 0.45, 0.3, 0.25, 0.2):
        side = rng.uniform(0.1, 0.9)
        lay(meadow, np.float32(distance) * _cricket(rng), 0, 1 - side, side)
    return single(0.10 * meadow + 0.16 * _wind(rng) + 0.05 * noise(rng, 400, 3000, 4.0))


def regeneration(rng: np.random.Generator) -> Samples:
    """A slow chord that opens and closes, voices coming forward in turn."""
    chord = np.zeros((2, PERIOD), np.float32)
    for hertz, share in ((110, 1.0), (164.8, 0.8), (220, 0.7), (277.2, 0.5), (329.6, 0.4), (493.9, 0.16), (659.3, 0.1)):
        presence = 0.25 + 0.75 * movement(rng, (1, 5), 3)
        for channel in STEREO:
            voices = np.sin(tone(hertz * (1 + 0.0012 * (2 * channel - 1)))) + 0.5 * np.sin(tone(hertz * 1.0021))
            chord[channel] += (share * presence * voices).astype(np.float32)
    air = noise(rng, 300, 2500, 5.0) * (0.3 + 0.7 * movement(rng, (2, 6), 3))
    return single(0.3 * chord + 0.10 * air)


def _bowl(rng: np.random.Generator) -> Samples:
    """A struck singing bowl: uneven partials, each a pair that beats slowly."""
    time = time_axis(20.0)
    base = 204.2 * rng.choice([1.0, 1.0, 1.335])
    sound = np.zeros(len(time))
    for ratio, share, fall in ((1.0, 1.0, 6.5), (2.74, 0.5, 4.5), (5.2, 0.22, 2.5), (8.3, 0.07, 1.2)):
        for split in (-0.4, 0.4):
            sound += share * np.sin(2 * np.pi * (base * ratio + split) * time) * decay(time, 0.012, fall)
    return single(sound)


def tibetan_om(rng: np.random.Generator) -> Samples:
    """A low sung drone on 136 Hz and singing bowls."""
    drone = np.zeros((2, PERIOD), np.float32)
    for harmonic in range(1, 13):
        vowel = np.exp(-(((harmonic * 136.1 - 420) / 330) ** 2)) + 0.35 * np.exp(
            -(((harmonic * 136.1 - 800) / 200) ** 2)
        )
        presence = 0.55 + 0.45 * movement(rng, (2, 9), 4)
        for channel in STEREO:
            phase = tone(136.1 * harmonic * (1 + 0.0006 * (2 * channel - 1)))
            drone[channel] += ((vowel + 0.15 / harmonic) * presence * np.sin(phase)).astype(np.float32)
    bowls = np.zeros((2, PERIOD), np.float32)
    for strike in range(4):
        side = 0.35 + 0.3 * (strike % 2)
        lay(bowls, _bowl(rng), round(PERIOD * (strike + 0.2) / 4), 1 - side, side)
    breath = noise(rng, 200, 1200, 4.0)
    return single(0.35 * drone + 0.45 * bowls + 0.03 * breath)


SOUNDSCAPES: Mapping[str, Recipe] = {
    "Babbling Brook": babbling_brook,
    "Birds Chirping": birds_chirping,
    "Distant Ocean": distant_ocean,
    "Evening Walk": evening_walk,
    "Forest Rain": forest_rain,
    "Heavy Rain": heavy_rain,
    "Regeneration": regeneration,
    "Storm": storm,
    "Thunder": thunder,
    "Tibetan Om": tibetan_om,
}
