"""The envelope of every message: CloudEvents 1.0 in structured JSON."""

import json
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from common.clock import wire_time
from common.contracts.event import Event
from common.errors import PermanentError
from common.tracing import TraceContext, valid_traceparent

CONTENT_TYPE = "application/cloudevents+json"
MAXIMUM_BYTES = 256 * 1024


class UnreadableMessage(PermanentError):
    """The body is not an envelope we know how to read."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message. ``data`` is the event as JSON; ids of the chain it belongs to travel beside it."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    data: dict[str, Any]
    sequence: int
    traceparent: str
    correlationid: str
    causationid: str | None = None
    _text: str | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, event: Event, *, at: datetime, trace: TraceContext) -> "Envelope":
        return cls(
            id=str(uuid4()),
            source=f"/{event.owner}",
            type=event.type,
            subject=event.subject,
            time=wire_time(at),
            data=event.model_dump(mode="json", by_alias=True, exclude_none=True),
            sequence=event.sequence,
            traceparent=trace.traceparent,
            correlationid=trace.correlation_id,
            causationid=trace.causation_id,
        )

    @property
    def message_id(self) -> UUID:
        return UUID(self.id)

    @property
    def trace(self) -> TraceContext:
        """The context in which this message is handled."""
        return TraceContext(self.traceparent, self.correlationid, self.id)

    def to_json(self) -> str:
        """Plain ASCII. A message that was read is passed on as it was written, with what a newer publisher added."""
        if self._text is not None:
            return self._text
        names = (name for name in _ATTRIBUTES if getattr(self, name) is not None)
        document = {"specversion": "1.0", "datacontenttype": "application/json"}
        return json.dumps(document | {name: getattr(self, name) for name in names}, separators=(",", ":"))

    @classmethod
    def from_json(cls, body: bytes | str) -> "Envelope":
        """Raises UnreadableMessage. Unknown attributes are ignored, so a newer publisher may add some."""
        try:
            if len(body) > MAXIMUM_BYTES:
                raise ValueError(f"over {MAXIMUM_BYTES} bytes")
            document = json.loads(body)
            if document["specversion"] != "1.0" or not isinstance(document["data"], dict):
                raise ValueError("not a CloudEvents 1.0 event with a JSON object as data")
            texts = {name: _text(document, name) for name in ("id", "source", "type", "subject", "time")}
            UUID(texts["id"])
            envelope = cls(
                **texts,
                data=document["data"],
                sequence=int(document.get("sequence", 0)),
                traceparent=valid_traceparent(document.get("traceparent")),
                correlationid=str(document.get("correlationid") or texts["id"]),
                causationid=document.get("causationid"),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UnreadableMessage(f"unreadable body: {type(error).__name__}: {error}") from None
        if isinstance(body, str):
            object.__setattr__(envelope, "_text", body)
        return envelope

    def sent_in(self, traceparent: str) -> "Envelope":
        """The same message as a part of another step of its trace, otherwise as it was written."""
        if traceparent == self.traceparent:
            return self
        sent = replace(self, traceparent=traceparent)
        if self._text is not None:  # not written anew: what a newer publisher added would be lost
            before, _, after = self._text.rpartition(f'"traceparent":"{self.traceparent}"')
            object.__setattr__(sent, "_text", f'{before}"traceparent":"{traceparent}"{after}' if before else None)
        return sent

    def copy(self) -> "Envelope":
        """The same fact as a new message."""
        return replace(self, id=str(uuid4()))


_ATTRIBUTES = tuple(attribute.name for attribute in fields(Envelope) if attribute.init)


def _text(document: dict[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be text")
    return value
