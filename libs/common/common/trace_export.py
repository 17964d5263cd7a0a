"""Spans on their way to a collector: OTLP over HTTP, in batches, from a thread of its own.

Nothing waits for the collector. What does not fit into the queue while it is away is dropped, and said in the log.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

from common.settings import Settings
from common.tracing import record_with

QUEUE_SPANS, BATCH_SPANS = 4096, 512
BATCH_MILLISECONDS = 1000
EXPORT_SECONDS = 5.0
"""For one batch with all its attempts."""
FLUSH_SECONDS = 4.0
"""How long a process that ends waits for the collector to take the last spans."""


@contextmanager
def exported_traces(settings: Settings, process: str, *, public: bool = False) -> Iterator[None]:
    """Records and exports the spans of this process while inside, if OTEL_EXPORTER_OTLP_ENDPOINT is set.

    Which traces are kept is decided where they begin. ``public`` says that callers are strangers: what they say of
    that does not count.
    """
    if settings.otel_exporter_otlp_endpoint is None:
        yield
        return
    # a process that exports nothing has no use for them and starts quicker without
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    exporter = OTLPSpanExporter(
        f"{settings.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces",
        headers=settings.otlp_headers,
        timeout=EXPORT_SECONDS,
        compression=Compression.Gzip,
    )
    some = TraceIdRatioBased(settings.otel_traces_sampler_arg)
    strangers = {"remote_parent_sampled": some, "remote_parent_not_sampled": some} if public else {}
    named = {"service.namespace": "entrain", "service.name": process, "service.instance.id": str(uuid4())}
    provider = TracerProvider(ParentBased(some, **strangers), Resource(named), shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=QUEUE_SPANS,
            max_export_batch_size=BATCH_SPANS,
            schedule_delay_millis=BATCH_MILLISECONDS,
            export_timeout_millis=EXPORT_SECONDS * 1000,
        )
    )
    record_with(provider.get_tracer("entrain"))
    try:
        yield
    finally:
        record_with(None)
        _within(FLUSH_SECONDS, provider.shutdown, name="flush_traces")


def _within(seconds: float, work: Callable[[], None], *, name: str) -> None:
    """Leaves ``work`` to itself when it takes longer; it ends with the process."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    thread.join(seconds)
