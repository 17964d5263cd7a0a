"""Spans: what they are part of, which are kept, and that nothing waits for whoever collects them."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest

from common.messaging.envelope import Envelope
from common.settings import Settings, read_as
from common.trace_export import BATCH_SPANS, EXPORT_SECONDS, QUEUE_SPANS, exported_traces
from common.tracing import (
    TraceContext,
    current_trace,
    enter_trace,
    in_this_trace,
    job,
    new_traceparent,
    span,
    span_under,
)
from tests.support.trace_receiver import Seen, TraceReceiver, parents, waterfall

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
UNKEPT = TRACEPARENT[:-2] + "00"


class SomeSettings(Settings):
    model_config = read_as("some")
    service: ClassVar[str] = "some"


def exporting_to(url: str | None, *, kept: float = 1.0) -> SomeSettings:
    return SomeSettings(otel_exporter_otlp_endpoint=url, otel_traces_sampler_arg=kept)


async def seen(settings: SomeSettings, collector: TraceReceiver, *, public: bool = False) -> list[Seen]:
    """The spans of a request under TRACEPARENT, of one nobody kept, and of a new one."""
    await in_thread(lambda: three_requests(settings, public=public))
    return collector.spans


def three_requests(settings: SomeSettings, *, public: bool) -> None:
    with exported_traces(settings, "some-api", public=public):
        for parent in (TRACEPARENT, UNKEPT.replace(TRACE, "5" * 32), None):
            with span_under(parent, "GET", "server") as step:
                enter_trace(TraceContext(step.traceparent, "request-12345"))
                with span("GET other", "client"):
                    pass


async def in_thread(work: Callable[[], None]) -> None:
    """The collector lives in this loop, which must go on while the process's end waits for it."""
    await asyncio.to_thread(work)


async def test_what_begins_inside_a_step_is_a_part_of_it_and_the_first_of_what_came() -> None:
    async with TraceReceiver() as collector:
        spans = await seen(exporting_to(collector.url), collector)
    of_parent = [span for span in spans if span.trace_id == TRACE]
    assert {span.name: span.parent_id for span in of_parent}["GET"] == TRACEPARENT.split("-")[2]
    assert parents(span for span in spans if span.trace_id not in (TRACE, "5" * 32)) == {
        "some-api: GET other": "some-api: GET"
    }


async def test_whether_a_trace_is_kept_is_decided_where_it_begins() -> None:
    async with TraceReceiver() as collector:
        spans = await seen(exporting_to(collector.url, kept=0.0), collector)
    assert {span.trace_id for span in spans} == {TRACE}


async def test_a_stranger_does_not_decide_what_is_kept() -> None:
    async with TraceReceiver() as collector:
        assert await seen(exporting_to(collector.url, kept=0.0), collector, public=True) == []
        spans = await seen(exporting_to(collector.url), collector, public=True)
    assert {TRACE, "5" * 32} < {span.trace_id for span in spans}


async def test_a_failure_is_told_by_its_name_alone() -> None:
    def work() -> None:
        with (
            exported_traces(exporting_to(collector.url), "some-api"),
            pytest.raises(ValueError, match="secret"),
            span_under(None, "render", "internal"),
        ):
            raise ValueError("a secret")

    async with TraceReceiver() as collector:
        await in_thread(work)
        [failed] = collector.spans
    assert failed.failed
    assert dict(failed.attributes) == {"error.type": "ValueError"}


async def test_a_job_goes_on_with_the_trace_of_who_asked_and_leaves_the_task_as_it_was() -> None:
    enter_trace(TraceContext(UNKEPT, "request-of-now"))
    with job("render", TRACEPARENT, "request-of-then"):
        assert current_trace().correlation_id == "request-of-then"
        assert current_trace().traceparent.split("-")[1] == TRACE
        assert in_this_trace(current_trace)() == current_trace()
    assert current_trace() == TraceContext(UNKEPT, "request-of-now")


def test_without_a_collector_a_trace_is_carried_on_and_new_ones_are_not_kept() -> None:
    enter_trace(TraceContext(TRACEPARENT, "request-12345"))
    with exported_traces(exporting_to(None), "some-api"), span("GET other", "client") as step:
        assert step.traceparent == TRACEPARENT
    assert new_traceparent().endswith("-00")
    assert new_traceparent(TRACEPARENT).endswith("-01")


def test_a_message_is_sent_in_another_step_and_else_as_it_was_written() -> None:
    other = TRACEPARENT.replace("00f067aa0ba902b7", "1111111111111111")
    text = (
        '{"specversion":"1.0","id":"3c7b8f7e-6f0a-4a53-9d5f-0d1b7f3f8a11","source":"/s","type":"t","subject":"s",'
        f'"time":"2026-03-01T00:00:00.000Z","data":{{"traceparent":"{other}"}},"traceparent":"{TRACEPARENT}",'
        '"new":"kept"}'
    )
    sent = Envelope.from_json(text).sent_in(other)
    assert sent.to_json() == text.replace(TRACEPARENT, other)
    assert sent.traceparent == other


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes what it is sent and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("collector", ["gone", "silent"])
def test_a_collector_that_is_away_holds_nobody_up(collector: str) -> None:
    """More spans than the queue holds, and the process ends long before each was tried: none holds a request up."""
    with silent_server() as silent:
        url = silent if collector == "silent" else "http://127.0.0.1:9"
        with exported_traces(exporting_to(url), "some-api"):
            for _ in range(2 * QUEUE_SPANS):
                with span_under(None, "GET", "server"):
                    pass
            left = time.monotonic()
    assert time.monotonic() - left < EXPORT_SECONDS * QUEUE_SPANS / BATCH_SPANS
    assert "flush_traces" not in {thread.name for thread in threading.enumerate() if not thread.daemon}


def test_a_waterfall_shows_what_is_part_of_what() -> None:
    first = Seen("t", "1", "", "POST /a", "server", "gateway", 0, 4_000_000, False, {})
    then = Seen("t", "2", "1", "GET b", "client", "gateway", 1_000_000, 3_000_000, False, {})
    lines = waterfall([first, then]).splitlines()
    assert [line[:20].rstrip() for line in lines] == ["gateway  POST /a", "gateway    GET b"]
    assert lines[1].split("|")[1].strip() == "=" * 20
