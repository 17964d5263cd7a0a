"""People's own words come in: judged before anything is kept, written by whoever is there."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from embedded.language_model import FLAGGED_WORD, LanguageModelStandIn
from tests.support.hand_clock import HandClock
from tests.support.media import Media, draft, media, settings

WISH = {"goal": "speak calmly in front of my team", "count": 3}
LINES = (
    "I speak calmly and take my time.",
    "My team hears a clear and steady voice.",
    "I choose calm words in front of my team.",
)


@pytest.fixture
async def provider() -> AsyncIterator[LanguageModelStandIn]:
    async with LanguageModelStandIn() as running:
        yield running


@pytest.fixture
async def app(database_url: str, provider: LanguageModelStandIn) -> AsyncIterator[Media]:
    """With a language model, called as a subscriber."""
    configured = settings(database_url, openai_api_key=provider.api_key, openai_base_url=provider.base_url)
    async with media(configured, clock=HandClock()) as [running]:
        await running.subscribe("user_1")
        yield running


async def kept(app: Media) -> int:
    return len(await app.rows("SELECT id FROM media.session UNION ALL SELECT user_id FROM media.daily_use"))


async def test_a_model_writes_where_one_is_set_up(app: Media, provider: LanguageModelStandIn) -> None:
    provider.writes(*LINES)
    answer = await app.api.post("/affirmations/generate", WISH)
    assert (answer.status, answer.json) == (200, {"affirmations": list(LINES)})
    assert provider.asked[0]["model"] == "gpt-4.1-mini"


async def test_without_the_model_lines_still_come(app: Media, provider: LanguageModelStandIn) -> None:
    provider.faults.fail_next("unavailable", -1)
    answer = await app.api.post("/affirmations/generate", {**WISH, "count": 24, "values": ["courage"]})
    assert (answer.status, len(answer.json["affirmations"])) == (200, 24)


async def test_a_free_user_costs_no_call_of_the_model(app: Media, provider: LanguageModelStandIn) -> None:
    answer = await app.api.signed_in_as("user_2").post("/affirmations/generate", WISH)
    assert (answer.status, answer.json["code"]) == (403, "ENTITLEMENT_REQUIRED")
    assert (provider.asked, provider.judged) == ([], [])


async def test_a_refused_line_is_named_and_nothing_is_kept(app: Media) -> None:
    lines = [LINES[0], f"I am {FLAGGED_WORD}.", "I kill my boss in my dreams."]
    answer = await app.api.post("/sessions", draft(affirmations=lines))
    assert (answer.status, answer.json["code"]) == (400, "CONTENT_REFUSED")
    assert answer.json["details"]["lines"] == [1, 2]
    assert await kept(app) == 0


@pytest.mark.parametrize("field", ["goal", "struggle"])
async def test_words_of_a_crisis_are_answered_with_help(app: Media, provider: LanguageModelStandIn, field: str) -> None:
    answer = await app.api.post("/affirmations/generate", {**WISH, field: "I want to kill myself"})
    assert (answer.status, answer.json["code"]) == (400, "CRISIS_SUPPORT")
    assert any(each.get("phone") == "988" for each in answer.json["details"]["resources"])
    assert provider.asked == []
    answer = await app.api.post("/sessions", draft(title="I want to die"))
    assert (answer.status, answer.json["code"]) == (400, "CRISIS_SUPPORT")
    assert await kept(app) == 0


async def test_no_transaction_is_open_while_the_provider_is_slow(app: Media, provider: LanguageModelStandIn) -> None:
    """More people wait for a slow provider than there are database sessions, and others are still served."""
    provider.faults.fail_next("slow", -1, where="moderations")
    waiting = [asyncio.create_task(app.api.post("/affirmations/generate", WISH)) for _ in range(12)]
    while provider.faults.calls["/v1/moderations"] < 12:
        await asyncio.sleep(0)
    assert (await app.api.get("/me/entitlement")).status == 200
    provider.faults.clear()
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
