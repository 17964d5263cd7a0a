"""One way to make an HTTP application: error envelope, request context, limits of size and time, metrics, health."""

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.auth import caller
from common.clock import wire_time
from common.db.engine import REACHING_FAILED, is_outage
from common.errors import DomainError, InvalidInput, MethodNotAllowed, NotFound, PayloadTooLarge, Unavailable
from common.observability import HTTP_REQUESTS, HTTP_SECONDS, logger
from common.tracing import (
    Attributes,
    Span,
    TraceContext,
    enter_trace,
    new_traceparent,
    span_under,
    valid_request_id,
)
from common.web.deadlines import Deadline
from common.web.openapi import depends_on, leave_out_null, operation_name, publish

MAXIMUM_BODY = 1024 * 1024
_ASKED_BY_MACHINES = ("/health", "/metrics")
"""Every few seconds: neither logged nor traced."""
_INTERNAL_ERROR = {"code": "INTERNAL_ERROR", "message": "Something went wrong on our side."}
_TOO_LARGE = f"Send at most {MAXIMUM_BODY} bytes."
Check = Callable[[], Awaitable[str | None]]
"""A readiness check: None when well, else what is missing."""

log = logger("web")


class WireModel(BaseModel):
    """A JSON body: camelCase on the wire, instants with a literal ``Z``, unknown request fields ignored.

    Absent optionals are left out of answers, because the app's parser takes absent and refuses null; only fields named
    in ``nullable`` (as on the wire) are sent as null.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, hide_input_in_errors=True)
    nullable: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _leave_out_absent(self, proceed: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        # unannotated: a return type would replace the model's own schema in the OpenAPI document
        return {name: value for name, value in proceed(self).items() if value is not None or name in self.nullable}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        described = handler.resolve_ref_schema(schema)
        for field in described.get("properties", {}).values():
            field.pop("title", None)  # made from the name, and says no more
        if handler.mode == "serialization":
            _describe_absent(described, cls.nullable)
        return schema


def _describe_absent(schema: dict[str, Any], nullable: frozenset[str]) -> None:
    """Says of an answer what ``_leave_out_absent`` does: a field is there, unless it could only be null."""
    required = []
    for name, field in schema.get("properties", {}).items():
        if name in nullable or {"type": "null"} not in field.get("anyOf", ()):
            required.append(name)
        else:
            leave_out_null(field)
    schema["required"] = required


Instant = Annotated[
    datetime,
    PlainSerializer(wire_time, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "pattern": "Z$", "examples": ["2026-03-01T12:30:00.000Z"]},
        mode="serialization",
    ),
]
"""An instant in an answer."""


class WireRoute(APIRoute):
    """The route class of every service. Who may not come in is told that, and not what else is wrong."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        verifies = depends_on(self.dependant, caller)

        async def verified(request: Request) -> Response:
            try:
                return await answer(request)
            except (RequestValidationError, HTTPException):
                # the framework reads the body before it asks who sent it
                if verifies:
                    await caller(request)
                raise

        return verified


def create_app(
    service: str,
    *,
    title: str,
    checks: Mapping[str, Check] | None = None,
    impairments: Mapping[str, Check] | None = None,
) -> FastAPI:
    """A FastAPI application that answers errors in the envelope and carries the request context."""
    app = FastAPI(
        title=title,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        generate_unique_id_function=operation_name,
    )
    publish(app)
    app.state.service = service
    app.add_exception_handler(DomainError, _domain_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(ResponseValidationError, _unfit_answer)
    app.add_exception_handler(HTTPException, _http_error)
    for failure in REACHING_FAILED:
        app.add_exception_handler(failure, _unreachable)
    app.add_middleware(BodyLimit)
    app.add_middleware(Deadline)
    app.add_middleware(RequestContext, service=service)
    add_health(app, checks or {}, impairments or {})
    return app


def add_health(app: FastAPI, checks: Mapping[str, Check], impairments: Mapping[str, Check]) -> None:
    """``/health/live``, ``/health/ready`` and ``/metrics``.

    ``/health/ready`` is 503 while something is missing without which a request cannot be answered. What only works
    less well, it names too, under ``impaired``: taking every instance out of service for it would be worse.
    """

    @app.get("/health/live", include_in_schema=False)
    async def live() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/health/ready", include_in_schema=False)
    async def ready() -> JSONResponse:
        missing = {name: problem for name, check in checks.items() if (problem := await _run(check))}
        impaired = {name: problem for name, check in impairments.items() if (problem := await _run(check))}
        found = {"ok": not missing, "missing": missing} | ({"impaired": impaired} if impaired else {})
        return JSONResponse(found, 503 if missing else 200)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _run(check: Check) -> str | None:
    try:
        return await check()
    except Exception as error:  # a failing check is an answer, whatever its cause
        return f"{type(error).__name__}: {error}"[:200]


async def _domain_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DomainError)
    return JSONResponse(error.envelope(), error.status, headers=error.headers)


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    form: list[str] = []
    fields: dict[str, list[str]] = {}
    for fault in error.errors():
        path = [str(part) for part in fault["loc"] if part not in ("body", "query", "path", "header")]
        if fault["type"] == "json_invalid" or not path:
            form.append(str(fault["msg"]))
        else:
            fields.setdefault(path[0], []).append(str(fault["msg"]))
    problem = InvalidInput("The request is not valid.", details={"formErrors": form, "fieldErrors": fields})
    return await _domain_error(request, problem)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return await _domain_error(request, NotFound("There is nothing at this address."))
    if error.status_code == 405:
        not_allowed = MethodNotAllowed("This address does not take that method.", headers=error.headers)
        return await _domain_error(request, not_allowed)
    if error.status_code == 413:
        return await _domain_error(request, PayloadTooLarge(_TOO_LARGE))
    body = InvalidInput(str(error.detail)).envelope()
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _unreachable(request: Request, error: Exception) -> JSONResponse:
    if not is_outage(error):
        return await _unexpected(request, error)
    log.warning("dependency_unreachable", error=f"{type(error).__name__}: {error}"[:300])
    return await _domain_error(request, Unavailable("The service is busy or restarting; try again shortly."))


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    log.error("unexpected_error", exc_info=error)
    return JSONResponse(_INTERNAL_ERROR, 500)


async def _unfit_answer(_: Request, error: Exception) -> JSONResponse:
    """The error's own words would quote the answer, which may be what a user wrote."""
    assert isinstance(error, ResponseValidationError)
    log.error("unfit_answer", faults=[(fault["loc"], fault["type"]) for fault in error.errors()])
    return JSONResponse(_INTERNAL_ERROR, 500)


class RequestContext:
    """Binds request id and trace to the task, counts, times and traces the answer, logs one line."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"].startswith(_ASKED_BY_MACHINES):
            await self._answer(scope, receive, send, Span(new_traceparent()))
            return
        with span_under(_header(scope, b"traceparent"), scope["method"], "server", _noted(scope)) as step:
            await self._answer(scope, receive, send, step)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, step: Span) -> None:
        trace = TraceContext(step.traceparent, valid_request_id(_header(scope, b"x-request-id")))
        enter_trace(trace, service=self.service)
        status = 0
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                request_id = (b"x-request-id", trace.correlation_id.encode())
                message = {**message, "headers": [*message["headers"], request_id]}
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:  # no route handled it: the caller gets an envelope, the log gets the fault
            log.error("unexpected_error", exc_info=error)
            if status:
                raise
            await JSONResponse(_INTERNAL_ERROR, 500)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            requests, duration = _meters(self.service, scope["method"], route, status)
            requests.inc()
            duration.observe(seconds)
            _tell(step, scope["method"], route, status)
            if not route.startswith(_ASKED_BY_MACHINES):
                log.info("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))


def _noted(scope: Scope) -> Attributes:
    """The path itself is left out: it may hold an id that opens what it names."""
    return {"http.request.method": scope["method"], "url.scheme": scope["scheme"]}


def _tell(step: Span, method: str, route: str, status: int) -> None:
    step.named(f"{method} {route}")
    step.note("http.route", route)
    step.note("http.response.status_code", status)
    if status >= 500:
        step.failed(str(status))


def _header(scope: Scope, name: bytes) -> str | None:
    """The last of that name."""
    return next((value.decode("latin-1") for given, value in reversed(scope["headers"]) if given == name), None)


@cache
def _meters(service: str, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Looked up once, since a look-up costs more than counting. There are few: the server knows the methods."""
    return HTTP_REQUESTS.labels(service, method, route, status), HTTP_SECONDS.labels(service, method, route)


class BodyLimit:
    """413 for a body over ``MAXIMUM_BODY`` bytes, declared or streamed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > MAXIMUM_BODY:
            error = PayloadTooLarge(_TOO_LARGE)
            await JSONResponse(error.envelope(), error.status)(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAXIMUM_BODY:
                raise HTTPException(413)  # FastAPI turns any other error met while reading a body into a 400
            return message

        await self.app(scope, counted, send)
