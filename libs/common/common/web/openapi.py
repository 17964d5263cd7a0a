"""The OpenAPI document of a service: every answer it can give, with examples, from little that its routes declare.

A route names the errors of its own (``refusals``) and where its answer leads (``leads_to``). What follows from its
signature (a body that may be wrong, a caller who may be nobody) is added for all routes alike.
"""

import inspect
import re
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import BaseModel

from common.auth import caller
from common.errors import DomainError, InvalidInput, PayloadTooLarge, Unauthorized, Unavailable
from common.web.examples import SCHEMAS, example_of

JSON = "application/json"
ERROR_SCHEMA: dict[str, Any] = {
    "title": "Error",
    "description": "Every error. `code` is stable, `message` is for people.",
    "type": "object",
    "required": ["code", "message"],
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "details": {}},
}
HEADERS: dict[str, dict[str, Any]] = {
    "RateLimit": {"description": 'What is left: `"name";r=requests;t=seconds`.', "schema": {"type": "string"}},
    "RateLimit-Policy": {"description": 'The limit: `"name";q=requests;w=seconds`.', "schema": {"type": "string"}},
    "Location": {"description": "Where to go.", "schema": {"type": "string", "format": "uri"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "How to sign in.", "schema": {"type": "string"}},
}
_SOMETIMES_SENT = ("RateLimit", "RateLimit-Policy")
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")

Responses = dict[int | str, dict[str, Any]]


def refusals(*errors: type[DomainError]) -> Responses:
    """For a route's ``responses``: the errors it raises of its own accord."""
    return with_refusals({}, errors)


def leads_to(**pointers: str) -> dict[str, Any]:
    """For one of a route's ``responses``: by operationId, where in the answer stands the ``id`` of that operation."""
    links = {
        name: {"operationId": name, "parameters": {"id": f"$response.body#{pointer}"}}
        for name, pointer in pointers.items()
    }
    return {"links": links}


def with_headers(*names: str) -> dict[str, Any]:
    """For one of a route's ``responses``: the headers it carries."""
    return {"headers": {name: {**HEADERS[name], "required": name not in _SOMETIMES_SENT} for name in names}}


def raw_body(model: type[BaseModel]) -> dict[str, Any]:
    """For the ``openapi_extra`` of a route that reads the request's bytes itself: the body it expects."""
    schema = model.model_json_schema(ref_template=f"{SCHEMAS}{{model}}")
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


def with_refusals(responses: Responses, errors: Iterable[type[DomainError]]) -> Responses:
    """``responses`` and these errors, each status with all its codes, in the order of statuses."""
    for error in errors:
        _add(responses.setdefault(str(error.status), _no_error_yet()), error)
    return dict(sorted(responses.items(), key=lambda item: str(item[0])))


def operation_name(route: APIRoute) -> str:
    """The operationId, from the address alone: ``POST /sessions/{id}/ensure-audio`` is ``postSessionEnsureAudio``."""
    parts = re.sub(r"s?/\{[^}]*\}", "", route.path_format)
    words = re.findall(r"[A-Za-z0-9]+", parts)
    method = sorted(route.methods or ())[0]
    return method.lower() + "".join(word[0].upper() + word[1:] for word in words)


def publish(app: FastAPI) -> None:
    """Makes ``app.openapi()`` the full document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def leave_out_null(schema: dict[str, Any]) -> None:
    """Says of something optional that it is absent, never null."""
    kinds = schema.get("anyOf", [])
    if {"type": "null"} in kinds:
        kinds.remove({"type": "null"})
        schema.pop("default", None)
        if len(kinds) == 1:
            schema.update(schema.pop("anyOf")[0])


def depends_on(dependant: Dependant, call: Any) -> bool:
    return dependant.call is call or any(depends_on(part, call) for part in dependant.dependencies)


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    schemas["Error"] = ERROR_SCHEMA
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _complete(document["paths"][route.path_format][method.lower()], route, schemas)
    return document


def _complete(operation: dict[str, Any], route: RouteContext, schemas: dict[str, Any]) -> None:
    found: set[type[DomainError]] = {Unavailable}
    if operation["responses"].pop("422", None) is not None:
        found.add(InvalidInput)
    if "requestBody" in operation:
        found |= {InvalidInput, PayloadTooLarge}
    if depends_on(route.dependant, caller):
        found.add(Unauthorized)
    for parameter in operation.get("parameters", ()):
        leave_out_null(parameter["schema"])
        parameter["schema"].pop("title", None)
    errors = sorted(found, key=lambda error: error.status)
    operation["responses"] = with_refusals(operation["responses"], errors)
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    for media in (body["content"][JSON] for body in bodies if JSON in body.get("content", {})):
        schemas.update(media["schema"].pop("$defs", {}))
        if not media.keys() & {"example", "examples"}:
            media["example"] = example_of(media["schema"], schemas)


def _no_error_yet() -> dict[str, Any]:
    schema = {"$ref": f"{SCHEMAS}Error", "properties": {"code": {"enum": []}}}
    return {"description": "", "content": {JSON: {"schema": schema, "examples": {}}}}


def _add(response: dict[str, Any], error: type[DomainError]) -> None:
    media = response["content"][JSON]
    codes, examples = media["schema"]["properties"]["code"]["enum"], media["examples"]
    if error.__name__ in examples:
        return
    said = " ".join((inspect.getdoc(error) or "").split("\n\n")[0].split())
    response["description"] = f"{response['description']} {said}".strip()
    if error.sent_headers:
        response["headers"] = with_headers(*error.sent_headers)["headers"]
    value = {"code": error.code, "message": said, "details": error.sample_details}
    examples[error.__name__] = {"value": {name: part for name, part in value.items() if part is not None}}
    media["schema"]["properties"]["code"]["enum"] = sorted({*codes, error.code})
