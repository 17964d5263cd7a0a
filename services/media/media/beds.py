"""What plays under the voice: which bed belongs to a session, and the files of all beds under the app's own names.

The names are the app's: it finds its bundled copy of a bed by them.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from media import aac, tones
from media.loudness import loudness, true_peak
from media.samples import Samples, amplitude
from media.soundscapes import SOUNDSCAPES

EDITION = 3
"""To be raised whenever a bed would sound different: seeding then renews what it finds of an older one."""

TONE_LUFS, TONE_CEILING_DBTP = -34.0, -12.0
BACKGROUND_LUFS, BACKGROUND_CEILING_DBTP = -32.0, -6.0
"""Beds are brought to their level, or as near as their ceiling allows: the encoder spoils tones above theirs."""

TONE_MEASURED_LUFS, DEFAULT_BACKGROUND_MEASURED_LUFS = -34.0, -32.2
"""Of the decoded files of this edition: every tone, and the one background that sessions have."""

DEFAULT_BACKGROUND = "Babbling Brook"
SOLFEGGIO_HZ = (40, 174, 285, 396, 417, 432, 528, 639, 741, 852, 963)

_TONE_REPETITIONS = 23  # of 8 s: three minutes
_BINAURAL_STEMS = (
    "alpha_10hz_400",
    "alpha_12hz_120",
    "alpha_12hz_12hz_400",
    "beta_13hz_400",
    "beta_20hz_120",
    "beta_low_17hz_400",
    "beta_high_21.5hz_400",
    "delta_1hz_100",
    "delta_2hz_120",
    "delta_3hz_400",
    "delta_4hz_400",
    "gamma_38hz_100",
    "gamma_40hz_120",
    "gamma_42hz_400",
    "smr_13.5hz_400",
    "theta_4hz_400",
    "theta_7hz_400",
    "theta_8hz_120",
)
_STEM = re.compile(r"(?P<band>[a-z_]+?)_(?P<hz>[0-9.]+)hz(?:_[0-9.]+hz)?_(?P<carrier>[0-9]+)")
_DEFAULT_BINAURAL = "alpha_10hz_400"
_DEFAULT_SOLFEGGIO = 528


@dataclass(frozen=True)
class Frequency:
    """What a goal asks for: the beat, the state of mind it stands for, and a solfeggio tone that suits it."""

    hz: float
    brainwave_state: str
    solfeggio_hz: int | None


@dataclass(frozen=True)
class BrainLayer:
    """The tone under a session: `kind` is binaural or solfeggio, `key` its file, `hz` what that file really plays."""

    kind: str
    key: str
    hz: float
    frequency: Frequency


_CALM = Frequency(10, "Alpha", 852)
_FREQUENCIES: Mapping[str, Frequency] = {
    "wake-up": Frequency(17, "Beta", 396),
    "coffee-replacement": Frequency(17, "Beta", 396),
    "meditate": Frequency(7, "Theta", 963),
    "focus": Frequency(13.5, "SMR", 741),
    "sleep": Frequency(3, "Delta", 528),
    "pre-performance": Frequency(12, "Alpha", 528),
    "anxiety": _CALM,
    "anxiety-relief": _CALM,
    "creativity": Frequency(7, "Theta", 741),
}
_OTHERWISE = Frequency(10, "Alpha", None)


def frequency_for(goal_tag: str | None) -> Frequency:
    """The frequency of a goal tag in any spelling ("Anxiety Relief", "anxiety_relief"); Alpha 10 for all others."""
    spelled = re.sub(r"[^a-z0-9]+", "-", (goal_tag or "").lower()).strip("-")
    return _FREQUENCIES.get(spelled, _OTHERWISE)


def brain_layer(goal_tag: str | None, solfeggio_hz: float | None = None) -> BrainLayer:
    """The one tone of a session: the solfeggio tone that was asked for (528 when there is no such one), else the
    binaural beat of the goal.
    """
    frequency = frequency_for(goal_tag)
    if solfeggio_hz is not None:
        played = next((hz for hz in SOLFEGGIO_HZ if hz == solfeggio_hz), _DEFAULT_SOLFEGGIO)
        return BrainLayer("solfeggio", solfeggio_key(played), played, frequency)
    stem = _binaural_stem(frequency.brainwave_state, frequency.hz)
    return BrainLayer("binaural", binaural_key(stem), _parts(stem)[1], frequency)


def background_key(name: str = DEFAULT_BACKGROUND) -> str:
    return f"audio/background/{name}.m4a"


def binaural_key(stem: str) -> str:
    return f"audio/binaural/{stem}_3min.m4a"


def solfeggio_key(hz: int) -> str:
    return f"audio/solfeggio/solfeggio_{hz}_3min.m4a"


def certificate_key(key: str) -> str:
    """Beside a bed."""
    return f"{key.removesuffix('.m4a')}.json"


def certificate(sha256: str | None) -> bytes:
    """JSON that says which bytes a bed has and of which edition they are."""
    return json.dumps({"edition": EDITION, "sha256": sha256}).encode()


def bed_files() -> Mapping[str, Callable[[], bytes]]:
    """Every bed by its storage key; calling the value makes the m4a: 0.2 s a tone, 10 to 20 s a background."""
    files: dict[str, Callable[[], bytes]] = {}
    for stem in _BINAURAL_STEMS:
        files[binaural_key(stem)] = partial(_binaural_file, stem)
    for hz in SOLFEGGIO_HZ:
        files[solfeggio_key(hz)] = partial(_solfeggio_file, hz)
    for name in SOUNDSCAPES:
        files[background_key(name)] = partial(_background_file, name)
    return files


def _binaural_stem(state: str, hz: float) -> str:
    band = state.lower()
    if band == "beta":
        if hz >= 20:
            return "beta_high_21.5hz_400"
        return "beta_low_17hz_400" if hz >= 17 else "beta_13hz_400"
    fitting = [stem for stem in _BINAURAL_STEMS if _parts(stem)[:2] == (band, hz)]
    preferred = f"{band}_{hz:g}hz_400"
    return preferred if preferred in fitting else (*fitting, _DEFAULT_BINAURAL)[0]


def _parts(stem: str) -> tuple[str, float, float]:
    """Band, beat and carrier that a file name states."""
    found = _STEM.fullmatch(stem)
    if found is None:
        raise ValueError(f"{stem!r} names no binaural bed")
    return found["band"], float(found["hz"]), float(found["carrier"])


def _binaural_file(stem: str) -> bytes:
    _, beat, carrier = _parts(stem)
    return _tone_file(tones.binaural(beat, carrier))


def _solfeggio_file(hz: int) -> bytes:
    return _tone_file(tones.solfeggio(hz))


def _tone_file(period: Samples) -> bytes:
    levelled = _levelled(period, TONE_LUFS, TONE_CEILING_DBTP)
    return aac.loop_file(aac.encode_loop(levelled), _TONE_REPETITIONS)


def _background_file(name: str) -> bytes:
    # Named by its own name and not by its place in the list: adding a background changes no other.
    period = SOUNDSCAPES[name](np.random.default_rng(zlib.crc32(name.encode())))
    levelled = _levelled(period, BACKGROUND_LUFS, BACKGROUND_CEILING_DBTP)
    return aac.loop_file(aac.encode_loop(levelled), repetitions=1)


def _levelled(period: Samples, target_lufs: float, ceiling_dbtp: float) -> Samples:
    """The period at its level by one constant gain: anything that moved would have to fit the seam."""
    gain = min(target_lufs - loudness(period), ceiling_dbtp - true_peak(period))
    levelled: Samples = period * np.float32(amplitude(gain))
    return levelled
