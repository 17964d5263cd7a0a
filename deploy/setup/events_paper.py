"""`docs/events.md`: when each event is emitted, who handles it, what it carries."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.contracts.asyncapi import EVENTS, schema_of, summary_of
from common.contracts.event import Event
from common.messaging.bus import Binding

_INTRODUCTION = """\
# Events

Made by `make contracts` from the [contract classes](../libs/common/common/contracts) and the services' wiring. For
machines: [asyncapi.json](asyncapi.json), and a JSON Schema and an example of each in
[golden](../libs/common/common/contracts/golden).

- A service's worker publishes what its transactions left in the outbox: CloudEvents 1.0 in structured JSON on the topic
  exchange `events`; the routing key is the type. What nobody handles is kept in the queue `events.unrouted`.
- An event may come twice, late or out of order. A consumer keeps the highest `sequence` it has seen of a subject.
- A version grows by optional fields only; anything else is a `.v2` beside it. Unknown fields are ignored.
- Around `data` stand `id` (the same whenever the event is sent again), `source`, `type`, `subject`, `time`, `sequence`,
  and what traces it: `traceparent`, `correlationid` (of the request that began it) and `causationid` (of the event that
  led to it).
"""


def events_paper(consumers: Sequence[Binding], golden: Path) -> str:
    """``consumers`` are all queues there are; ``golden`` is the folder of the examples."""
    handled = {event.type: _handlers(event, consumers) for event in EVENTS}
    rows = "".join(
        f"| [{event.__name__}](#{_anchor(event)}) | `{event.type}` | {summary_of(event)} | {handled[event.type]} |\n"
        for event in EVENTS
    )
    table = f"\n| event | type | emitted when | handled by |\n|---|---|---|---|\n{rows}"
    return _INTRODUCTION + table + "".join(_section(event, handled[event.type], golden) for event in EVENTS)


def _handlers(event: type[Event], consumers: Sequence[Binding]) -> str:
    taken = [consumer for consumer in consumers if event.type in consumer.types]
    named = [f"{'every ' if one.broadcast else ''}{one.queue.partition('.')[0]}: `{one.queue}`" for one in taken]
    return ", ".join(named) or "nobody yet"


def _anchor(event: type[Event]) -> str:
    return event.type.replace(".", "")


def _section(event: type[Event], handlers: str, golden: Path) -> str:
    words = " ".join((event.__doc__ or "").split())
    schema = schema_of(event)
    example = json.loads((golden / f"{event.type}.example.json").read_text("utf-8"))
    rows = "".join(_rows(schema, schema.get("$defs", {}), ""))
    fields = f"| field of `data` | type | meaning |\n|---|---|---|\n{rows}"
    about = event.model_fields[event.about].alias
    told = f"Emitted by {event.type.partition('.')[0]}, in order of `{about}`. Handled by {handlers}."
    body = json.dumps(example, indent=1, ensure_ascii=False)
    return f"\n## {event.type}\n\n{words}\n\n{told}\n\n{fields}\n```json\n{body}\n```\n"


def _rows(schema: Mapping[str, Any], shared: Mapping[str, Any], within: str) -> Iterator[str]:
    for name, part in schema["properties"].items():
        kinds = [_kind(option) for option in part.get("anyOf", [part]) if option.get("type") != "null"]
        optional = "" if name in schema.get("required", ()) else ", optional"
        meaning = part.get("description", "").replace("``", "`")
        yield f"| `{within}{name}` | {' or '.join(kinds)}{optional} | {' '.join(meaning.split())} |\n"
        if reference := part.get("items", {}).get("$ref"):
            yield from _rows(shared[reference.rpartition("/")[2]], shared, f"{within}{name}[].")


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if schema.get("format") == "date-time":
        return "instant"
    if schema["type"] == "object":
        return f"{_kind(schema['additionalProperties'])} by name"
    words = {"string": "text", "integer": "whole number", "array": "list", "boolean": "true or false"}
    return words.get(schema["type"], str(schema["type"]))
