"""Logs and metrics, the same in every process.

Logs are structlog events, one JSON object a line, with the trace that ``tracing`` binds to the task. No line holds a
secret, a token, an address, a user's id or their words: a test reads the logs of a whole run for them.
"""

import hashlib
import logging
import sys
from functools import cache, lru_cache
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

_PEOPLE = ("user_id", "app_user_id", "anonymous_id", "subject", "actor")
"""Fields that hold a user's id."""


@lru_cache(maxsize=4096)
def pseudonym(user_id: str) -> str:
    """What stands for a user in logs, the same everywhere: 16 hex digits of SHA-256.

    No key: ids are too random to be guessed, and whoever knows one should find its lines with ``sha256sum``.
    """
    return hashlib.sha256(user_id.encode()).hexdigest()[:16]


def note_user(user_id: str) -> None:
    """Later log lines of this request say whose it is."""
    structlog.contextvars.bind_contextvars(user_id=user_id)


def _hide_people(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    for name in _PEOPLE:
        if event.get(name):
            event[name] = pseudonym(str(event[name]))
    return event


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
        _named(service),
        _hide_people,
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


def _named(service: str) -> structlog.types.Processor:
    """Says whose line it is where the task does not."""

    def add(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event.setdefault("service", service)
        return event

    return add


def logger(name: str) -> structlog.stdlib.BoundLogger:
    bound: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return bound
