"""One description of the whole public API, and a page that shows it without any outside host."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from gateway.routes import OWN, ROUTES, Route

_VERBS = ("get", "put", "post", "delete", "patch", "head")
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_SECTIONS = ("schemas", "responses", "parameters", "examples", "requestBodies", "headers")

ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Every error. `code` is stable, `message` is for people.",
    "required": ["code", "message"],
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "details": {}},
    "example": {"code": "NOT_FOUND", "message": "There is nothing at this address."},
}
_GATEWAY_ERRORS = {
    "400": "The request cannot be understood.",
    "401": "No valid session token was sent.",
    "413": "The body is larger than 1 MiB.",
    "503": "A service is busy or restarting; `Retry-After` says when to try again.",
}


class ConflictingSchemas(ValueError):
    """Two services publish different schemas under one name."""


def merge(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document of the public API from those of the services.

    Keeps the operations the gateway forwards and no others; adds what the gateway itself answers: authentication, its
    errors. Raises ConflictingSchemas.
    """
    components: dict[str, dict[str, Any]] = {"schemas": {"Error": ERROR_SCHEMA}}
    found: dict[str, dict[str, Any]] = {}
    for document in documents:
        for section in _SECTIONS:
            _unite(components, section, document.get("components", {}).get(section, {}))
        for path, item in document.get("paths", {}).items():
            found.setdefault(_shape(path), {}).update({"path": path, **item})
    paths = {"/health": {"get": _health()}}
    for route in ROUTES:
        item = found.get(_shape(route.path), {})
        operations = {
            verb: _public_operation(item[verb], route, verb) for verb in _VERBS if verb in item and _offers(route, verb)
        }
        if operations and route.service != OWN:
            shared = {"parameters": item["parameters"]} if "parameters" in item else {}
            paths[item["path"]] = shared | operations
    components["securitySchemes"] = {"session": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Entrain", "version": "1", "description": "Sign in with Clerk; send the session token."},
        "security": [{"session": []}],
        "paths": paths,
        "components": {section: dict(sorted(members.items())) for section, members in components.items() if members},
    }


@cache
def public_document() -> bytes:
    """The document packaged with the gateway, as JSON."""
    return files("gateway").joinpath("openapi.json").read_bytes()


@cache
def docs_page() -> tuple[bytes, str]:
    """The page, and the Content-Security-Policy that lets nothing but its own script run."""
    page = files("gateway").joinpath("docs.html").read_text("utf-8")
    script = _SCRIPT.search(page)
    assert script, "docs.html has one inline script"
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; script-src 'sha256-{digest}'"
    return page.encode(), policy


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


def _offers(route: Route, verb: str) -> bool:
    return verb.upper() in route.methods


def _public_operation(operation: Mapping[str, Any], route: Route, verb: str) -> dict[str, Any]:
    public = dict(operation)
    public["tags"] = [route.service]
    public["responses"] = {name: answer for name, answer in public.get("responses", {}).items() if name != "422"}
    limited = {"429": "Too many requests; `Retry-After` says when to try again."}
    for status, text in (_GATEWAY_ERRORS | (limited if route.allowance(verb.upper()) else {})).items():
        if status != "401" or not route.public:
            public["responses"].setdefault(status, _error(text))
    if route.public:
        public["security"] = []
    return public


def _error(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _health() -> dict[str, Any]:
    schema = {"type": "object", "required": ["ok"], "properties": {"ok": {"const": True}}}
    answer = {"description": "The gateway answers.", "content": {"application/json": {"schema": schema}}}
    return {"summary": "Health", "operationId": "health", "tags": [OWN], "security": [], "responses": {"200": answer}}
