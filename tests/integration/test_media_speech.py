"""A provider speaks, fails, and is replaced by another engine only where one is set up."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from common.web.client import HttpClient
from embedded.speech import SpeechStandIn
from media.jobs import Renderer
from media.line_audio import line_key
from media.object_keys import line_object
from media.openai_speech import OpenAISpeech
from media.speech import Speech
from tests.support.hand_clock import HandClock
from tests.support.media import LINES, media, settings
from tests.support.render_works import Shelf, Works
from tests.support.tone_speech import ToneSpeech


@pytest.fixture
async def works(database_url: str) -> AsyncIterator[Works]:
    clock = HandClock()
    async with media(settings(database_url), clock=clock) as [running]:
        await running.subscribe("user_1")
        yield Works(running, clock, Shelf())


@pytest.fixture
async def provider() -> AsyncIterator[SpeechStandIn]:
    async with SpeechStandIn() as running:
        yield running


@pytest.fixture
async def openai(provider: SpeechStandIn) -> AsyncIterator[OpenAISpeech]:
    http = HttpClient("openai", retries=1, sleep=lambda _: asyncio.sleep(0))
    async with OpenAISpeech(f"{provider.url}/v1", provider.api_key, "tts-1", http) as engine:
        yield engine


def worker(works: Works, speech: Speech, fallback: Speech | None = None) -> Renderer:
    kept: Any = works.shelf
    return Renderer(works.media.service.database, kept, speech, fallback=fallback, lease=timedelta(seconds=20))


async def certificate(works: Works, session: str) -> dict[str, Any]:
    [name] = [key for key in works.shelf.objects if session in key and key.endswith(".json")]
    return dict(json.loads(works.shelf.objects[name]))


async def test_a_providers_speech_becomes_a_session(
    works: Works, openai: OpenAISpeech, provider: SpeechStandIn
) -> None:
    session, job = await works.ordered()
    await works.work_once(worker(works, openai))
    assert (await works.job(job))["status"] == "completed"
    assert (await certificate(works, session))["engine"] == f"openai {openai.version}"
    assert len(provider.asked) == 2 * len(LINES)
    await works.ordered()
    await works.work_once(worker(works, openai))
    assert len(provider.asked) == 2 * len(LINES)  # nothing is paid for twice


async def test_a_provider_that_is_down_fails_the_attempt_and_caches_nothing(
    works: Works, openai: OpenAISpeech, provider: SpeechStandIn
) -> None:
    provider.faults.fail_next("unavailable", -1)
    _, job = await works.ordered()
    await works.work_once(worker(works, openai))
    assert (await works.job(job))["status"] == "pending"
    assert works.shelf.objects == {}
    for _ in range(4):
        works.clock.forward(minutes=5)
        await works.work_once(worker(works, openai))
    failed = await works.job(job)
    assert (failed["status"], failed["error"]) == ("failed", "The voice cannot be reached just now.")
    assert [each["code"] for each in await works.payloads("audio_failed")] == ["SPEECH_UNAVAILABLE"]


async def test_where_one_is_set_up_another_engine_speaks_and_is_named(
    works: Works, openai: OpenAISpeech, provider: SpeechStandIn
) -> None:
    provider.faults.fail_next("unavailable", -1)
    session, job = await works.ordered()
    spare = ToneSpeech()
    await works.work_once(worker(works, openai, spare))
    assert (await works.job(job))["status"] == "completed"
    assert (await certificate(works, session))["engine"] == f"{spare.name} {spare.version}"
    lines = {key for key in works.shelf.objects if key.startswith("audio/line/")}
    assert lines == {line_object(line_key(line, "nova", spare)) for line in LINES}
    [generated] = await works.payloads("audio_generated")
    assert generated["jobId"] == job


async def test_a_body_that_breaks_off_is_never_heard(
    works: Works, openai: OpenAISpeech, provider: SpeechStandIn
) -> None:
    provider.breaks_off(1)
    _, job = await works.ordered()
    await works.work_once(worker(works, openai))
    assert (await works.job(job))["status"] == "completed"
    assert len(provider.asked) == 2 * len(LINES) + 1
