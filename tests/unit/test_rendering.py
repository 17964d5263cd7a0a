"""Sessions rendered whole: with an engine made for the test where only counting matters, with the real one where a
listener would hear the difference.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media import aac
from media.hibari_speech import TIMBRES, HibariSpeech
from media.line_audio import PAUSE, REST, BadRender, Clip, DamagedLine, LineAudio, line_key
from media.lines import MAX_LINE_CHARACTERS, normalise, require_speakable
from media.loudness import cells, loudness, true_peak
from media.m4a import unwrap
from media.rendering import Rendering, Segment, check, render
from media.samples import FRAME, RATE, Samples, fade_edges, silence, trim
from media.speech import DEFAULT_VOICE, FIRST_TAKE, SECOND_TAKE, Take, Unspeakable
from media.studio import RenderCancelled

LINES = ["I choose calm over worry tonight.", "Each breath brings me home.", "I trust the pace of my own body."]


@dataclass
class HummingSpeech:
    """Hums one syllable a word: as exact as speech, and it counts what it was asked for."""

    name: str = "humming"
    version: str = "1"
    silent_on: str = "\0"
    cut_on: str = "\0"
    calls: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def voice(self, requested: str) -> str:
        return "low" if requested == "low" else "high"

    def warm_up(self) -> None:
        """Nothing to load."""

    def read(self, text: str, voice: str, take: Take) -> Samples:
        with self.lock:
            self.calls[text] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self._hum(text, voice, take)
        finally:
            with self.lock:
                self.at_once -= 1

    def _hum(self, text: str, voice: str, take: Take) -> Samples:
        if self.silent_on in text:
            return silence(RATE)
        hertz = (110 if voice == "low" else 200) * 2 ** (take.pitch_semitones / 12)
        syllables = []
        for word in text.split():
            time = np.arange(round(RATE * (0.12 + 0.03 * len(word)) / take.speed)) / RATE
            wave = np.sum([np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 20)], axis=0)
            syllables.append(fade_edges((0.08 * wave).astype(np.float32), RATE // 50))
        quiet = silence(RATE // 3)
        spoken = np.concatenate([quiet, *syllables])
        return spoken[: -RATE // 20] if self.cut_on in text else np.concatenate([spoken, quiet])


class Shelf(dict[str, LineAudio]):
    """A cache in memory."""

    def get_many(self, keys: Sequence[str]) -> dict[str, LineAudio]:
        return {key: self[key] for key in keys if key in self}

    def put(self, key: str, line: LineAudio) -> None:
        self[key] = line


@pytest.fixture(scope="module")
def hibari() -> HibariSpeech:
    return HibariSpeech()


@pytest.fixture(scope="module")
def spoken(hibari: HibariSpeech) -> Rendering:
    return render(LINES, DEFAULT_VOICE, hibari)


@pytest.fixture(scope="module")
def spoken_line() -> bytes:
    shelf = Shelf()
    render(LINES[:1], "low", HummingSpeech(), line_cache=shelf)
    return next(iter(shelf.values())).to_bytes()


def outside(heard: Samples, rendering: Rendering) -> Samples:
    mask = np.ones(len(heard), bool)
    for segment in rendering.segments:
        mask[segment.start_ms * RATE // 1000 - 48 : segment.end_ms * RATE // 1000 + 48] = False
    return heard[mask]


@settings(max_examples=8, deadline=None)
@given(words=st.lists(st.integers(1, 12), min_size=1, max_size=4), voice=st.sampled_from(["low", "high"]))
def test_every_session_keeps_the_pattern_the_length_and_the_level(words: list[int], voice: str) -> None:
    lines = [" ".join(f"word{index}" for _ in range(count)) for index, count in enumerate(words)]
    rendering = render(lines, voice, HummingSpeech())
    heard = aac.decode(rendering.m4a)
    assert len(heard) == rendering.samples
    assert rendering.samples % 1024 == 0
    assert loudness(heard) == pytest.approx(-20.0, abs=0.5)
    assert true_peak(heard) <= -1.5
    starts = [segment.start_ms for segment in rendering.segments]
    ends = [segment.end_ms for segment in rendering.segments]
    assert starts[0] == 500
    pauses = [after - before for before, after in zip(ends, starts[1:], strict=False)]
    expected = ([1500, 4000] * len(lines))[:-1]
    assert all(abs(pause - promised) <= 1 for pause, promised in zip(pauses, expected, strict=True))
    reads = sum(end - start for start, end in zip(starts, ends, strict=True))
    assert rendering.duration_ms == pytest.approx(1250 + 5500 * len(lines) + reads, abs=9 + len(starts))


def test_what_the_certificate_says_is_what_the_decoded_file_measures(spoken: Rendering) -> None:
    heard = aac.decode(spoken.m4a)
    stated = json.loads(json.dumps(spoken.certificate()))
    assert stated["samples"] == len(heard)
    assert stated["durationMs"] == round(len(heard) * 1000 / RATE)
    assert stated["loudness"]["integratedLufs"] == pytest.approx(loudness(heard), abs=0.01)
    assert stated["loudness"]["truePeakDbtp"] == pytest.approx(true_peak(heard), abs=0.01)
    assert stated["bytes"] == len(spoken.m4a)
    assert stated["engine"].startswith("hibari 0.2.1+")
    assert len(stated["lines"]) == stated["linesSpoken"] == len(LINES)


def test_every_segment_holds_speech_and_every_pause_holds_none(spoken: Rendering) -> None:
    heard = aac.decode(spoken.m4a)
    assert len(spoken.segments) == 2 * len(LINES)
    for segment in spoken.segments:
        read = heard[segment.start_ms * RATE // 1000 : segment.end_ms * RATE // 1000]
        assert np.sqrt(np.square(read).mean()) > 0.02
    assert np.abs(outside(heard, spoken)).max() < 10 ** (-60 / 20)


def test_the_loop_seam_is_silent(spoken: Rendering) -> None:
    heard = aac.decode(spoken.m4a)
    assert np.abs(heard[: RATE * 450 // 1000]).max() == 0
    assert np.abs(heard[-4 * RATE :]).max() == 0


def test_the_two_reads_of_a_line_are_heard_as_two(hibari: HibariSpeech) -> None:
    text = LINES[0]
    first, second = (trim(hibari.read(text, DEFAULT_VOICE, take)) for take in (FIRST_TAKE, SECOND_TAKE))
    again = trim(hibari.read(text, DEFAULT_VOICE, FIRST_TAKE))
    reseeded = trim(hibari.read(text, DEFAULT_VOICE, replace(FIRST_TAKE, seed=99)))
    assert np.array_equal(first, again)
    assert 1.02 < len(second) / len(first) < 1.12, "the second read is a little slower"
    assert pitch(second) < 0.985 * pitch(first), "and a little lower"
    assert spectral_distance(first, second) > 2 * spectral_distance(first, reseeded)


def pitch(read: Samples) -> float:
    """Mean fundamental of the voiced 40 ms windows in Hz, by autocorrelation."""
    size, found = RATE * 40 // 1000, []
    lags = slice(RATE // 400, RATE // 90)
    for start in range(0, len(read) - size, size):
        window = read[start : start + size].astype(np.float64)
        match = np.correlate(window, window, "full")[size - 1 :]
        if match[0] > 1.0 and match[lags].max() > 0.5 * match[0]:
            found.append(RATE / (lags.start + int(match[lags].argmax())))
    return float(np.median(found))


def spectral_distance(one: Samples, other: Samples) -> float:
    """RMS difference in dB between the log spectra of 40 bands, window by window."""
    size = 2048
    frames = min(len(one), len(other)) // size
    edges = np.unique(np.geomspace(4, size // 2, 40).astype(int))

    def bands(read: Samples) -> Samples:
        windows = read[: frames * size].reshape(frames, size) * np.hanning(size)
        power = np.square(np.abs(np.fft.rfft(windows)))
        return np.asarray(10 * np.log10(np.add.reduceat(power, edges, axis=1) + 1e-4))

    return float(np.sqrt(np.square(bands(one) - bands(other)).mean()))


def test_every_voice_of_the_app_is_its_own_and_unknown_ones_are_the_default(hibari: HibariSpeech) -> None:
    assert set(TIMBRES) == {"nova", "shimmer", "alloy", "onyx", "echo", "fable"}
    reads = {name: trim(hibari.read(LINES[0], name, FIRST_TAKE)) for name in TIMBRES}
    heights = {name: pitch(read) for name, read in reads.items()}
    assert heights["onyx"] < heights["echo"] < heights["alloy"] < heights["nova"] < heights["fable"]
    for unknown in ("balanced", "More space", "en-US-Standard-C", "", "neutral"):
        assert hibari.voice(unknown) == "nova"
    assert hibari.voice(" Onyx ") == "onyx"


def test_the_same_session_is_the_same_bytes_with_and_without_a_cache(hibari: HibariSpeech, spoken: Rendering) -> None:
    shelf = Shelf()
    cold, warm = (render(LINES, DEFAULT_VOICE, hibari, line_cache=shelf) for _ in range(2))
    assert cold.m4a == warm.m4a == spoken.m4a
    assert (cold.lines_spoken, warm.lines_spoken) == (3, 0)
    assert cold.loudness_lufs == warm.loudness_lufs


def test_editing_one_line_speaks_one_line_and_moving_lines_speaks_none() -> None:
    speech, shelf = HummingSpeech(), Shelf()
    render(LINES, "low", speech, line_cache=shelf)
    speech.calls.clear()
    render([LINES[0], "I begin again.", LINES[2]], "low", speech, line_cache=shelf)
    assert speech.calls == {"I begin again.": 2}
    render(LINES[::-1], "low", speech, line_cache=shelf)
    assert speech.calls.total() == 2


def test_a_line_that_stands_twice_is_spoken_once() -> None:
    speech = HummingSpeech()
    rendering = render([LINES[0], LINES[1], f"  {LINES[0]}\n"], "low", speech)
    assert speech.calls[LINES[0]] == 2
    assert len(rendering.segments) == 6
    assert rendering.line_keys[0] == rendering.line_keys[2]


def test_whatever_shapes_the_sound_is_in_the_key() -> None:
    speech = HummingSpeech()
    keys = {
        line_key(LINES[0], "low", speech),
        line_key(LINES[1], "low", speech),
        line_key(LINES[0], "high", speech),
        line_key(LINES[0], "low", HummingSpeech(version="2")),
        line_key(LINES[0], "low", HummingSpeech(name="whistling")),
    }
    assert len(keys) == 5
    assert line_key(LINES[0], "anything else", speech) == line_key(LINES[0], "high", speech)


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 0.99), flip=st.integers(0, 1_000_000))
def test_a_cached_line_that_changed_anywhere_is_recognised(spoken_line: bytes, cut: float, flip: int) -> None:
    assert LineAudio.from_bytes(spoken_line).to_bytes() == spoken_line
    flipped = bytearray(spoken_line)
    flipped[flip % len(flipped)] ^= 0x40
    for damaged in (bytes(flipped), spoken_line[: int(len(spoken_line) * cut)]):
        with pytest.raises(DamagedLine):
            LineAudio.from_bytes(damaged)


@pytest.mark.parametrize("threads", [1, 2])
def test_no_more_reads_are_made_at_once_than_asked_for_and_progress_only_rises(threads: int) -> None:
    speech = HummingSpeech()
    heard: list[tuple[str, int]] = []
    render(
        [*LINES, "I rest.", "I rise."],
        "low",
        speech,
        on_progress=lambda stage, percent: heard.append((stage, percent)),
        threads=threads,
    )
    assert speech.most_at_once <= threads
    percents = [percent for _, percent in heard]
    assert percents == sorted(percents)
    assert [stage for stage, _ in heard[-2:]] == ["joining", "checking"]
    assert len([stage for stage, _ in heard if stage == "speaking"]) == 10


def test_a_cancelled_render_stops_between_reads() -> None:
    speech, progress = HummingSpeech(), list[int]()
    with pytest.raises(RenderCancelled):
        render(
            LINES * 3 + [f"line {n}" for n in range(20)],
            "low",
            speech,
            on_progress=lambda _, percent: progress.append(percent),
            cancelled=lambda: len(progress) >= 2,
        )
    assert speech.calls.total() <= 6


@pytest.mark.parametrize("text", ["", "   ", "🙂🙂", "日本語", "!!!", "<b></b>", "\x00\x1b", "---"])
def test_text_without_words_is_refused_with_the_index_of_its_line(text: str) -> None:
    with pytest.raises(Unspeakable) as refusal:
        render([LINES[0], text], "low", HummingSpeech())
    assert refusal.value.line == 1


@pytest.mark.parametrize(
    "written,said",
    [
        ("  I\n am\tcalm ", "I am calm"),
        ("I am <break time='9s'/>calm", "I am calm"),
        ("I’m “here”", 'I\'m "here"'),
        ("cafe\u0301 light", "café light"),
        ("I am [calm](/kɑm/) 🙂 now", "I am calm (/kɑm/) now"),
        ("1 < 2 and\x07 done", "1 2 and done"),
    ],
)
def test_text_has_one_form_in_which_it_is_spoken(written: str, said: str) -> None:
    assert normalise(written) == said
    assert normalise(normalise(written)) == said


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=80))
def test_normalising_twice_changes_nothing(text: str) -> None:
    try:
        once = normalise(text)
    except Unspeakable:
        return
    assert normalise(once) == once
    assert once.isprintable()


def test_a_line_longer_than_the_bound_is_refused() -> None:
    assert normalise("a" * MAX_LINE_CHARACTERS)
    with pytest.raises(Unspeakable, match="characters"):
        normalise("a" * (MAX_LINE_CHARACTERS + 1))
    with pytest.raises(ValueError, match="at least one line"):
        render([], "low", HummingSpeech())


@pytest.mark.parametrize("engine", [HummingSpeech(silent_on="rest"), HummingSpeech(cut_on="rest")])
def test_a_read_that_is_silent_or_cut_off_is_refused_and_never_cached(engine: HummingSpeech) -> None:
    shelf = Shelf()
    with pytest.raises(BadRender) as refusal:
        render([LINES[0], "I rest."], "low", engine, line_cache=shelf)
    assert refusal.value.what
    assert line_key("I rest.", "low", engine) not in shelf


@pytest.mark.parametrize(
    "change",
    [
        lambda good: {"samples": good.samples + 1024},
        lambda good: {"segments": good.segments[:-1]},
        lambda good: {"segments": good.segments[::-1]},
        lambda good: {"loudness_lufs": -20.6},
        lambda good: {"loudness_lufs": float("-inf")},
        lambda good: {"loudness_lufs": float("nan")},
        lambda good: {"true_peak_dbtp": -1.4},
        lambda good: {"m4a": good.m4a[:-1]},
        lambda good: {"m4a": good.m4a[:-1] + b"\x55"},
        lambda good: {"m4a": b""},
    ],
)
def test_the_gate_refuses_what_is_not_as_promised(spoken: Rendering, change: object) -> None:
    check(spoken)
    assert callable(change)
    with pytest.raises(BadRender):
        check(replace(spoken, **change(spoken)))


def rejoined(good: Rendering, packets: Sequence[bytes], **changes: object) -> Rendering:
    """A sound file of other packets that says of itself what is true, so that only what is heard can betray it."""
    data = aac.join(packets)
    true = {"m4a": data, "sha256": hashlib.sha256(data).hexdigest(), "samples": (len(packets) - 1) * FRAME}
    return replace(good, **{**true, **changes})  # type: ignore[arg-type]


def test_a_file_that_is_silent_or_misses_a_read_is_refused(spoken: Rendering) -> None:
    packets, silence = unwrap(spoken.m4a).packets, aac.silent_packet()
    check(rejoined(spoken, packets))
    with pytest.raises(BadRender, match="sound in read 1"):
        check(rejoined(spoken, [silence] * len(packets)))
    second = slice(*(edge * RATE // 1000 // FRAME for edge in (spoken.segments[1].start_ms, spoken.segments[1].end_ms)))
    lacking = [*packets[: second.start], *[silence] * (second.stop - second.start), *packets[second.stop :]]
    with pytest.raises(BadRender, match="sound in read 2"):
        check(rejoined(spoken, lacking))


def test_a_file_that_is_cut_off_is_refused(spoken: Rendering) -> None:
    packets = unwrap(spoken.m4a).packets
    end = spoken.segments[-1].end_ms * RATE // 1000 // FRAME
    for kept in (end - 20, end + 1, len(packets) - 1):  # in the last read, right behind it, a frame too few
        with pytest.raises(BadRender, match=r"edges|silence 6"):
            check(rejoined(spoken, packets[:kept]))


def test_a_file_with_sound_in_its_seam_or_in_a_pause_is_refused(spoken: Rendering) -> None:
    packets = list(unwrap(spoken.m4a).packets)
    loud = packets[spoken.segments[0].start_ms * RATE // 1000 // FRAME + 20]
    pause = spoken.segments[0].end_ms * RATE // 1000 // FRAME + 10
    for place, said in ((3, "before read 1"), (pause, "before read 2"), (-3, "after the last")):
        spoiled = packets.copy()
        spoiled[place] = loud
        with pytest.raises(BadRender, match=said):
            check(rejoined(spoken, spoiled))


def test_a_file_with_a_pause_too_long_is_refused_though_its_timeline_is_right(spoken: Rendering) -> None:
    packets = list(unwrap(spoken.m4a).packets)
    late = spoken.segments[0].end_ms * RATE // 1000 // FRAME + 10
    longer = [*packets[:late], *[aac.silent_packet()] * 3, *packets[late:]]
    moved = [Segment(one.start_ms + 64, one.end_ms + 64) for one in spoken.segments[1:]]
    with pytest.raises(BadRender, match="silence 1 in ms"):
        check(rejoined(spoken, longer, segments=(spoken.segments[0], *moved)))


def encoded_again(clip: Clip, gain: float, clipped: bool) -> Clip:
    heard = gain * aac.decode_packets(clip.packets)
    if clipped:
        heard[len(heard) // 2 :][:20] = 1.0
    packets = aac.encode(heard)
    again = aac.decode_packets(packets)
    return Clip(packets, clip.spoken, true_peak(again), cells(again))


@pytest.mark.parametrize(
    "gain, clipped, said", [(0.5, False, "loudness"), (2.0, False, "loudness"), (1.0, True, "true peak")]
)
def test_a_cached_line_that_is_too_quiet_too_loud_or_clipped_is_refused(gain: float, clipped: bool, said: str) -> None:
    speech, shelf = HummingSpeech(), Shelf()
    [key] = render(LINES[:1], "low", speech, line_cache=shelf).line_keys
    kept = shelf[key]
    shelf[key] = LineAudio(*(encoded_again(clip, gain, clipped) for clip in (kept.first, kept.second)))
    with pytest.raises(BadRender, match=said):
        render(LINES[:1], "low", speech, line_cache=shelf)


@pytest.mark.parametrize("text", ["I am 平静 now.", "Я спокоен and calm", "I am Ωmega calm"])
def test_letters_that_a_voice_would_leave_out_are_refused_at_the_door(text: str) -> None:
    with pytest.raises(Unspeakable, match="speak English"):
        require_speakable(text)
    assert normalise(text)


@pytest.mark.parametrize("text", ["Café Zürich, naïve señor", "My ½ hour, 1º, ﬁne — it’s mine!"])
def test_letters_with_marks_and_signs_are_no_other_script(text: str) -> None:
    require_speakable(text)


def test_an_engine_that_fails_fails_the_render() -> None:
    class BrokenSpeech(HummingSpeech):
        def read(self, text: str, voice: str, take: Take) -> Samples:
            raise ConnectionError("provider gone")

    with pytest.raises(ConnectionError, match="provider gone"):
        render(LINES, "low", BrokenSpeech())


def test_pauses_are_what_the_rules_say() -> None:
    assert (PAUSE, REST) == (1500 * RATE // 1000, 4000 * RATE // 1000)
