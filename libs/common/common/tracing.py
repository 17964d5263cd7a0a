"""Traces: where the work in hand comes from, and spans that tell how long each step of it took.

The context follows W3C Trace Context: it enters with a request, a message or a job's row, is bound to the task, and
leaves with every call of another service and every emitted event. Spans are OpenTelemetry's. Where nobody collects them
there are none, and the context is carried on all the same.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token, copy_context
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar

import structlog
from opentelemetry import trace as otel
from opentelemetry.context import Context

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

P = ParamSpec("P")
R = TypeVar("R")
Kind = Literal["server", "client", "producer", "consumer", "internal"]
Attributes = Mapping[str, str | int]
"""Named as OpenTelemetry's semantic conventions do. Whatever is said of a span leaves the house: nothing of a person,
no secret, no address with a query."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where the work in hand comes from. ``causation_id`` is the message being handled, if any."""

    traceparent: str
    correlation_id: str
    causation_id: str | None = None


_current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)
_tracer: otel.Tracer | None = None
"""Makes the spans of this process; None while nobody collects them."""


def record_with(tracer: otel.Tracer | None) -> None:
    """Has every span that begins from now on made by ``tracer``; None ends that."""
    global _tracer  # noqa: PLW0603 - a process has one, as it has one log
    _tracer = tracer


def new_id() -> str:
    return secrets.token_hex(16)


def new_traceparent(parent: str | None = None) -> str:
    """A child of ``parent``, or a new trace, which nobody records, where it is absent or malformed."""
    known = _TRACEPARENT.fullmatch(parent) if parent else None
    trace_id, flags = (known[1], known[3]) if known else (new_id(), "00")
    return f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"


def valid_traceparent(value: object) -> str:
    """The value itself, or a new trace where it is absent or malformed."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else new_traceparent()


def valid_request_id(value: str | None) -> str:
    return value if value and _REQUEST_ID.fullmatch(value) else new_id()


def current_trace() -> TraceContext:
    return _current.get() or TraceContext(new_traceparent(), new_id())


def enter_trace(trace: TraceContext, **fields: Any) -> None:
    """Binds the trace to this task: later logs carry it, spans are its children and emitted events continue it."""
    _current.set(trace)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**_logged(trace), **fields)


def _logged(trace: TraceContext) -> dict[str, str]:
    return {"trace_id": trace.traceparent.split("-")[1], "request_id": trace.correlation_id}


class Span:
    """One step of a trace, over when ``with`` is left; an exception that leaves it says that the step failed.

    ``traceparent`` goes with whatever the step hands on. What is begun inside is a part of it.
    """

    __slots__ = ("_inside", "_recorded", "_token", "traceparent")

    def __init__(self, traceparent: str, recorded: otel.Span | None = None, inside: TraceContext | None = None) -> None:
        self.traceparent = traceparent
        self._recorded = recorded
        self._inside = inside
        self._token: Token[TraceContext | None] | None = None

    def __enter__(self) -> Self:
        if self._inside is not None:
            self._token = _current.set(self._inside)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
        if self._recorded is not None:
            if kind is not None:
                self.failed(kind.__name__)
            self._recorded.end()

    def named(self, name: str) -> None:
        """Names the step better than could be done when it began."""
        if self._recorded is not None:
            self._recorded.update_name(name)

    def note(self, name: str, value: str | int) -> None:
        """Adds an attribute."""
        if self._recorded is not None:
            self._recorded.set_attribute(name, value)

    def failed(self, reason: str) -> None:
        """``reason`` is one of few: a status, the name of an error. An error's own words may tell of a person."""
        if self._recorded is not None:
            self._recorded.set_attribute("error.type", reason)
            self._recorded.set_status(otel.StatusCode.ERROR)


def span(name: str, kind: Kind, attributes: Attributes | None = None) -> Span:
    """Begins a step of what the task has in hand, or of a new trace when that is nothing."""
    known = _current.get()
    if _tracer is None:
        return Span(known.traceparent if known else new_traceparent())
    made, traceparent = _begin(_tracer, known.traceparent if known else None, name, kind, attributes, remote=False)
    return Span(traceparent, made, replace(known, traceparent=traceparent) if known else None)


def span_under(traceparent: str | None, name: str, kind: Kind, attributes: Attributes | None = None) -> Span:
    """Begins a step of what another process or task has begun; of a new trace where that is absent or malformed."""
    if _tracer is None:
        return Span(new_traceparent(traceparent))
    made, own = _begin(_tracer, traceparent, name, kind, attributes, remote=True)
    return Span(own, made)


def _begin(
    tracer: otel.Tracer, parent: str | None, name: str, kind: Kind, attributes: Attributes | None, *, remote: bool
) -> tuple[otel.Span | None, str]:
    """The span, None when its trace is not kept, and its traceparent."""
    known = _TRACEPARENT.fullmatch(parent) if parent else None
    context = Context()
    if known is not None:
        ids = otel.SpanContext(int(known[1], 16), int(known[2], 16), remote, otel.TraceFlags(int(known[3], 16)))
        context = otel.set_span_in_context(otel.NonRecordingSpan(ids), context)
    made = tracer.start_span(name, context, otel.SpanKind[kind.upper()], attributes, record_exception=False)
    own = made.get_span_context()
    traceparent = f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"
    return made if made.is_recording() else None, traceparent


@contextmanager
def job(name: str, traceparent: str | None, correlation_id: str | None, **fields: Any) -> Iterator[Span]:
    """Work that somebody asked for a while ago, as the job's row remembers it; bound to the task while inside.

    Where the row remembers nobody, it is a trace of its own.
    """
    with span_under(traceparent, name, "internal") as step:
        trace = TraceContext(step.traceparent, correlation_id or new_id())
        token = _current.set(trace)
        try:
            known = {name: value for name, value in fields.items() if value is not None}
            with structlog.contextvars.bound_contextvars(**_logged(trace), **known):
                yield step
        finally:
            _current.reset(token)


def in_this_trace(work: Callable[P, R]) -> Callable[P, R]:
    """``work`` for the threads of a pool, which know nothing of the task that set them to it."""
    context = copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(work, *args, **kwargs)

    return carried
