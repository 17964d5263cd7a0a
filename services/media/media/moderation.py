"""What may be spoken: words of people and of models are judged before anything is kept or read out.

Word rules work offline and always; a provider's moderation is asked besides, where one is set up, and when it cannot be
reached the word rules alone decide.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import Counter

from common.observability import logger
from common.speakable.refusals import ContentRefused, CrisisSupport, Flag, refuse
from common.speakable.words import Category, judge_words
from common.web.client import CallFailed, HttpClient

FLAGGED = Counter("media_texts_flagged_total", "Texts that were refused", ["category", "judge"])
UNJUDGED = Counter("media_moderation_unanswered_total", "Texts the provider's moderation did not judge")
log = logger("media.moderation")
__all__ = ["ContentRefused", "CrisisSupport", "Flag", "ModerationApi", "Moderator"]
_PROVIDERS: dict[str, Category] = {
    "self-harm": "crisis",
    "hate": "hate",
    "harassment": "harassment",
    "sexual": "sexual",
    "violence": "violence",
}


class ModerationApi:
    """OpenAI's moderation endpoint, or one that speaks like it."""

    def __init__(self, http: HttpClient, base_url: str, key: str) -> None:
        self._http = http
        self._url = f"{base_url.rstrip('/')}/moderations"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    async def judge(self, texts: Sequence[str]) -> list[Flag]:
        """Raises CallFailed when the provider did not judge all of them."""
        body = json.dumps({"model": "omni-moderation-latest", "input": list(texts)}).encode()
        answer = await self._http.call("POST", self._url, headers=self._headers, body=body, repeatable=True)
        if answer.status != 200:
            raise CallFailed(self._http.upstream, f"status {answer.status}")
        document = answer.json()
        results = document.get("results") if isinstance(document, dict) else None
        if not isinstance(results, list) or len(results) != len(texts):
            raise CallFailed(self._http.upstream, "not one result for each text")
        return list(_flags(results))


def _flags(results: list[Any]) -> Iterator[Flag]:
    for index, result in enumerate(results):
        if isinstance(result, dict) and result.get("flagged") is True:
            named = [name for name, hit in (result.get("categories") or {}).items() if hit is True]
            found = [ours for prefix, ours in _PROVIDERS.items() if any(name.startswith(prefix) for name in named)]
            yield Flag(index, found[0] if found else "harassment")


class Moderator:
    """``provider`` None: the word rules alone."""

    def __init__(self, provider: ModerationApi | None = None) -> None:
        self._provider = provider

    async def judge(self, texts: Sequence[str]) -> list[Flag]:
        """At most one flag for each text, in their order. Never call from inside an open transaction."""
        found = {number: category for number, text in enumerate(texts) if (category := judge_words(text))}
        for category in list(found.values()):
            FLAGGED.labels(category, "words").inc()
        for flag in await self._by_provider(texts):
            if flag.index not in found:
                found[flag.index] = flag.category
                FLAGGED.labels(flag.category, "provider").inc()
        return [Flag(index, found[index]) for index in sorted(found)]

    async def _by_provider(self, texts: Sequence[str]) -> list[Flag]:
        if self._provider is None or not texts:
            return []
        try:
            return await self._provider.judge(texts)
        except CallFailed as error:
            UNJUDGED.inc(len(texts))
            log.warning("not_judged_by_provider", problem=str(error))
            return []

    async def require_speakable(self, fields: Sequence[tuple[str, str]]) -> None:
        """``fields``: the name of each field and its text, lines in their order under one name.

        Raises CrisisSupport or ContentRefused.
        """
        refuse(fields, await self.judge([text for _, text in fields]))
