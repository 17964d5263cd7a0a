"""Trace context and logs."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import pytest

from common.clock import utc_now
from common.contracts.identity import UserRegistered
from common.messaging.envelope import Envelope
from common.observability import configure_logging, logger, note_user, pseudonym
from common.tracing import (
    TraceContext,
    current_trace,
    enter_trace,
    new_traceparent,
    valid_request_id,
    valid_traceparent,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"

MALFORMED = [
    None,
    "",
    7,
    TRACEPARENT.upper(),
    TRACEPARENT + "-more",
    TRACEPARENT + "\n",
    f"01-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE[:-1]}-{SPAN}-01",
]


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """Logging as a process configures it; the lines are there when the block has ended."""
    lines: list[dict[str, Any]] = []
    with redirect_stderr(io.StringIO()) as printed:
        configure_logging("test", level="info", style="json")
        yield lines
    lines += [json.loads(line) for line in printed.getvalue().splitlines()]


def test_a_child_keeps_the_trace_and_gets_its_own_span() -> None:
    version, trace, span, flags = new_traceparent(TRACEPARENT).split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert span != SPAN
    assert valid_traceparent(TRACEPARENT) == TRACEPARENT


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_parent_begins_a_new_trace(value: object) -> None:
    made = valid_traceparent(value)
    assert made != value
    assert valid_traceparent(made) == made
    if value is None or isinstance(value, str):
        assert new_traceparent(value).split("-")[1] != TRACE


def test_request_ids_are_kept_when_harmless() -> None:
    assert valid_request_id("request-12345") == "request-12345"
    for harmful in (None, "", "short", "x" * 65, "with blank", "line\nbreak", "quote'", "request-12345\n"):
        made = valid_request_id(harmful)
        assert made != harmful
        assert valid_request_id(made) == made


def test_what_a_task_emits_continues_its_trace() -> None:
    enter_trace(TraceContext(TRACEPARENT, "request-12345", "message-1"))
    event = UserRegistered(user_id="user_1", issuer="https://issuer", sequence=1)
    envelope = Envelope.of(event, at=utc_now(), trace=current_trace())
    assert envelope.traceparent == TRACEPARENT
    assert (envelope.correlationid, envelope.causationid) == ("request-12345", "message-1")
    assert envelope.trace == TraceContext(envelope.traceparent, "request-12345", envelope.id)


def test_a_log_line_is_one_json_object_with_the_trace() -> None:
    with logged() as lines:
        enter_trace(TraceContext(TRACEPARENT, "request-12345"), service="test")
        logger("somewhere").info("it_happened", count=2, text="two\nlines")
    [line] = lines
    assert line["event"] == "it_happened"
    assert (line["trace_id"], line["request_id"], line["service"]) == (TRACE, "request-12345", "test")
    assert (line["level"], line["logger"], line["count"], line["text"]) == ("info", "somewhere", 2, "two\nlines")
    assert line["timestamp"].endswith("Z")


def test_libraries_log_through_the_same_renderer_and_the_chatty_are_quiet() -> None:
    with logged() as lines:
        logging.getLogger("some.library").warning("be careful: %s", "now")
        logging.getLogger("aio_pika").info("chatter")
        logging.getLogger("aio_pika").warning("trouble")
        logger("somewhere").debug("below the level")
    assert [line["event"] for line in lines] == ["be careful: now", "trouble"]


def test_who_is_meant_is_told_by_a_pseudonym_and_every_line_says_whose_process_it_is() -> None:
    with logged() as lines:
        note_user("user_2abc")
        logger("somewhere").info("it_happened", actor="user_2def", app_user_id=None)
    [line] = lines
    assert (line["user_id"], line["actor"]) == (pseudonym("user_2abc"), pseudonym("user_2def"))
    assert (line["service"], line["app_user_id"]) == ("test", None)
    assert "user_2" not in str(line)


def test_an_exception_is_logged_with_its_traceback_in_one_line() -> None:
    with logged() as lines:
        try:
            raise ValueError("what went wrong")
        except ValueError as error:
            logger("somewhere").error("failed", exc_info=error)
    [line] = lines
    assert "ValueError: what went wrong" in line["exception"]
    assert "Traceback" in line["exception"]
