"""Two users of a running product: what one of them owns, and the other's attempts on it, operation by operation."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from embedded.composition import Product

MARK = "amethyst"
"""In every text of the owner's, and in nobody else's."""

_VALUES = {"values": [{"valueId": "peace", "valueText": "Peace", "rank": 1}]}
_PREFERENCES = {
    "schemaVersion": 3,
    "voiceId": "nova",
    "pace": "slow",
    "affirmationSpacingMs": 2000,
    "binauralHz": 10,
    "backgroundId": "ocean",
    "mix": {"affirmations": 1, "binaural": 0.2, "background": 0.2},
    "loopBackground": True,
    "loopBinaural": True,
}
_DRAFT = {"title": "A calm day", "affirmations": ["I am calm."], "voiceId": "nova"}
_EVENT = {"event": {"id": "intruder", "type": "TEST", "event_timestamp_ms": 1}}


@dataclass(frozen=True)
class Attempt:
    """How the intruder tries an operation, and what may come of it.

    ``about`` names what of the owner's goes into the path; empty: the operation is about the caller alone.
    """

    about: str = ""
    body: Any = None
    refused_with: frozenset[int] = frozenset()
    capability: bool = False
    """Whoever knows the id may; the id of something else is no such id, for its owner too."""
    last: bool = False
    """Nothing can be tried after it."""
    query: str = ""


def _own(body: Any = None, *, last: bool = False, query: str = "") -> Attempt:
    return Attempt(body=body, last=last, query=query)


def _foreign(about: str, body: Any = None, *, capability: bool = False) -> Attempt:
    return Attempt(about, body, frozenset({403, 404}), capability)


ATTEMPTS: Mapping[str, Attempt] = {
    "GET /health": _own(),
    "GET /me": _own(),
    "DELETE /me": _own(last=True),
    "GET /me/export": _own(),
    "GET /me/deletions/{id}": _foreign("user", capability=True),
    "GET /me/values": _own(),
    "POST /me/values": _own(_VALUES),
    "GET /me/struggle": _own(),
    "PUT /me/struggle": _own({"struggle": "I wake too early."}),
    "GET /me/preferences": _own(),
    "PUT /me/preferences": _own(_PREFERENCES),
    "GET /me/subscription": _own(),
    "POST /me/subscription/sync": _own({}),
    "GET /me/subscription/history": _own(),
    "GET /me/entitlement": _own(),
    "GET /me/curation": _own(query="?hour=9"),
    "GET /me/curation/preferences": _own(),
    "POST /me/curation/preferences": _own({"primaryGoal": "Calm"}),
    "POST /affirmations/generate": _own({"goal": "sleep well", "count": 4}),
    "GET /voices": _own(),
    "GET /sessions": _own(),
    "POST /sessions": _own(_DRAFT),
    "GET /sessions/{id}": _foreign("session"),
    "DELETE /sessions/{id}": _foreign("session"),
    "POST /sessions/{id}/events": _foreign("session", {"eventType": "start"}),
    "POST /sessions/{id}/start": _foreign("session"),
    "POST /sessions/{id}/ensure-audio": _foreign("session"),
    "GET /sessions/{id}/playback-bundle": _foreign("session"),
    "GET /jobs/{id}": _foreign("job"),
    "GET /play/{grant}": _foreign("session", capability=True),
    "POST /webhooks/revenuecat": Attempt(body=_EVENT, refused_with=frozenset({401})),
    "POST /webhooks/clerk": Attempt(body=_EVENT, refused_with=frozenset({400, 401})),
}
"""Every operation of the published API, and of those that the address book holds ready."""


@dataclass(frozen=True)
class Answer:
    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Person:
    """A signed-in user of the product. ``things`` are ids of what is theirs."""

    product: Product
    http: aiohttp.ClientSession
    id: str
    things: dict[str, str] = field(default_factory=dict)

    async def call(self, operation: str, body: Any = None, *, path: Mapping[str, str] | None = None) -> Answer:
        """``operation`` is a method and a path template."""
        token = self.product.clerk.session_token(self.id)
        return await call(self.product.url, self.http, operation, body, path=path, token=token)


async def call(
    url: str,
    http: aiohttp.ClientSession,
    operation: str,
    body: Any = None,
    *,
    path: Mapping[str, str] | None = None,
    token: str | None = None,
) -> Answer:
    method, template = operation.split()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    target = url + template.format_map(path or {})
    async with http.request(method, target, json=body, headers=headers, allow_redirects=False) as answer:
        return Answer(answer.status, await answer.text())


def operations_of(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """``{"GET /me": operation}`` of an OpenAPI document."""
    verbs = ("get", "head", "post", "put", "patch", "delete")
    return {
        f"{verb.upper()} {path}": item[verb]
        for path, item in document["paths"].items()
        for verb in verbs
        if verb in item
    }


async def settle_in(person: Person) -> None:
    """Leaves something of the person's, with ``MARK`` in it, in every place that keeps something."""
    await _done(person, "POST /me/values", {"values": [{"valueId": MARK, "valueText": MARK, "rank": 1}]})
    await _done(person, "PUT /me/struggle", {"struggle": f"my {MARK} worry"})
    await _done(person, "PUT /me/preferences", {**_PREFERENCES, "voiceId": MARK})
    draft = {**_DRAFT, "title": f"The {MARK} hour", "affirmations": [f"I keep my {MARK} calm."]}
    session = (await _done(person, "POST /sessions", draft, status=201)).json
    person.things = {"user": person.id, "session": session["id"], "job": session["_audioJobId"]}


async def _done(person: Person, operation: str, body: Any, *, status: int = 200) -> Answer:
    answer = await person.call(operation, body)
    assert answer.status == status, (operation, answer)
    return answer


async def attempt(intruder: Person, owner: Person, operation: str) -> Answer:
    """The operation as the intruder, on what is the owner's where it takes an id."""
    planned = ATTEMPTS[operation]
    foreign = owner.things[planned.about] if planned.about else secrets.token_hex(8)
    return await intruder.call(operation + planned.query, planned.body, path={"id": foreign, "grant": foreign})


def ordered(operations: Mapping[str, Any]) -> list[str]:
    """What ends the intruder's account comes last."""
    return sorted(operations, key=lambda operation: (ATTEMPTS[operation].last, operation))
