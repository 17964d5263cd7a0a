"""Logs, trace context and metrics, the same in every process.

Logs are structlog events, one JSON object a line. The trace context follows W3C Trace Context: it enters with a
request or a message, is bound to the task, and leaves with every upstream call and emitted event.
"""

import logging
import re
import secrets
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, TextIO

import structlog
from prometheus_client import Counter, Gauge, Histogram

HTTP_REQUESTS = Counter("http_requests_total", "Answered requests", ["service", "method", "route", "status"])
HTTP_SECONDS = Histogram("http_request_duration_seconds", "Time to answer a request", ["service", "method", "route"])
MESSAGES_HANDLED = Counter("messages_handled_total", "Messages by outcome", ["queue", "type", "outcome"])
MESSAGES_PARKED = Gauge("messages_parked", "Messages waiting for a person", ["queue"])
CONSUMER_ATTACHED = Gauge("consumer_attached", "1 while this worker takes messages from the queue", ["queue"])
OUTBOX_PENDING = Gauge("outbox_pending", "Events committed and not yet published", ["schema"])
OUTBOX_AGE = Gauge("outbox_oldest_seconds", "Age of the oldest unpublished event", ["schema"])
OUTBOX_PUBLISHED = Counter("outbox_published_total", "Events confirmed by the broker", ["schema"])
OUTBOX_LEADING = Gauge("outbox_relay_leading", "1 while this process publishes the schema's outbox", ["schema"])

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where the work in hand comes from. ``causation_id`` is the message being handled, if any."""

    traceparent: str
    correlation_id: str
    causation_id: str | None = None


_current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)


def new_id() -> str:
    return secrets.token_hex(16)


def new_traceparent(parent: str | None = None) -> str:
    """A child of ``parent``, or a new trace where it is absent or malformed."""
    trace_id = parent.split("-")[1] if parent and _TRACEPARENT.fullmatch(parent) else secrets.token_hex(16)
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def valid_traceparent(value: object) -> str:
    """The value itself, or a new trace where it is absent or malformed."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else new_traceparent()


def valid_request_id(value: str | None) -> str:
    return value if value and _REQUEST_ID.fullmatch(value) else new_id()


def current_trace() -> TraceContext:
    return _current.get() or TraceContext(new_traceparent(), new_id())


def enter_trace(trace: TraceContext, **fields: Any) -> None:
    """Binds the trace to this task: later logs carry it and emitted events continue it."""
    _current.set(trace)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        trace_id=trace.traceparent.split("-")[1], request_id=trace.correlation_id, **fields
    )


class _LineLogger(structlog.WriteLogger):
    """Writes finished lines; ``add_logger_name`` asks for the name."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.name = name


def configure_logging(service: str, *, level: str = "info", style: str = "json", stream: TextIO | None = None) -> None:
    """Renders our events and the libraries' logging alike to ``stream``, by default standard error.

    Ours do not pass through ``logging``, which would double what a line of the access log costs.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=cache(lambda name="": _LineLogger(stream or sys.stderr, name)),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("aiormq", "aio_pika", "botocore", "aiobotocore", "uvicorn.access", "alembic", "httpx"):
        logging.getLogger(chatty).setLevel("WARNING")
    structlog.contextvars.clear_contextvars()


def logger(name: str) -> structlog.stdlib.BoundLogger:
    bound: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return bound
