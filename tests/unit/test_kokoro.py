"""The kokoro engine, on a tiny model with the real one's inputs and outputs: every phoneme is a short tone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.kokoro import KokoroSpeech
from media.kokoro_pieces import SPEAKERS, missing_pieces
from media.samples import RATE, audible_span
from media.speech import FIRST_TAKE, SECOND_TAKE, Unspeakable
from tests.support.media import settings
from tests.support.tiny_voices import fill_voices

LINE = "I speak calmly and take my time."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill_voices(tmp_path)
    return tmp_path


def test_a_read_is_speech_at_48_khz(folder: Path) -> None:
    samples = KokoroSpeech(folder).read(LINE, "nova", FIRST_TAKE)
    start, end = audible_span(samples)
    assert 1.0 < (end - start) / RATE < 3.0


def test_every_voice_is_another_speaker_and_unknown_ones_are_the_default(folder: Path) -> None:
    speech = KokoroSpeech(folder)
    assert len(set(SPEAKERS.values())) == len(SPEAKERS) == 6
    reads = {speech.read(LINE, voice, FIRST_TAKE).tobytes() for voice in SPEAKERS}
    assert len(reads) == len(SPEAKERS)
    assert speech.voice("balanced") == "nova"


def test_the_two_takes_differ_and_each_is_repeatable(folder: Path) -> None:
    speech = KokoroSpeech(folder)
    first, second = (speech.read(LINE, "nova", take) for take in (FIRST_TAKE, SECOND_TAKE))
    assert not np.array_equal(first[: len(second)], second[: len(first)])
    assert np.array_equal(KokoroSpeech(folder).read(LINE, "nova", FIRST_TAKE), first)


def test_threads_hear_what_one_alone_hears(folder: Path) -> None:
    alone, shared = KokoroSpeech(folder), KokoroSpeech(folder)
    texts = [f"{number} is a calm and steady number." for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: shared.read(text, "shimmer", FIRST_TAKE), texts))
    assert all(
        np.array_equal(alone.read(text, "shimmer", FIRST_TAKE), heard)
        for text, heard in zip(texts, together, strict=True)
    )


@pytest.mark.parametrize("text", ["", "🙂🙂"])
def test_what_has_no_words_is_unspeakable(folder: Path, text: str) -> None:
    with pytest.raises(Unspeakable):
        KokoroSpeech(folder).read(text, "nova", FIRST_TAKE)


def test_the_version_follows_the_files(folder: Path) -> None:
    before = KokoroSpeech(folder).version
    (folder / "af_heart.bin").write_bytes(bytes(4 * 510 * 256))
    assert KokoroSpeech(folder).version != before


def test_without_its_pieces_it_is_refused_and_the_way_out_is_named(folder: Path) -> None:
    assert missing_pieces(folder) == []
    url = "postgresql://media:secret@127.0.0.1:1/entrain"
    assert settings(url, media_speech="kokoro", media_kokoro_path=str(folder)).media_speech == "kokoro"
    (folder / "bm_george.bin").unlink()
    with pytest.raises(ValueError, match=r"finds no bm_george\.bin in .*: run `make voices`"):
        settings(url, media_speech="kokoro", media_kokoro_path=str(folder))


@pytest.mark.parametrize("engine, missing", [("openai", "OPENAI_API_KEY"), ("elevenlabs", "ELEVENLABS_API_KEY")])
@pytest.mark.parametrize("role", ["media_speech", "media_speech_fallback"])
def test_a_provider_without_its_key_is_refused(engine: str, missing: str, role: str) -> None:
    chosen: dict[str, Any] = {role: engine}
    with pytest.raises(ValueError, match=missing):
        settings("postgresql://media:secret@127.0.0.1:1/entrain", **chosen)
