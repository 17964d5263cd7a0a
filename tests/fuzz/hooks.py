"""What schemathesis must know to play with this product: who it is, and the rules no JSON Schema can say.

Loaded by its command line, which ``tests.fuzz.run`` starts; the environment says which run to play with.
"""

import asyncio
import os
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import schemathesis
from schemathesis import Case, HookContext

from common.web.text import utf16_length
from embedded.running_product import call_control
from embedded.webhook_signatures import revenuecat_headers, svix_headers
from identity.schemas import LONGEST_STRUGGLE
from media.lines import require_speakable
from media.speech import Unspeakable
from tests.fuzz.wire import CLERK_WEBHOOK_SECRET, DATA, GRANT, PORT, USER, WEBHOOK_AUTHORIZATION, WEBHOOK_SECRET

RENEWED_AFTER = 30.0
"""Seconds; tokens live for 60."""


class Tokens:
    """Current session tokens of users of the run."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def of(self, user_id: str) -> str:
        with self._lock:
            made_at, token = self._held.get(user_id, (0.0, ""))
            if time.monotonic() > made_at + RENEWED_AFTER or not token:
                asked = call_control(Path(os.environ[DATA]), int(os.environ[PORT]), "/token", {"userId": user_id})
                token = asyncio.run(asked)["token"]
                self._held[user_id] = time.monotonic(), token
            return token


class Sender(requests.auth.AuthBase):
    """Signs a finished request: as the user of this run, or, to a webhook's address, as the provider."""

    def __init__(self) -> None:
        self._tokens = Tokens()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        path = urlsplit(str(request.url)).path
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        assert isinstance(body, bytes)
        if path.startswith("/webhooks/"):
            request.headers.update(_proof(path, body, int(time.time())))
        else:
            request.headers["Authorization"] = f"Bearer {self._tokens.of(_user(str(request.method), path))}"
        return request


def _proof(path: str, body: bytes, now: int) -> Mapping[str, str]:
    if path == "/webhooks/revenuecat":
        return revenuecat_headers(body, now, os.environ[WEBHOOK_AUTHORIZATION], os.environ[WEBHOOK_SECRET])
    return svix_headers(f"msg_{uuid.uuid4().hex}", body, now, os.environ[CLERK_WEBHOOK_SECRET])


def _user(method: str, path: str) -> str:
    """The user of this run; for who leaves, a new one each time, so that the others can go on."""
    return f"user_{uuid.uuid4().hex[:27]}" if (method, path) == ("DELETE", "/me") else os.environ[USER]


schemathesis.auth.set_from_requests(Sender())  # type: ignore[attr-defined]  # it is more than the function it says


@schemathesis.hook
def after_load_schema(context: HookContext, schema: Any) -> None:
    """A new session needs nothing that exists: `localDraftId` is the app's own, and any `voiceId` will do.

    Taken for ids of something, as names like these are, they would keep scenarios from ever beginning with it.
    """
    schema.analysis.dependency_graph.operations["POST /sessions"].inputs.clear()


@schemathesis.hook
def before_call(context: HookContext, case: "Case[Any]", kwargs: dict[str, Any]) -> None:
    """Every other play link is genuine; where it leads is not for this document to say."""
    kwargs["allow_redirects"] = False
    if case.path == "/play/{grant}" and len(str(case.path_parameters.get("grant"))) % 2:
        case.path_parameters = {"grant": os.environ[GRANT]}


@schemathesis.hook
def filter_case(context: HookContext, case: "Case[Any]") -> bool:
    """Leaves out bodies that fit their schema and break a rule beyond it, which the document tells in words."""
    body = case.body
    if not isinstance(body, dict):
        return True
    lines, struggle = body.get("affirmations"), body.get("struggle")
    return all(map(_speakable, lines if isinstance(lines, list) else [])) and _short(struggle)


def _speakable(line: Any) -> bool:
    if not isinstance(line, str):
        return True
    try:
        require_speakable(line)
    except Unspeakable:
        return False
    return True


def _short(struggle: Any) -> bool:
    """UTF-16 units are what the app counts, characters are what JSON Schema counts."""
    if not isinstance(struggle, str) or len(struggle) > LONGEST_STRUGGLE:
        return True
    return utf16_length(struggle) <= LONGEST_STRUGGLE
