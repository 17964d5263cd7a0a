"""Beds: the right one for every goal under the app's names, beats exact after decoding, loops without a seam."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import aac, beds, tones
from media.loudness import loudness, true_peak
from media.samples import RATE, Samples
from tests.support import bed_measures as measure

DOCS = Path(__file__).parents[2] / "docs"

APP_FILES = re.compile(
    r"audio/(binaural/(alpha|beta|beta_low|beta_high|delta|gamma|smr|theta)_[0-9.]+hz(_12hz)?_\d+_3min"
    r"|solfeggio/solfeggio_\d+_3min|background/[A-Z][A-Za-z ]+)\.m4a"
)


@pytest.fixture(scope="module")
def alpha() -> Samples:
    return aac.decode(beds.bed_files()[beds.binaural_key("alpha_10hz_400")]())


@pytest.mark.parametrize("stem", beds._BINAURAL_STEMS)
def test_beat_and_carrier_of_a_decoded_bed_are_its_name_to_a_hundredth_of_a_hertz(stem: str) -> None:
    _, beat, carrier = beds._parts(stem)
    period = tones.binaural(beat, carrier) * np.float32(0.04)
    heard = aac.decode(aac.loop_file(aac.encode_loop(period), repetitions=4))
    left, right = measure.frequency(heard[0], carrier - beat / 2), measure.frequency(heard[1], carrier + beat / 2)
    assert right - left == pytest.approx(beat, abs=0.01)
    assert (left + right) / 2 == pytest.approx(carrier, abs=0.01)
    assert measure.leakage(heard, carrier - beat / 2, carrier + beat / 2) < -60


def test_a_tone_is_three_minutes_long_at_its_level_and_loops_without_a_seam(alpha: Samples) -> None:
    assert alpha.shape == (2, 184 * RATE)
    part = alpha[:, : 16 * RATE]
    assert loudness(part) == pytest.approx(beds.TONE_LUFS, abs=0.5)
    assert loudness(part) == pytest.approx(beds.TONE_MEASURED_LUFS, abs=0.05)
    assert true_peak(part) <= beds.TONE_CEILING_DBTP
    assert measure.seam(alpha) <= 1.01
    assert measure.seam_error(alpha, 395, 405) < -80
    assert np.array_equal(alpha[:, : tones.PERIOD], alpha[:, tones.PERIOD : 2 * tones.PERIOD])


def test_every_file_has_a_name_the_app_knows_and_every_binaural_beat_fits_its_period() -> None:
    files = beds.bed_files()
    assert all(APP_FILES.fullmatch(key) for key in files)
    assert len([key for key in files if "/binaural/" in key]) == 18
    assert len([key for key in files if "/solfeggio/" in key]) == 11
    assert len([key for key in files if "/background/" in key]) == 10
    for stem in beds._BINAURAL_STEMS:
        _, beat, carrier = beds._parts(stem)
        period = tones.binaural(beat, carrier)
        spectrum = np.abs(np.fft.rfft(period, axis=1))
        assert spectrum.argmax(axis=1) * tones.GRID_HZ == pytest.approx([carrier - beat / 2, carrier + beat / 2])


@pytest.mark.parametrize("hz", beds.SOLFEGGIO_HZ)
def test_a_solfeggio_tone_is_the_strongest_one_in_its_decoded_file(hz: int) -> None:
    period = tones.solfeggio(hz) * np.float32(0.04)
    heard = aac.decode(aac.loop_file(aac.encode_loop(period), repetitions=4))
    spectrum = np.abs(np.fft.rfft(heard[0]))
    assert spectrum.argmax() * RATE / heard.shape[1] == pytest.approx(hz, abs=0.05)
    assert measure.frequency(heard[0], hz) == pytest.approx(hz, abs=0.01)
    assert measure.seam(heard) <= 1.01


def test_a_tone_that_does_not_fit_the_period_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        tones.solfeggio(528.05)


def test_a_background_loops_without_a_seam_or_a_shorter_loop_in_it_within_its_levels() -> None:
    heard = aac.decode(beds.bed_files()[beds.background_key("Babbling Brook")]())
    assert heard.shape == (2, 176 * RATE)
    assert measure.seam(heard) <= 1
    assert measure.repetition(heard) < 0.3
    assert loudness(heard) == pytest.approx(beds.BACKGROUND_LUFS, abs=0.5)
    assert loudness(heard) == pytest.approx(beds.DEFAULT_BACKGROUND_MEASURED_LUFS, abs=0.05)
    assert true_peak(heard) <= beds.BACKGROUND_CEILING_DBTP + 0.5
    assert abs(measure.likeness(heard)) < 0.7, "one channel twice"
    assert abs(float(heard.mean())) < 1e-5, "direct current"


def test_every_background_has_its_place_and_its_picture_in_the_documents() -> None:
    page = (DOCS / "sound.md").read_text()
    for key in beds.bed_files():
        assert f"| {key.rpartition('/')[2].removesuffix('.m4a')} |" in page
    for picture in re.findall(r"\((sound/[^)]*)\)", page):
        assert (DOCS / picture).stat().st_size <= 60_000


def test_a_bed_is_the_same_bytes_wherever_it_is_made() -> None:
    make = beds.bed_files()[beds.binaural_key("delta_1hz_100")]
    assert make() == make()


@pytest.mark.parametrize(
    "tag,hz,state,suggestion,file",
    [
        ("wake-up", 17, "Beta", 396, "beta_low_17hz_400"),
        ("Coffee Replacement", 17, "Beta", 396, "beta_low_17hz_400"),
        ("MEDITATE", 7, "Theta", 963, "theta_7hz_400"),
        ("focus", 13.5, "SMR", 741, "smr_13.5hz_400"),
        ("Sleep", 3, "Delta", 528, "delta_3hz_400"),
        ("pre-performance", 12, "Alpha", 528, "alpha_12hz_120"),
        ("Anxiety Relief", 10, "Alpha", 852, "alpha_10hz_400"),
        ("anxiety", 10, "Alpha", 852, "alpha_10hz_400"),
        ("creativity", 7, "Theta", 741, "theta_7hz_400"),
        ("something else", 10, "Alpha", None, "alpha_10hz_400"),
        (None, 10, "Alpha", None, "alpha_10hz_400"),
    ],
)
def test_every_goal_has_its_frequency_and_a_bed_that_plays_it(
    tag: str | None, hz: float, state: str, suggestion: int | None, file: str
) -> None:
    layer = beds.brain_layer(tag)
    assert layer.frequency == beds.Frequency(hz, state, suggestion)
    assert (layer.kind, layer.key, layer.hz) == ("binaural", f"audio/binaural/{file}_3min.m4a", hz)
    assert layer.key in beds.bed_files()


@given(tag=st.none() | st.text(max_size=20), solfeggio=st.none() | st.floats() | st.sampled_from(beds.SOLFEGGIO_HZ))
def test_whatever_is_asked_for_there_is_a_file_and_its_frequency_is_told_truly(
    tag: str | None, solfeggio: float | None
) -> None:
    layer = beds.brain_layer(tag, solfeggio)
    assert layer.key in beds.bed_files()
    if layer.kind == "solfeggio":
        assert layer.key == beds.solfeggio_key(int(layer.hz))
        assert layer.hz == (solfeggio if solfeggio in beds.SOLFEGGIO_HZ else 528)
    else:
        assert f"_{layer.hz:g}hz" in layer.key


@pytest.mark.parametrize("hz,stem", [(13, "beta_13hz_400"), (17, "beta_low_17hz_400"), (19.9, "beta_low_17hz_400")])
def test_beta_beds_are_chosen_by_range(hz: float, stem: str) -> None:
    assert beds._binaural_stem("Beta", hz) == stem
    assert beds._binaural_stem("Beta", 20) == "beta_high_21.5hz_400"
    assert beds._binaural_stem("Gamma", 40) == "gamma_40hz_120"
    assert beds._binaural_stem("Theta", 6.3) == "alpha_10hz_400"
