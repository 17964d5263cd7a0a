"""One description of the whole public API, made from those of the services."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from importlib.resources import files
from typing import Any

from common.errors import DomainError, InvalidInput, PayloadTooLarge, RateLimited, Unauthorized, Unavailable
from common.web.openapi import ERROR_SCHEMA, with_refusals
from gateway.callers import ImpersonationRefused
from gateway.routes import OWN, ROUTES, Route

_VERBS = ("get", "put", "post", "delete", "patch", "head")
_SECTIONS = ("schemas", "securitySchemes")
_ABOUT = """Sign in with Clerk and send the session token as `Authorization: Bearer …`.

Every error is `{code, message, details?}`; a failure on our side is a 500 with `INTERNAL_ERROR`. Every answer carries
`X-Request-Id`. An optional field that has no value is absent, never null, unless its type says null."""


class ConflictingSchemas(ValueError):
    """Two services publish different schemas under one name."""


def merge(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document of the public API from those of the services.

    Keeps the operations the gateway forwards and no others; adds what the gateway itself answers: authentication, its
    errors. Raises ConflictingSchemas.
    """
    session = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    components: dict[str, dict[str, Any]] = {
        "schemas": {"Error": ERROR_SCHEMA},
        "securitySchemes": {"session": session},
    }
    found: dict[str, dict[str, Any]] = {}
    for document in documents:
        for section in _SECTIONS:
            _unite(components, section, document.get("components", {}).get(section, {}))
        for path, item in document.get("paths", {}).items():
            found.setdefault(_shape(path), {}).update({"path": path, **item})
    paths = {"/health": {"get": _health()}}
    for route in ROUTES:
        item = found.get(_shape(route.path), {})
        offered = [verb for verb in _VERBS if verb in item and verb.upper() in route.methods]
        operations = {verb: _public_operation(item[verb], route, verb) for verb in offered}
        if operations and route.service != OWN:
            paths[item["path"]] = operations
    components["responses"] = _shared_refusals(operation for item in paths.values() for operation in item.values())
    return {
        "openapi": "3.1.0",
        "info": {"title": "Entrain", "version": "1", "description": _ABOUT},
        "security": [{"session": []}],
        "paths": paths,
        "components": {section: dict(sorted(members.items())) for section, members in components.items() if members},
    }


@cache
def public_document() -> bytes:
    """The document packaged with the gateway, as JSON."""
    return files("gateway").joinpath("openapi.json").read_bytes()


def document_text(document: Mapping[str, Any]) -> str:
    """The form in which documents are committed."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _unite(components: dict[str, dict[str, Any]], section: str, members: Mapping[str, Any]) -> None:
    known = components.setdefault(section, {})
    for name, member in members.items():
        if known.setdefault(name, member) != member:
            raise ConflictingSchemas(f"{section}.{name} differs between two services")


def _shape(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def _public_operation(operation: Mapping[str, Any], route: Route, verb: str) -> dict[str, Any]:
    public = deepcopy(dict(operation))
    public["tags"] = [route.service]
    errors = _refusals(route, verb, body="requestBody" in operation)
    public["responses"] = with_refusals(public.get("responses", {}), errors)
    if route.public and "security" not in public:
        public["security"] = []
        public["responses"].pop("401", None)  # the service's own door, which the gateway always opens
    return public


def _refusals(route: Route, verb: str, *, body: bool) -> Iterator[type[DomainError]]:
    """What the gateway itself answers on the way to a service."""
    yield InvalidInput
    if not route.public:
        yield Unauthorized
    if route.is_personal(verb.upper()):
        yield ImpersonationRefused
    if body:
        yield PayloadTooLarge
    if not route.public or route.allowance(verb.upper()):  # signed-in routes: too many refused tokens
        yield RateLimited
    yield Unavailable


def _shared_refusals(operations: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Takes refusals out of the operations, which refer to them from then on: most are the same everywhere."""
    shared: dict[str, Any] = {}
    for operation in operations:
        for status, response in operation["responses"].items():
            name = "Or".join(code.title().replace("_", "") for code in _codes(response))
            if name and shared.setdefault(name, response) == response:
                operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    return shared


def _codes(response: Mapping[str, Any]) -> list[str]:
    media = response.get("content", {}).get("application/json", {})
    codes: list[str] = media.get("schema", {}).get("properties", {}).get("code", {}).get("enum", [])
    return codes


def _health() -> dict[str, Any]:
    schema = {"type": "object", "required": ["ok"], "properties": {"ok": {"const": True}}}
    content = {"application/json": {"schema": schema, "example": {"ok": True}}}
    answers = with_refusals({"200": {"description": "The gateway answers.", "content": content}}, [InvalidInput])
    return {"summary": "Health", "operationId": "getHealth", "tags": [OWN], "security": [], "responses": answers}
