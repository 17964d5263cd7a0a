"""What every service answers alike: errors in one envelope, limits, request ids, health."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import asyncpg
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import Field
from sqlalchemy.exc import IntegrityError

from common.auth import UserId
from common.errors import Conflict, RateLimited, Unavailable
from common.tracing import current_trace
from common.web.app import MAXIMUM_BODY, Check, Instant, WireModel, WireRoute, create_app
from common.web.text import Text
from tests.support.callers import NOBODY, Api, FixedCallers, served

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
SECRET = "s3cret of the inside"


class Order(WireModel):
    nullable: ClassVar[frozenset[str]] = frozenset({"giftNote"})

    line_count: Annotated[int, Field(ge=1)]
    buyer_name: Text = "somebody"
    coupon: str | None = None
    gift_note: str | None = None


class Receipt(WireModel):
    paid_at: Instant
    refunded_at: Instant | None = None


class Basket(WireModel):
    orders: list[Order]


FAILURES: dict[str, Exception] = {
    "conflict": Conflict("That was taken.", details={"taken": "x"}),
    "limited": RateLimited("Slower, please.", headers={"Retry-After": "7"}),
    "unavailable": Unavailable("Down for a moment.", retry_after=9),
    "refused": ConnectionRefusedError(SECRET),
    "starting": asyncpg.CannotConnectNowError(SECRET),
    "full": asyncpg.TooManyConnectionsError(SECRET),
    "mistake": asyncpg.UndefinedTableError(SECRET),
    "duplicate": IntegrityError(SECRET, {}, Exception(SECRET)),
    "bug": KeyError(SECRET),
}


def shop(checks: dict[str, Check] | None = None) -> FastAPI:
    router = APIRouter(route_class=WireRoute)

    @router.post("/orders")
    async def order(order: Order) -> Order:
        return order

    @router.get("/receipts")
    async def receipt() -> Receipt:
        return Receipt(paid_at=datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC))

    @router.get("/baskets")
    async def basket() -> Basket:
        return Basket(orders=[Order(line_count=1)])

    @router.get("/failures/{name}")
    async def fail(name: str) -> None:
        raise FAILURES[name]

    @router.get("/trace")
    async def trace() -> dict[str, str]:
        context = current_trace()
        return {"traceparent": context.traceparent, "request": context.correlation_id}

    @router.post("/mine")
    async def add(user_id: UserId, order: Order) -> dict[str, str]:
        return {"user": user_id, "buyer": order.buyer_name}

    @router.get("/mine")
    async def mine(user_id: UserId) -> dict[str, str]:
        return {"user": user_id}

    app = create_app("shop", title="Shop", checks=checks)
    app.state.verifier = FixedCallers()
    app.include_router(router)
    return app


@asynccontextmanager
async def calling(checks: dict[str, Check] | None = None) -> AsyncIterator[Api]:
    async with served(shop(checks)) as api:
        yield api


async def test_answers_are_camel_case_with_absent_optionals_left_out() -> None:
    async with calling() as api:
        answer = await api.post("/orders", {"lineCount": 2, "unknown": True})
        basket = await api.get("/baskets")
    assert answer.status == 200
    assert answer.json == {"lineCount": 2, "buyerName": "somebody", "giftNote": None}
    assert basket.json == {"orders": [{"lineCount": 1, "buyerName": "somebody", "giftNote": None}]}


async def test_instants_end_in_a_literal_z() -> None:
    async with calling() as api:
        answer = await api.get("/receipts")
    assert answer.json == {"paidAt": "2026-03-01T12:30:00.123Z"}


@pytest.mark.parametrize(
    "raw, errors",
    [
        (b"{", ("form",)),
        (b"", ("form",)),
        (b"[]", ("form",)),
        (b"nul", ("form",)),
        (b"\xff\xfe", ("form",)),
        (b"{}", ("lineCount",)),
        (b'{"lineCount": 0}', ("lineCount",)),
        (b'{"lineCount": "x", "buyerName": 7}', ("buyerName", "lineCount")),
        (b'{"lineCount": 1, "buyerName": "\\u0000"}', ("buyerName",)),
    ],
)
async def test_a_body_that_does_not_fit_is_400_and_says_where(raw: bytes, errors: tuple[str, ...]) -> None:
    async with calling() as api:
        answer = await api.post("/orders", raw=raw)
    assert answer.status == 400
    assert answer.json["code"] == "VALIDATION_ERROR"
    assert answer.json["message"]
    details = answer.json["details"]
    assert details.keys() == {"formErrors", "fieldErrors"}
    assert ("form",) * bool(details["formErrors"]) + tuple(sorted(details["fieldErrors"])) == errors
    for messages in details["fieldErrors"].values():
        assert all(isinstance(message, str) for message in messages)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"lineCount": ' + b"9" * 5000 + b"}"])
async def test_json_made_to_hurt_is_400(raw: bytes) -> None:
    async with calling() as api:
        answer = await api.post("/orders", raw=raw)
    assert (answer.status, answer.json["code"]) == (400, "VALIDATION_ERROR")


async def test_half_a_surrogate_pair_is_answered_not_failed() -> None:
    async with calling() as api:
        answer = await api.post("/orders", raw=b'{"lineCount": 1, "buyerName": "cut \\ud83d"}')
    assert (answer.status, answer.json["buyerName"]) == (200, "cut \ufffd")


async def test_an_unknown_address_is_404_and_a_wrong_method_405_in_the_envelope() -> None:
    async with calling() as api:
        missing = await api.get("/nowhere")
        wrong = await api.put("/receipts")
    assert (missing.status, missing.json["code"]) == (404, "NOT_FOUND")
    assert (wrong.status, wrong.json["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["Allow"] == "GET"


async def test_a_body_over_the_limit_is_413_declared_or_streamed() -> None:
    whole = json.dumps({"lineCount": 1, "buyerName": "x" * MAXIMUM_BODY}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), 65536):
            yield whole[start : start + 65536]

    async with calling() as api:
        declared = await api.post("/orders", raw=whole)
        streamed = await api.post("/orders", raw=chunks())
        after = await api.post("/orders", {"lineCount": 1})
    for answer in (declared, streamed):
        assert (answer.status, answer.json["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert after.status == 200


async def test_a_body_at_the_limit_passes_declared_or_streamed() -> None:
    start, end = b'{"lineCount": 1, "coupon": "', b'"}'
    whole = start + b"x" * (MAXIMUM_BODY - len(start) - len(end)) + end

    async def chunks() -> AsyncIterator[bytes]:
        yield whole[:1000]
        yield whole[1000:]

    async with calling() as api:
        answers = [await api.post("/orders", raw=whole), await api.post("/orders", raw=chunks())]
    assert [answer.status for answer in answers] == [200, 200]


async def test_a_domain_error_carries_its_answer() -> None:
    async with calling() as api:
        conflict = await api.get("/failures/conflict")
        limited = await api.get("/failures/limited")
        unavailable = await api.get("/failures/unavailable")
    assert conflict.status == 409
    assert conflict.json == {"code": "CONFLICT", "message": "That was taken.", "details": {"taken": "x"}}
    assert (limited.status, limited.headers["Retry-After"]) == (429, "7")
    assert "details" not in limited.json
    assert (unavailable.status, unavailable.headers["Retry-After"]) == (503, "9")


@pytest.mark.parametrize("name", ["refused", "starting", "full"])
async def test_a_database_that_is_down_is_503_without_internals(name: str) -> None:
    async with calling() as api:
        answer = await api.get(f"/failures/{name}")
    assert (answer.status, answer.json["code"]) == (503, "UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) > 0
    assert SECRET not in answer.text
    assert "connection" not in answer.text.lower()


@pytest.mark.parametrize("name", ["mistake", "duplicate", "bug"])
async def test_a_mistake_of_ours_is_500_without_internals(name: str) -> None:
    async with calling() as api:
        answer = await api.get(f"/failures/{name}")
        after = await api.get("/receipts")
    assert answer.status == 500
    assert answer.headers["X-Request-Id"]
    assert answer.json == {"code": "INTERNAL_ERROR", "message": "Something went wrong on our side."}
    assert after.status == 200


async def test_only_a_bearer_token_of_a_user_opens_a_users_door() -> None:
    async with calling() as api:
        assert (await api.get("/mine")).json == {"user": "user_1"}
        for headers in ({"Authorization": "Basic dXNlcg=="}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "}):
            refused = await api.get("/mine", headers=headers)
            assert (refused.status, refused.json["code"]) == (401, "UNAUTHORIZED"), headers
        for caller in (None, NOBODY):
            assert (await api.signed_in_as(caller).get("/mine")).status == 401


async def test_who_may_not_come_in_is_not_told_what_else_is_wrong() -> None:
    async with calling() as api:
        for raw in (b"{", b"{}", b'{"lineCount": 1}'):
            assert (await api.signed_in_as(None).post("/mine", raw=raw)).status == 401, raw
        assert (await api.post("/mine", raw=b"{}")).status == 400
        assert (await api.post("/mine", {"lineCount": 1})).json == {"user": "user_1", "buyer": "somebody"}


async def test_an_answer_that_does_not_fit_is_not_quoted_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    app = create_app("shop", title="shop")

    @app.get("/unfit")
    async def unfit() -> Basket:
        return SECRET  # type: ignore[return-value]

    async with served(app) as api:
        assert (await api.get("/unfit")).status == 500
    printed = "".join(capfd.readouterr())
    assert "unfit_answer" in printed
    assert SECRET not in printed


async def test_request_id_and_trace_are_taken_over_when_well_formed_and_made_otherwise() -> None:
    async with calling() as api:
        kept = await api.get("/trace", headers={"X-Request-Id": "request-12345", "traceparent": TRACEPARENT})
        made = await api.get("/trace", headers={"X-Request-Id": "no good!", "traceparent": "00-0-0-01"})
        again = await api.get("/trace")
    assert kept.headers["X-Request-Id"] == kept.json["request"] == "request-12345"
    assert kept.json["traceparent"].split("-")[1] == TRACE
    assert kept.json["traceparent"] != TRACEPARENT
    assert made.headers["X-Request-Id"] == made.json["request"] != "no good!"
    assert made.json["traceparent"].split("-")[1] not in (TRACE, again.json["traceparent"].split("-")[1])


async def test_requests_at_once_keep_their_own_context() -> None:
    async with calling() as api:
        ids = [f"request-{number:05}" for number in range(30)]
        answers = await asyncio.gather(*(api.get("/trace", headers={"X-Request-Id": name}) for name in ids))
    assert [answer.json["request"] for answer in answers] == ids


async def test_readiness_names_what_is_missing_and_liveness_does_not_care() -> None:
    async def well() -> str | None:
        return None

    async def detached() -> str | None:
        return "consumer of shop.users not attached"

    async def failing() -> str | None:
        raise OSError("no route")

    async with calling({"database": well, "worker": detached, "broker": failing}) as api:
        ready, live = await api.get("/health/ready"), await api.get("/health/live")
    assert ready.status == 503
    missing: dict[str, Any] = ready.json["missing"]
    assert missing == {"worker": "consumer of shop.users not attached", "broker": "OSError: no route"}
    assert (live.status, live.json) == (200, {"ok": True})
    async with calling({"database": well}) as api:
        ready = await api.get("/health/ready")
    assert (ready.status, ready.json) == (200, {"ok": True, "missing": {}})


async def test_requests_are_counted_by_route_not_by_address() -> None:
    async with calling() as api:
        await api.get("/failures/conflict")
        await api.get("/nowhere/at/all")
        metrics = (await api.get("/metrics")).text
    counted = 'http_requests_total{method="GET",route="%s",service="shop",status="%s"}'
    assert counted % ("/failures/{name}", 409) in metrics
    assert counted % ("unmatched", 404) in metrics
    assert "/nowhere" not in metrics
