"""Background sounds made by synthesis under the app's names for them. Every recipe gives one period of a circle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from media import grains
from media.circle import PERIOD, SECONDS, Curve, Grain, chord, gestures, hall, lay, mix, movement, noise, scatter, times
from media.samples import RATE, Samples

When = npt.NDArray[np.bool_]
Recipe = Callable[[np.random.Generator], Samples]
"""Makes one period, shape (2, PERIOD), at any level."""


def babbling_brook(rng: np.random.Generator) -> Samples:
    """Water over stones: bubbles in bursts, near ones that gurgle, and a soft rush behind them."""
    flow = 0.1 + movement(rng, 0.25, 3)
    return mix(
        (-7, noise(rng, 350, 4000, 3.5) * (0.6 + 0.4 * movement(rng, 0.5, 9))),
        (-5, scatter(rng, 260, grains.bubble(800, 3600), density=flow, width=1)),
        (-7, scatter(rng, 60, grains.bubble(380, 1300), density=flow**3, width=1)),
        (-15, scatter(rng, 5, grains.bubble(260, 520), density=flow**2, width=0.7)),
    )


def birds_chirping(rng: np.random.Generator) -> Samples:
    """A morning in a light wood: near and far birds, each with its own song and its own tree."""
    return mix(
        (-6, hall(rng, _birds(rng, 7, 5, 14), 1.1, 0.35)),
        (-12, hall(rng, _birds(rng, 8, 6, 17), 2.2, 1.6)),
        (-19, _wind(rng)),
        (-21, noise(rng, 900, 6000, 3.0) * (0.2 + 0.8 * movement(rng, 3, 20)) ** 2),
    )


def _birds(rng: np.random.Generator, count: int, shortest: float, longest: float) -> Samples:
    trees = np.zeros((2, PERIOD), np.float32)
    for place in np.linspace(0.08, 0.92, count):
        song = grains.bird(rng)
        awake = movement(rng, 20, 90) > 0.3
        _repeat(rng, trees, song, times(rng, shortest, longest), float(place), rng.uniform(0.5, 1), awake)
    return trees


def _repeat(
    rng: np.random.Generator,
    circle: Samples,
    grain: Grain,
    at: Curve,
    place: float,
    gain: float,
    awake: npt.NDArray[np.bool_],
) -> None:
    """Lays a sound at the given seconds while `awake`, from one place between left (0) and right (1)."""
    for second in at:
        start = int(second * RATE) % PERIOD
        if awake[start]:
            lay(circle, grain(rng), start, gain * np.cos(place * np.pi / 2), gain * np.sin(place * np.pi / 2))


def distant_ocean(rng: np.random.Generator) -> Samples:
    """Long swells on a far beach: each gathers as a low roar, breaks brightly and runs out in foam."""
    at = times(rng, 8, 14)
    size: Curve = rng.uniform(0.55, 1.0, len(at))
    swell = gestures(at, lambda number, since: size[number] * _bell(since, 6.0, 2.6, 3.2), 20)
    breaking = gestures(at, lambda number, since: size[number] ** 1.5 * _bell(since, 7.2, 0.7, 1.6), 20)
    foam = gestures(at, lambda number, since: size[number] * _bell(since, 8.4, 0.9, 3.4), 24)
    side: Samples = np.stack([movement(rng, 9, 40), movement(rng, 9, 40)])
    return mix(
        (-9, noise(rng, 35, 300, 3.0) * (0.3 + swell)),
        (-10, noise(rng, 150, 1300, 3.5) * (0.05 + swell**1.3)),
        (-14, noise(rng, 500, 3800, 3.0) * (0.01 + breaking) * (0.5 + side)),
        (-20, noise(rng, 2000, 9500, 1.5) * (0.015 + foam) * (0.5 + side[::-1])),
    )


def _bell(since: Curve, middle: float, rise: float, fall: float) -> Curve:
    """Up and down about `middle` seconds, as wide as `rise` before and `fall` after it."""
    return np.asarray(np.exp(-0.5 * ((since - middle) / np.where(since < middle, rise, fall)) ** 2))


def heavy_rain(rng: np.random.Generator) -> Samples:
    """A downpour on leaves and ground, drops in front of it."""
    gusts = 0.7 + 0.3 * movement(rng, 4, 30)
    return mix(
        (-6, noise(rng, 700, 11000, 1.2) * gusts),
        (-8, scatter(rng, 520, grains.drop, density=gusts)),
        (-13, noise(rng, 90, 700, 3.0) * gusts),
        (-17, scatter(rng, 26, grains.drip)),
    )


def forest_rain(rng: np.random.Generator) -> Samples:
    """Light rain under trees: drops on leaves, drips from them, a bird now and then."""
    showers = 0.25 + 0.75 * movement(rng, 5, 40)
    return mix(
        (-13, noise(rng, 1200, 9000, 1.5) * showers),
        (-7, scatter(rng, 150, grains.drop, density=showers)),
        (-9, scatter(rng, 9, grains.drip, density=showers, width=1)),
        (-16, noise(rng, 120, 800, 3.5) * (0.3 + 0.7 * movement(rng, 5, 25))),
        (-19, hall(rng, _birds(rng, 3, 14, 30), 2.0, 1.2)),
    )


def _wind(rng: np.random.Generator) -> Samples:
    """Gusts: the stronger, the brighter."""
    gusts: Samples = movement(rng, 4, 22) * (0.75 + 0.25 * movement(rng, 0.6, 3))
    low, high = noise(rng, 70, 380, 2.5), noise(rng, 300, 1400, 4.0, slope=3)
    return mix((0, low * (0.3 + 0.7 * gusts)), (-5, high * gusts * gusts))


def storm(rng: np.random.Generator) -> Samples:
    """Rain driven by gusts, and weather rolling near and far."""
    gusts = 0.3 + 0.7 * movement(rng, 4, 25)
    return mix(
        (-7, noise(rng, 600, 9500, 1.3) * gusts),
        (-11, scatter(rng, 330, grains.drop, density=gusts)),
        (-8, _wind(rng)),
        (-7, _thunder(rng, times(rng, 12, 38), 0.4)),
    )


def thunder(rng: np.random.Generator) -> Samples:
    """Thunder that comes and goes, near and far, over soft rain."""
    return mix(
        (-5, _thunder(rng, times(rng, 15, 46), 0.6)),
        (-9, _thunder(rng, times(rng, 14, 34), 0.2)),
        (-12, noise(rng, 700, 7000, 2.0) * (0.6 + 0.4 * movement(rng, 6, 30))),
        (-15, scatter(rng, 90, grains.drop)),
        (-17, noise(rng, 60, 300, 3.0)),
    )


def _thunder(rng: np.random.Generator, at: Curve, nearest: float) -> Samples:
    """Rolls of 12 to 25 seconds: crackle when they are near, then many strokes from along the lightning's way."""
    near = rng.uniform(0.1, nearest, len(at))
    rolls = [[_roll(rng, share) for share in near] for _ in range(2)]

    def heard(share: Curve, bright: float) -> Samples:
        return np.stack([gestures(at, partial(_sounding, each, share, bright), 30) for each in rolls])

    layers = [
        (0.0, noise(rng, 24, 95, 2.0) * heard(np.ones(len(at)), 1.0)),
        (-9.0, noise(rng, 90, 320, 3.5) * heard(near, 0.6)),
        (-22.0, noise(rng, 300, 1600, 4.0) * heard(near**2, 0.25)),
    ]
    strikes = np.zeros((2, PERIOD), np.float32)
    for second, share in zip(at, near, strict=True):
        if share > 0.25:
            lay(strikes, grains.crackle(rng), int(second * RATE) % PERIOD, share**2, share**2 * rng.uniform(0.6, 1))
    if strikes.any():
        layers.append((-18.0, hall(rng, strikes, 2.5, 1.0)))
    return mix(*layers)


Roll = Callable[[Curve, float], Curve]


def _sounding(rolls: list[Roll], share: Curve, bright: float, number: int, since: Curve) -> Curve:
    return np.asarray(share[number] * rolls[number](since, bright))


def _roll(rng: np.random.Generator, near: float) -> Roll:
    """The strength of one roll by seconds; `bright` below 1 lets only its first part through."""
    delays = np.sort(rng.exponential(2.6, 26)) + 0.2
    sizes = rng.uniform(0.15, 1.0, 26) * np.exp(-delays / 7)
    falls = rng.uniform(0.4, 2.4, 26)
    attacks = 0.03 + (1 - near) * rng.uniform(0.1, 0.5, 26)

    def strength(since: Curve, bright: float) -> Curve:
        total = np.zeros(len(since))
        for delay, size, fall, attack in zip(delays, sizes, falls, attacks, strict=True):
            after = np.clip(since - delay, 0, None)
            heard = size * np.exp(-delay * (1 - bright))
            total += heard * (1 - np.exp(-after / attack)) * np.exp(-after / (fall * bright))
        return np.asarray(total * np.clip((since[-1] - since) / 6, 0, 1))

    return strength


def evening_walk(rng: np.random.Generator) -> Samples:
    """Crickets on both sides of a gravel path, slow steps that pause, a mild wind, an owl far off."""
    meadow, path, wood = (np.zeros((2, PERIOD), np.float32) for _ in range(3))
    for distance, place in zip((1.0, 0.7, 0.5, 0.4, 0.3, 0.25), rng.permutation(6) / 6 + 0.08, strict=True):
        pace = rng.uniform(0.42, 0.75)
        singing = movement(rng, 12, 60) > 0.25
        _repeat(rng, meadow, grains.cricket(rng), times(rng, pace * 0.94, pace * 1.06), place, distance, singing)
    walking = movement(rng, 25, 90) > 0.42
    _repeat(rng, path, grains.footstep, times(rng, 0.70, 0.76), 0.5, 1.0, walking)
    _repeat(rng, wood, grains.owl, times(rng, 28, 60), 0.25, 1.0, np.ones(PERIOD, bool))
    return mix(
        (-11, hall(rng, meadow, 0.9, 0.4)),
        (-12, _wind(rng)),
        (-17, noise(rng, 700, 6000, 3.5)),
        (-19, path),
        (-23, hall(rng, wood, 3.0, 2.0)),
    )


def _notes(*notes: tuple[float, float], darkness: float = 1.7) -> list[tuple[float, float]]:
    """Partials of notes (Hz, amplitude), the higher the softer."""
    return [(hertz * k, share / k**darkness) for hertz, share in notes for k in range(1, 9)]


def regeneration(rng: np.random.Generator) -> Samples:
    """A slow chord that opens and closes, its voices coming forward in turn, a little air about it."""
    groups = (
        (-3, _notes((110.0, 1.0), (164.8, 0.6)), 10, 60),
        (-6, _notes((220.0, 1.0), (277.2, 0.8), (329.6, 0.8)), 9, 50),
        (-8, _notes((246.9, 0.7), (369.9, 0.7), (440.0, 0.6)), 9, 50),
        (-16, _notes((659.3, 1.0), (830.6, 0.5), (987.8, 0.5), darkness=2.4), 7, 40),
    )
    voices = [
        (float(level), chord(rng, partials, 7) * (0.15 + 0.85 * movement(rng, shortest, longest)) ** 1.3)
        for level, partials, shortest, longest in groups
    ]
    return mix(*voices, (-24.0, noise(rng, 500, 5000, 4.0) * (0.2 + 0.8 * movement(rng, 6, 30))))


def tibetan_om(rng: np.random.Generator) -> Samples:
    """Six monks who sing a low Om together, each from his own mouth and place, and singing bowls between."""
    om = 136.1
    singers, bowls = (np.zeros((2, PERIOD), np.float32) for _ in range(2))
    together = times(rng, 11, 24)
    for place, octave in zip(rng.permutation(6) / 5 * 0.7 + 0.15, (1, 1, 1, 0.998, 0.5, 2), strict=True):
        sings = grains.monk(om * octave)(rng)
        at = together + rng.uniform(0, 1.5, len(together)) if octave == 1 else times(rng, 14, 30)
        joining = movement(rng, 20, 90) > 0.12
        gain = {0.5: 0.8, 2: 0.22}.get(octave, float(rng.uniform(0.6, 1.0)))
        _repeat(rng, singers, sings, at % SECONDS, float(place), float(gain), joining)
    for second in times(rng, 19, 31):
        _repeat(rng, bowls, grains.bowl, np.array([second]), rng.uniform(0.3, 0.7), 1.0, np.ones(PERIOD, bool))
    drone = chord(rng, [(om / 2, 0.6), (om, 1.0), (om * 2, 0.25)], 5)
    return mix(
        (-3, hall(rng, mix((-5, singers), (-9, bowls)), 2.8, 0.6)),
        (-12, drone * (0.4 + 0.6 * movement(rng, 8, 40))),
        (-33, noise(rng, 200, 1500, 4.0)),
    )


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
