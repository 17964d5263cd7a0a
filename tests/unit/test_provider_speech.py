"""Speech by providers: what is asked, what is believed, and what happens on a provider's bad day."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from common.web.client import HttpClient, Patience
from embedded.speech import SpeechStandIn, hum
from media.elevenlabs_speech import ElevenLabsSpeech
from media.elevenlabs_voices import DEFAULT_VOICES, voices_named
from media.jobs import verdict_on
from media.openai_speech import OpenAISpeech
from media.provider_speech import KeyRefused, ProviderSpeech
from media.samples import RATE, Samples
from media.speech import FIRST_TAKE, SECOND_TAKE, SpeechUnavailable, Take, Unspeakable

LINE = "I speak calmly and take my time."
VOICES = ("nova", "shimmer", "alloy", "onyx", "echo", "fable")


async def at_once(_: float) -> None:
    """No waiting between attempts."""


@pytest.fixture
async def provider() -> AsyncIterator[SpeechStandIn]:
    async with SpeechStandIn() as running:
        yield running
        running.faults.clear()


@pytest.fixture(params=["openai", "elevenlabs"])
async def speech(request: pytest.FixtureRequest, provider: SpeechStandIn) -> AsyncIterator[ProviderSpeech]:
    http = HttpClient("speech", patience=Patience(1.0, 0.5, 3.0), retries=2, sleep=at_once)
    engine: ProviderSpeech = ElevenLabsSpeech(provider.url, provider.api_key, http)
    if request.param == "openai":
        engine = OpenAISpeech(f"{provider.url}/v1", provider.api_key, "gpt-4o-mini-tts", http)
    async with engine:
        yield engine


async def read(engine: ProviderSpeech, text: str = LINE, voice: str = "nova", take: Take = FIRST_TAKE) -> Samples:
    """As a rendering thread does."""
    return await asyncio.to_thread(engine.read, text, voice, take)


async def test_a_read_is_48_khz_speech_of_the_texts_length(speech: ProviderSpeech) -> None:
    samples = await read(speech)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert 2.5 < len(samples) / RATE < 4.5
    assert 0.1 < np.abs(samples).max() <= 1.0


async def test_the_two_takes_are_asked_for_differently(speech: ProviderSpeech, provider: SpeechStandIn) -> None:
    first, second = await read(speech), await read(speech, take=SECOND_TAKE)
    assert len(first) != len(second)
    assert provider.asked[0][1] != provider.asked[1][1]


async def test_every_voice_the_app_knows_is_another_one_and_others_are_the_default(
    speech: ProviderSpeech, provider: SpeechStandIn
) -> None:
    for voice in VOICES:
        await read(speech, voice=voice)
    asked = {(path, body.get("voice")) for path, body in provider.asked}
    assert len(asked) == len(VOICES)
    assert speech.voice("More space") == speech.voice(" NOVA ") == "nova"


async def test_the_version_follows_what_shapes_the_sound_and_not_the_key() -> None:
    def version(model: str, key: str) -> str:
        return OpenAISpeech("http://127.0.0.1:1/v1", key, model).version

    assert version("tts-1", "a") == version("tts-1", "b")
    assert version("tts-1", "a") != version("tts-1-hd", "a")


@pytest.mark.parametrize("kind", ["unavailable", "error", "rate_limited", "cut", "html", "empty"])
async def test_a_bad_moment_is_tried_again(speech: ProviderSpeech, provider: SpeechStandIn, kind: str) -> None:
    provider.faults.fail_next(kind, 1)
    assert len(await read(speech)) > RATE
    assert len(provider.asked) == 1


async def test_a_body_that_breaks_off_is_tried_again(speech: ProviderSpeech, provider: SpeechStandIn) -> None:
    provider.breaks_off()
    assert len(await read(speech)) > RATE
    assert len(provider.asked) == 2


@pytest.mark.parametrize("kind", ["unavailable", "rate_limited", "slow", "cut", "html", "empty", "redirect"])
async def test_a_bad_day_ends_in_one_error(speech: ProviderSpeech, provider: SpeechStandIn, kind: str) -> None:
    provider.faults.fail_next(kind, -1)
    with pytest.raises(SpeechUnavailable):
        await read(speech)
    assert sum(provider.faults.calls.values()) <= 6


@pytest.mark.parametrize(
    "body",
    [
        bytes(2 * 24_000 * 3),
        hum("one", "nova", 1.0),
        hum(LINE * 6, "nova", 0.5),
        b"RIFF" + hum(LINE, "nova", 1.0),
        hum(LINE, "nova", 1.0) + b"x",
        b'\n {"error": "' + b"none" * 40_000 + b'"}',
        b"OggS" + hum(LINE, "nova", 1.0),
    ],
    ids=["silence", "too short", "too long", "wav", "odd", "json", "ogg"],
)
async def test_what_cannot_be_this_texts_speech_is_refused(
    speech: ProviderSpeech, provider: SpeechStandIn, body: bytes
) -> None:
    provider.sends(body)
    assert len(await read(speech)) > RATE
    provider.sends(body, body)
    with pytest.raises(SpeechUnavailable):
        await read(speech)


@pytest.mark.parametrize("kind", ["audio/pcm;rate=48000", "audio/L16; rate=8000", "text/html", "application/json"])
async def test_sound_of_another_rate_or_kind_is_refused(
    speech: ProviderSpeech, provider: SpeechStandIn, kind: str
) -> None:
    provider.content_type = kind
    with pytest.raises(SpeechUnavailable):
        await read(speech)
    provider.content_type = "audio/pcm;rate=24000"
    assert len(await read(speech)) > RATE


@pytest.mark.parametrize("sample", [0x3C, 0x7B, 0x207B])
async def test_sound_may_begin_with_any_sample(speech: ProviderSpeech, provider: SpeechStandIn, sample: int) -> None:
    provider.sends(sample.to_bytes(2, "little") + hum(LINE, "nova", 1.0)[2:])
    assert len(await read(speech)) > RATE
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    "text, words",
    [("https://www.example.com/a/b?c=d&e=f#g", 18), ("1234567890", 15), ("I ... breathe ... and ... rest.", 4)],
)
async def test_figures_and_addresses_take_their_time(
    speech: ProviderSpeech, provider: SpeechStandIn, text: str, words: int
) -> None:
    provider.sends(hum("word " * words, "nova", 0.9))
    assert len(await read(speech, text)) > RATE
    assert len(provider.asked) == 1


async def test_a_text_the_provider_refuses_is_unspeakable(speech: ProviderSpeech, provider: SpeechStandIn) -> None:
    provider.faults.fail_next("error", 1, status=400)
    with pytest.raises(Unspeakable):
        await read(speech)


async def test_a_refused_key_is_not_tried_again(provider: SpeechStandIn, capsys: pytest.CaptureFixture[str]) -> None:
    async with OpenAISpeech(f"{provider.url}/v1", "sk-wrong", "tts-1") as engine:
        with pytest.raises(KeyRefused) as refusal:
            await read(engine)
    assert verdict_on(refusal.value).final
    assert sum(provider.faults.calls.values()) == 1
    assert "sk-wrong" not in capsys.readouterr().out


def test_elevenlabs_voices_may_be_an_accounts_own() -> None:
    engine = ElevenLabsSpeech("http://127.0.0.1:1", "key", voices=voices_named("onyx=abcDEF123456, nova=ghiJKL123456"))
    assert engine.request("Hello.", "onyx", FIRST_TAKE).url.startswith(
        "http://127.0.0.1:1/v1/text-to-speech/abcDEF123456?"
    )
    assert engine.voices["echo"] == DEFAULT_VOICES["echo"]
    assert len(set(engine.voices.values())) == 6
    assert engine.version != ElevenLabsSpeech("http://127.0.0.1:1", "key").version  # lines of other voices are others
    assert voices_named("") == {}


@pytest.mark.parametrize("named", ["onyx", "zoe=abcDEF123456", "onyx=a b", "onyx=../x", "=abcDEF123456"])
def test_a_voice_nobody_has_is_refused_at_start(named: str) -> None:
    with pytest.raises(ValueError, match="write nova=ID"):
        voices_named(named)
