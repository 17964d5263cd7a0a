"""A collector of traces as the product meets it: takes OTLP batches over HTTP, decodes and keeps their spans."""

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from embedded.local_server import LocalServer

_KINDS = {number: name.removeprefix("SPAN_KIND_").lower() for name, number in Span.SpanKind.items()}
BAR = 40
"""Characters that stand for the whole trace."""


@dataclass(frozen=True)
class Seen:
    """A span as it arrived; times in nanoseconds."""

    trace_id: str
    id: str
    parent_id: str
    name: str
    kind: str
    service: str
    start: int
    end: int
    failed: bool
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.service}: {self.name}"


class TraceReceiver(LocalServer):
    """``spans`` holds what arrived. ``status`` is what it answers; it keeps what it answered 200."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Seen] = []
        self.headers: dict[str, str] = {}
        self.status = 200

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        return app

    async def _take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        if self.status == 200:
            # aiohttp has taken the content encoding off already
            self.spans += _spans(ExportTraceServiceRequest.FromString(_plain(await request.read())))
        return web.Response(status=self.status, content_type="application/x-protobuf")

    def trace(self, trace_id: str) -> list[Seen]:
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.start)

    def beginning_with(self, name: str, *names: str) -> list[list[Seen]]:
        """The traces that begin with a span of this name and hold spans of all the others."""
        roots = [span for span in self.spans if span.name == name and not span.parent_id]
        traces = [self.trace(root.trace_id) for root in sorted(roots, key=lambda span: span.start)]
        return [trace for trace in traces if {span.name for span in trace} >= set(names)]


def _plain(body: bytes) -> bytes:
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


def _spans(request: ExportTraceServiceRequest) -> Iterable[Seen]:
    for group in request.resource_spans:
        resource = _values(group.resource.attributes)
        for span in (span for scope in group.scope_spans for span in scope.spans):
            yield Seen(
                trace_id=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                name=span.name,
                kind=_KINDS[span.kind],
                service=resource["service.name"],
                start=span.start_time_unix_nano,
                end=span.end_time_unix_nano,
                failed=span.status.code == Status.STATUS_CODE_ERROR,
                attributes=_values(span.attributes),
            )


def _values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in attributes}


def parents(trace: Iterable[Seen]) -> dict[str, str]:
    """Each step and the step it is a part of, as ``service: name``; the first has none and is not there."""
    known = {span.id: span for span in trace}
    return {str(span): str(known[span.parent_id]) for span in known.values() if span.parent_id}


def waterfall(trace: list[Seen]) -> str:
    """The trace as text: who did what, when it began, how long it took, below what it is a part of."""
    first, last = min(span.start for span in trace), max(span.end for span in trace)
    scale = BAR / max(last - first, 1)
    lines = [(f"{'  ' * depth}{span.name}", span) for depth, span in _in_order(trace, "", 0)]
    width, services = max(len(label) for label, _ in lines), max(len(span.service) for _, span in lines)
    return "\n".join(
        f"{span.service:<{services}}  {label:<{width}}  {(span.start - first) / 1e6:8.1f} {_took(span):8.1f}  "
        f"|{_bar(span, first, scale)}|"
        for label, span in lines
    )


def _in_order(trace: list[Seen], parent: str, depth: int) -> Iterable[tuple[int, Seen]]:
    for span in trace:
        if span.parent_id == parent:
            yield depth, span
            yield from _in_order(trace, span.id, depth + 1)


def _took(span: Seen) -> float:
    return (span.end - span.start) / 1e6


def _bar(span: Seen, first: int, scale: float) -> str:
    before = min(int((span.start - first) * scale), BAR - 1)
    length = max(1, min(round((span.end - span.start) * scale), BAR - before))
    return f"{' ' * before}{'=' * length}".ljust(BAR)
