"""The AsyncAPI 3 document of every event, made from the classes."""

from typing import Any

from common.contracts import billing, identity, media
from common.contracts.event import Event

EVENTS: tuple[type[Event], ...] = (
    identity.UserRegistered,
    identity.UserChanged,
    identity.UserDeleted,
    identity.SessionEnded,
    billing.SubscriptionChanged,
    billing.UserDataErased,
    media.SessionCreated,
    media.SessionDeleted,
    media.AudioRequested,
    media.AudioGenerated,
    media.AudioFailed,
    media.UserDataErased,
)


def schema_of(event: type[Event]) -> dict[str, Any]:
    """JSON Schema of an event's data, as consumers may rely on it."""
    return event.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")


def summary_of(event: type[Event]) -> str:
    """When the event is emitted: the first line of what its class says."""
    return (event.__doc__ or "").strip().splitlines()[0]


def document() -> dict[str, Any]:
    """Raises ValueError when two events give one name to different schemas."""
    shared: dict[str, Any] = {}
    channels = {event.type: _channel(event, shared) for event in EVENTS}
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
        "channels": channels,
        "operations": {f"publish.{event.type}": _operation(event) for event in EVENTS},
        "components": {"schemas": dict(sorted(shared.items()))},
    }


def _channel(event: type[Event], shared: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": event.type,
        "messages": {
            event.__name__: {"name": event.type, "summary": summary_of(event), "payload": _envelope(event, shared)}
        },
        "bindings": {"amqp": {"is": "routingKey", "exchange": {"name": "events", "type": "topic", "durable": True}}},
    }


def _operation(event: type[Event]) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{event.type}"},
        "tags": [{"name": event.type.split(".")[0]}],
    }


def _data(event: type[Event], shared: dict[str, Any]) -> dict[str, Any]:
    """The data's schema; what it refers to moves to ``shared``, because references start at the document's root."""
    schema = event.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    for name, part in schema.pop("$defs", {}).items():
        if shared.setdefault(name, part) != part:
            raise ValueError(f"two events describe {name} differently")
    return schema


def _envelope(event: type[Event], shared: dict[str, Any]) -> dict[str, Any]:
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
            "data": _data(event, shared),
        },
    }
