"""A language model behind an OpenAI-compatible chat endpoint, asked for lines and for nothing else."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.observability import logger
from common.web.client import CallFailed, HttpClient

TOKENS_A_LINE, TOKENS_BESIDE = 40, 200
_SCHEMA = {
    "type": "object",
    "properties": {"affirmations": {"type": "array", "items": {"type": "string"}}},
    "required": ["affirmations"],
    "additionalProperties": False,
}
log = logger("media.language_model")


class NothingWritten(Exception):
    """The model refused, was cut off, or answered with something else than lines."""


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str


class ChatModel:
    """``http`` must be open while this is used. ``base_url`` as OpenAI's clients take it, with the ``/v1``."""

    def __init__(self, http: HttpClient, base_url: str, key: str, model: str) -> None:
        self._http = http
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._model = model

    async def lines(self, messages: Sequence[Message], count: int, temperature: float) -> list[str]:
        """What the model wrote, however many lines that is. Raises CallFailed or NothingWritten."""
        body = {
            "model": self._model,
            "messages": [{"role": one.role, "content": one.content} for one in messages],
            "temperature": temperature,
            "max_tokens": TOKENS_BESIDE + TOKENS_A_LINE * count,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "affirmations", "strict": True, "schema": _SCHEMA},
            },
        }
        # asking twice costs a little and changes nothing
        answer = await self._http.call(
            "POST", self._url, headers=self._headers, body=json.dumps(body).encode(), repeatable=True
        )
        if answer.status in (401, 403):
            log.error("language_model_key_refused", status=answer.status, remedy="check OPENAI_API_KEY")
        if answer.status != 200:
            raise NothingWritten(f"status {answer.status}")
        return _lines(answer.json())


def _lines(answer: Any) -> list[str]:
    try:
        choice = answer["choices"][0]
        content = choice["message"].get("content")
        finished = choice.get("finish_reason")
    except (AttributeError, IndexError, KeyError, TypeError):
        raise NothingWritten("not a completion") from None
    if finished not in (None, "stop") or not isinstance(content, str):
        raise NothingWritten(f"refused or cut off: {finished}")
    try:
        lines = json.loads(content)["affirmations"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NothingWritten("no JSON of the agreed shape") from None
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise NothingWritten("no list of lines")
    return [line.strip() for line in lines]


ASKING_FAILED = (CallFailed, NothingWritten)
