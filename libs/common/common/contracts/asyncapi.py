"""The AsyncAPI 3 document of every event, made from the classes.

``python -m common.contracts.asyncapi`` prints it.
"""

import json
from typing import Any

from common.contracts import billing, identity, media
from common.contracts.event import Event

EVENTS: tuple[type[Event], ...] = (
    identity.UserRegistered,
    identity.UserChanged,
    identity.UserDeleted,
    billing.SubscriptionChanged,
    media.SessionCreated,
    media.SessionDeleted,
    media.AudioRequested,
    media.AudioGenerated,
    media.AudioFailed,
)


def schema_of(event: type[Event]) -> dict[str, Any]:
    """JSON Schema of an event's data, as consumers may rely on it."""
    return event.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")


def document() -> dict[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Entrain events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in structured JSON on the topic exchange `events`; "
            "the routing key is the type. Delivery is at least once; "
            "a consumer keeps the highest `sequence` it has seen of a subject.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {event.type: _channel(event) for event in EVENTS},
        "operations": {f"publish.{event.type}": _operation(event) for event in EVENTS},
    }


def _channel(event: type[Event]) -> dict[str, Any]:
    return {
        "address": event.type,
        "messages": {event.__name__: {"name": event.type, "summary": _summary(event), "payload": _envelope(event)}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": {"name": "events", "type": "topic", "durable": True}}},
    }


def _operation(event: type[Event]) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{event.type}"},
        "tags": [{"name": event.type.split(".")[0]}],
    }


def _summary(event: type[Event]) -> str:
    own = event.__dict__.get("__doc__") or event.__name__
    return own.strip().splitlines()[0]


def _envelope(event: type[Event]) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "time", "data", "sequence"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "format": "uuid"},
            "source": text,
            "type": {"const": event.type},
            "subject": {"type": "string", "description": f"the event's {event.about}"},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "sequence": {"type": "integer", "minimum": 0},
            "traceparent": text,
            "correlationid": text,
            "causationid": text,
            "data": schema_of(event),
        },
    }


if __name__ == "__main__":
    print(json.dumps(document(), indent=2))
