"""A stand-in for an OpenAI-compatible provider: chat completions that write affirmations, and moderation.

``says`` queues what the next completions hold in place of good lines; faults come through ``faults``.
"""

import json
import time
from collections import deque
from typing import Any

from aiohttp import web

from embedded.faults import FaultList
from embedded.local_server import LocalServer, bearer_token
from media.composer import compose

FLAGGED_WORD = "unspeakable"
"""Moderation flags every text with this word, as harassment."""


class LanguageModelStandIn(LocalServer):
    """``base_url`` and ``api_key`` are what the settings hold; ``asked`` keeps the bodies of all completions."""

    def __init__(self, port: int = 0, *, api_key: str = "sk-stand-in") -> None:
        super().__init__(port)
        self.api_key = api_key
        self.further_keys: set[str] = set()
        """Accepted too, as an account's other keys are."""
        self.faults = FaultList()
        self.asked: list[dict[str, Any]] = []
        self.judged: list[str] = []
        self._next: deque[dict[str, Any]] = deque()

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def says(self, content: str | None, *, finish: str = "stop", refusal: str | None = None) -> None:
        """What the next completion without one yet answers, word for word."""
        self._next.append({"message": {"role": "assistant", "content": content, "refusal": refusal}, "finish": finish})

    def writes(self, *lines: str) -> None:
        """These lines, in the agreed shape."""
        self.says(json.dumps({"affirmations": list(lines)}))

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.faults.middleware])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/moderations", self._moderate)
        return app

    async def _complete(self, request: web.Request) -> web.Response:
        if not self._accepts(request):
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        body = await request.json()
        if body.get("response_format", {}).get("type") != "json_schema" or not body.get("messages"):
            return _error(400, "This stand-in writes in a JSON schema only.", "invalid_request_error")
        self.asked.append(body)
        answer = self._next.popleft() if self._next else _good(body)
        return web.json_response(
            {
                "id": f"chatcmpl-{len(self.asked)}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": body["model"],
                "choices": [{"index": 0, "message": answer["message"], "finish_reason": answer["finish"]}],
                "usage": {"prompt_tokens": 500, "completion_tokens": 100, "total_tokens": 600},
            }
        )

    async def _moderate(self, request: web.Request) -> web.Response:
        if not self._accepts(request):
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        given = (await request.json())["input"]
        texts = given if isinstance(given, list) else [given]
        self.judged.extend(texts)
        flagged = [FLAGGED_WORD in text.lower() for text in texts]
        results = [{"flagged": hit, "categories": {"harassment": hit, "hate": False}} for hit in flagged]
        return web.json_response({"id": "modr-1", "model": "omni-moderation-latest", "results": results})

    def _accepts(self, request: web.Request) -> bool:
        return bearer_token(request) in {self.api_key, *self.further_keys}


def _good(body: dict[str, Any]) -> dict[str, Any]:
    """Lines that keep every rule."""
    person = next(json.loads(one["content"]) for one in body["messages"] if one["role"] == "user")
    lines = compose(person["goal"], person["struggle"], person["sessionType"], person["count"], person["values"])
    content = json.dumps({"affirmations": lines})
    return {"message": {"role": "assistant", "content": content, "refusal": None}, "finish": "stop"}


def _error(status: int, message: str, code: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": code, "code": code}}, status=status)
