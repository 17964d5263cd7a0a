"""The meter against the published test signals (EBU Tech 3341) and the levelling against its promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.loudness import cells, integrated, level, limit, loudness, true_peak
from media.samples import FRAME, RATE, Samples, amplitude, audible_span, fade_edges, silence, trim


def sine(seconds: float, dbfs: float, hertz: float = 1000.0) -> Samples:
    time = np.arange(round(seconds * RATE)) / RATE
    return (amplitude(dbfs) * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def speech_like(seed: int, seconds: float = 2.0) -> Samples:
    """Noise in bursts, as peaky as speech."""
    rng = np.random.default_rng(seed)
    bursts = np.repeat(rng.uniform(0.02, 1.0, round(seconds * 10)) ** 2, RATE // 10)
    return (rng.standard_normal(len(bursts)) * bursts * 0.1).astype(np.float32)


@pytest.mark.parametrize(
    "steps,expected",
    [
        pytest.param([(20, -23)], -23.0, id="steady at -23"),
        pytest.param([(20, -33)], -33.0, id="steady at -33"),
        pytest.param([(10, -36), (60, -23), (10, -36)], -23.0, id="relative gate"),
        pytest.param([(10, -72), (10, -36), (60, -23), (10, -36), (10, -72)], -23.0, id="absolute gate"),
        pytest.param([(20, -26), (20.1, -20), (20, -26)], -23.0, id="no gate between"),
    ],
)
def test_the_meter_reads_the_published_signals_to_a_tenth(steps: list[tuple[float, float]], expected: float) -> None:
    signal = np.concatenate([sine(seconds, dbfs) for seconds, dbfs in steps])
    assert loudness(np.stack([signal, signal])) == pytest.approx(expected, abs=0.1)


def test_one_channel_is_measured_as_it_is_heard_on_two_loudspeakers() -> None:
    signal = sine(2, -20)
    assert loudness(signal) == pytest.approx(loudness(np.stack([signal, signal])), abs=1e-6)


@pytest.mark.parametrize("hertz,phase", [(12_000, 45.0), (8_000, 60.0), (6_000, 67.5)])
def test_true_peaks_between_samples_are_found(hertz: float, phase: float) -> None:
    time = np.arange(RATE // 2) / RATE
    wave = 0.5 * np.sin(2 * np.pi * hertz * time + np.radians(phase))
    signal = fade_edges(wave.astype(np.float32), RATE // 10)
    assert true_peak(signal) == pytest.approx(-6.0, abs=0.3)


def test_the_loudest_of_two_channels_is_the_peak_whichever_comes_first() -> None:
    loud, quiet = fade_edges(sine(0.5, -3), 4800), fade_edges(sine(0.5, -30), 4800)
    assert true_peak(np.stack([quiet, loud])) == pytest.approx(-3.0, abs=0.05)
    assert true_peak(np.stack([loud, quiet])) == pytest.approx(-3.0, abs=0.05)


def test_silence_has_no_loudness_and_no_peak() -> None:
    assert loudness(silence(RATE)) == float("-inf")
    assert true_peak(silence(RATE)) == float("-inf")
    assert loudness(sine(0.3, -20)) == float("-inf"), "less than one block"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), gain=st.floats(-20, 20))
def test_gain_moves_loudness_and_peak_by_itself(seed: int, gain: float) -> None:
    signal = speech_like(seed)
    louder = (signal * np.float32(amplitude(gain))).astype(np.float32)
    assert loudness(louder) == pytest.approx(loudness(signal) + gain, abs=0.01)
    assert true_peak(louder) == pytest.approx(true_peak(signal) + gain, abs=0.01)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), frames=st.integers(20, 90))
def test_cells_of_pieces_laid_end_to_end_measure_the_whole(seed: int, frames: int) -> None:
    pieces = [fade_edges(speech_like(seed + i), 480) for i in range(2)]
    pieces = [np.concatenate([silence(FRAME), p, silence(-len(p) % FRAME + frames * FRAME)]) for p in pieces]
    laid = integrated(np.concatenate([cells(piece) for piece in pieces]))
    assert laid == pytest.approx(loudness(np.concatenate(pieces)), abs=0.001)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), ceiling=st.floats(-30, -6))
def test_the_limiter_holds_the_ceiling_and_leaves_the_rest_alone(seed: int, ceiling: float) -> None:
    signal = speech_like(seed)
    limited = limit(signal, ceiling)
    assert true_peak(limited) <= ceiling + 0.05
    assert np.all(np.abs(limited) <= np.abs(signal) + 1e-6), "a gain above one"
    assert limit(signal, true_peak(signal) + 1) == pytest.approx(signal, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), before=st.floats(-45, -5))
def test_levelling_reaches_the_target_under_the_ceiling(seed: int, before: float) -> None:
    signal = speech_like(seed) * np.float32(amplitude(before))
    result = level(signal.astype(np.float32), -20.0, -2.5)
    assert result.loudness_lufs == pytest.approx(-20.0, abs=0.1)
    assert result.true_peak_dbtp <= -2.5
    assert true_peak(result.samples) == result.true_peak_dbtp


def test_one_short_word_can_be_levelled_and_silence_cannot() -> None:
    assert level(fade_edges(sine(0.15, -40, 300), 480)).loudness_lufs == pytest.approx(-20.0, abs=0.1)
    with pytest.raises(ValueError, match="silence"):
        level(silence(RATE))


@settings(max_examples=20, deadline=None)
@given(before=st.integers(0, RATE // 2), after=st.integers(0, RATE // 2))
def test_trimming_gives_the_same_read_whatever_silence_an_engine_puts_around_it(before: int, after: int) -> None:
    word = sine(0.4, -12, 220)
    trimmed = trim(np.concatenate([silence(before), word, silence(after)]))
    pad, window = RATE * 30 // 1000, RATE * 5 // 1000
    assert len(word) + 2 * pad <= len(trimmed) <= len(word) + 2 * (pad + window)
    assert trimmed[0] == pytest.approx(0, abs=1e-3)
    assert audible_span(trim(silence(before + after))) == (0, 0)
