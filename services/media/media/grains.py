"""Short sounds of nature by synthesis: one bubble, one drop, one phrase of a bird. Each is one channel, any level."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from media.circle import Curve, Grain, single
from media.samples import RATE, Samples


def _time(seconds: float) -> Curve:
    return np.arange(round(seconds * RATE)) / RATE


def _decay(time: Curve, attack: float, fall: float) -> Curve:
    """Rises in about `attack` and falls by 1/e in `fall` seconds, ending at zero."""
    ending = np.minimum(1.0, (time[-1] - time) / (0.15 * time[-1]))
    return np.asarray((1 - np.exp(-time / attack)) * np.exp(-time / fall) * ending)


def _sweep(curve_hz: Curve) -> Curve:
    return np.asarray(np.sin(2 * np.pi * np.cumsum(curve_hz) / RATE))


def _within(rng: np.random.Generator, low: float, high: float) -> float:
    """Evenly on a logarithmic scale, as pitches and sizes are spread."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def bubble(low_hz: float, high_hz: float) -> Grain:
    """A bubble rings while it rises to the surface: a tone that climbs and dies, the longer the larger it is."""

    def make(rng: np.random.Generator) -> Samples:
        hertz = _within(rng, low_hz, high_hz)
        fall = 14 / hertz
        time = _time(5 * fall)
        climb = hertz * (1 + rng.uniform(0.1, 0.9) * time / time[-1])
        return single((low_hz / hertz) ** 0.5 * _sweep(climb) * _decay(time, 0.0012, fall))

    return make


def drop(rng: np.random.Generator) -> Samples:
    """A raindrop that hits a leaf or the ground: a tick with a little of what it hit in it."""
    time = _time(rng.uniform(0.003, 0.012))
    hertz = _within(rng, 1500, 9000)
    ring = np.sin(2 * np.pi * hertz * time) + 0.8 * rng.standard_normal(len(time))
    return single(_within(rng, 0.4, 2.0) * ring * _decay(time, 0.0002, time[-1] / 5))


def drip(rng: np.random.Generator) -> Samples:
    """A drop that falls from a leaf into a puddle: a tick, then the bubble it drew down."""
    hertz, wait = _within(rng, 600, 1900), int(RATE * rng.uniform(0.004, 0.02))
    time = _time(0.09)
    ring = _sweep(hertz * (1 + 2.2 * time)) * _decay(time, 0.001, rng.uniform(0.01, 0.022))
    tick = drop(rng)
    sound = np.zeros(wait + len(ring) + len(tick))
    sound[: len(tick)] += 0.35 * tick
    sound[wait : wait + len(ring)] += ring
    return single(sound)


def bird(rng: np.random.Generator) -> Grain:
    """One bird: a motif of its own, which it repeats with small changes in every phrase."""
    kind = rng.choice(["whistles", "trills", "chatters", "warbles", "coos"], p=[0.3, 0.2, 0.22, 0.2, 0.08])
    low, high, shortest, longest, notes, most = {
        "whistles": (2200, 5200, 0.08, 0.24, int(rng.integers(2, 4)), 4),
        "trills": (2800, 6200, 0.025, 0.05, 1, 14),
        "chatters": (2000, 4600, 0.03, 0.07, int(rng.integers(1, 3)), 9),
        "warbles": (2400, 6500, 0.04, 0.13, int(rng.integers(4, 8)), 3),
        "coos": (420, 640, 0.22, 0.5, 3, 2),
    }[str(kind)]
    centre = _within(rng, low, high)
    reach = 1.06 if kind == "coos" else 1.4
    rough = {"chatters": 1.0, "coos": 0.1}.get(str(kind), float(rng.uniform(0.15, 0.45)))
    motif = [
        (
            centre * _within(rng, 1 / reach, reach),
            centre * _within(rng, 1 / reach, reach),
            float(rng.uniform(shortest, longest)),
            float(rng.uniform(-0.2, 0.2)) * (reach - 1) / 0.4,
        )
        for _ in range(notes)
    ]

    def phrase(rng: np.random.Generator) -> Samples:
        parts: list[Samples] = []
        for _ in range(rng.integers(max(1, most // 2), most + 1)):
            for start, end, length, bend in motif:
                shift = rng.uniform(0.985, 1.015)
                parts.append(_syllable(rng, start * shift, end * shift, length * rng.uniform(0.92, 1.08), bend, rough))
                parts.append(np.zeros(int(RATE * length * rng.uniform(0.25, 0.6)), np.float32))
            if kind in ("whistles", "coos"):
                parts.append(np.zeros(int(RATE * rng.uniform(0.08, 0.3)), np.float32))
        return single(rng.uniform(0.6, 1.0) * (0.5 if kind == "coos" else 1.0) * np.concatenate(parts))

    return phrase


def _syllable(
    rng: np.random.Generator, start_hz: float, end_hz: float, seconds: float, bend: float, rough: float
) -> Samples:
    """One note of a bird. A throat is no whistle: it flutters, it breathes, and two overtones sound with it."""
    time = _time(seconds)
    position = time / time[-1]
    curve = start_hz * (end_hz / start_hz) ** position * (1 + bend * np.sin(np.pi * position))
    flutter = _smooth(rng, len(time), 90)
    phase = 2 * np.pi * np.cumsum(curve * (1 + 0.012 * rough * flutter)) / RATE
    breath = 0.5 * rough * np.sin(phase + 2.5 * _smooth(rng, len(time), 24))
    overtones = (0.1 + 0.25 * rough) * np.sin(2 * phase) + (0.03 + 0.12 * rough) * np.sin(3 * phase)
    swell = np.sin(np.pi * position**0.7) ** 0.8 * (1 + 0.35 * rough * _smooth(rng, len(time), 160))
    return single((np.sin(phase) + overtones + breath) * swell)


def _smooth(rng: np.random.Generator, count: int, width: int) -> Curve:
    """Noise without what is quicker than `width` samples, about 1 strong."""
    window = np.hanning(width + 2)
    return np.asarray(
        np.convolve(rng.standard_normal(count + width + 1), window / np.sqrt(np.square(window).sum()), "valid")
    )


def cricket(rng: np.random.Generator) -> Grain:
    """One cricket: chirps of three or four strokes at its own pitch."""
    hertz, strokes, pace = rng.uniform(3900, 5000), int(rng.integers(3, 5)), rng.uniform(26, 34)

    def chirp(rng: np.random.Generator) -> Samples:
        time = _time(strokes / pace)
        stroke = np.clip(np.sin(2 * np.pi * pace * time), 0, None) ** 0.8
        swell = 0.6 + 0.4 * time / time[-1]
        return single(stroke * swell * np.sin(2 * np.pi * hertz * rng.uniform(0.998, 1.002) * time))

    return chirp


def owl(rng: np.random.Generator) -> Samples:
    """Hoo … hoo-hoo-hoo, soft and low."""
    base = 370.0
    parts: list[Samples] = []
    for length, gap in ((0.45, 1.1), (0.16, 0.09), (0.2, 0.12), (0.75, 0.0)):
        time = _time(length)
        position = time / time[-1]
        hoot = _sweep(base * (0.96 + 0.05 * np.sin(np.pi * position)) * (1 + 0.004 * np.sin(2 * np.pi * 7 * time)))
        parts += [single(hoot * np.sin(np.pi * position) ** 0.6), np.zeros(int(gap * RATE), np.float32)]
    return single(rng.uniform(0.7, 1.0) * np.concatenate(parts))


def footstep(rng: np.random.Generator) -> Samples:
    """A step on fine gravel: the heel, then the sole rolling over many small stones."""
    sound = np.zeros(round(0.42 * RATE))
    time = _time(0.06)
    thud = np.sin(2 * np.pi * rng.uniform(75, 95) * time) * _decay(time, 0.006, 0.016)
    sound[: len(thud)] += 0.9 * thud
    for moment in np.concatenate([rng.normal(0.03, 0.012, 16), rng.normal(0.17, 0.045, 34)]):
        time = _time(rng.uniform(0.002, 0.007))
        stone = rng.standard_normal(len(time)) + np.sin(2 * np.pi * _within(rng, 1200, 3800) * time)
        start = int(np.clip(moment, 0, 0.4) * RATE)
        sound[start : start + len(time)] += 0.22 * np.exp(rng.normal(0, 0.5)) * stone * _decay(time, 0.0006, 0.0015)
    return single(np.convolve(sound, np.ones(7) / 7, "same"))


def crackle(rng: np.random.Generator) -> Samples:
    """The near end of a lightning: a tearing of many small strokes, before the rumble of the far end arrives."""
    time = _time(rng.uniform(0.5, 1.1))
    tearing = np.repeat(rng.exponential(1.0, len(time) // 480 + 1) ** 2, 480)[: len(time)]
    smooth = np.convolve(tearing, np.hanning(600) / 300, "same")
    dull = np.convolve(rng.standard_normal(len(time)), np.hanning(40) / 20, "same")
    return single(dull * smooth * _decay(time, 0.02, time[-1] / 3))


_OPEN = ((420.0, 130.0, 1.0), (760.0, 150.0, 0.5), (2400.0, 300.0, 0.04))
_CLOSED = ((230.0, 90.0, 0.8), (1000.0, 250.0, 0.03))
"""An O and an M: formants as centre and width in Hz, and strength."""


_UNHEARD = 0.003


def _through(mouth: Sequence[tuple[float, float, float]], hertz: float) -> float:
    return sum(strength * float(np.exp(-0.5 * ((hertz - centre) / width) ** 2)) for centre, width, strength in mouth)


def monk(hertz: float) -> Callable[[np.random.Generator], Grain]:
    """Somebody who sings Om about this pitch: from an open O to a closed M, in a breath of nine to thirteen seconds."""

    def voice(rng: np.random.Generator) -> Grain:
        own = hertz * 2 ** (rng.uniform(-14, 14) / 1200)
        tract = rng.uniform(0.9, 1.12)
        breathy = rng.uniform(0.01, 0.03)
        harmonics = [
            (k, *(_through(mouth, own * k / tract) / k**0.3 for mouth in (_OPEN, _CLOSED)))
            for k in range(1, int(3000 / own))
        ]

        def om(rng: np.random.Generator) -> Samples:
            time = _time(rng.uniform(9, 13))
            position = time / time[-1]
            drift = (
                0.004 * _slow(rng, len(time), 0.5)
                + 0.0025 * np.sin(2 * np.pi * rng.uniform(4.6, 5.6) * time) * position
            )
            curve = own * (1 - 0.03 * np.exp(-time / 0.25) + drift)
            phase = np.mod(2 * np.pi * np.cumsum(curve) / RATE, 2 * np.pi)
            closing = single(1 / (1 + np.exp(-(position - rng.uniform(0.5, 0.62)) * 16)))
            sound = np.zeros(len(time), np.float32)
            for k, wide, shut in harmonics:
                if max(wide, shut) > _UNHEARD:
                    sound += np.sin(single(k * phase)) * (np.float32(wide) + np.float32(shut - wide) * closing)
            air = breathy * np.convolve(rng.standard_normal(len(time)), np.hanning(30) / 15, "same") * (1 - closing)
            trembling = 1 + 0.06 * _slow(rng, len(time), 0.25)
            return single((sound + air) * trembling * np.sin(np.pi * position**0.75) ** 0.9)

        return om

    return voice


def _slow(rng: np.random.Generator, count: int, seconds: float) -> Curve:
    """A curve that wanders about 0, a new way every so many seconds, about 1 strong."""
    turns = rng.standard_normal(int(count / RATE / seconds) + 3)
    return np.asarray(np.interp(np.arange(count) / RATE / seconds, np.arange(len(turns)), turns))


def bowl(rng: np.random.Generator) -> Samples:
    """A struck singing bowl: uneven partials, each a pair that beats slowly, the lowest heard for most of a minute."""
    time = _time(42)
    base = rng.choice([174.0, 204.2, 272.2])
    sound = np.zeros(len(time))
    for ratio, share, fall in (
        (1.0, 1.0, 13),
        (2.71, 0.55, 8.5),
        (5.13, 0.25, 4.5),
        (8.06, 0.09, 2.2),
        (11.4, 0.03, 1),
    ):
        split = rng.uniform(0.15, 0.55)
        hertz = base * ratio * rng.uniform(0.998, 1.002)
        beating = np.sin(2 * np.pi * (hertz - split) * time) + 0.7 * np.sin(2 * np.pi * (hertz + split) * time)
        sound += share * beating * _decay(time, 0.012, fall)
    return single(sound)
