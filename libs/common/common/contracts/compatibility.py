"""Whether an event's schema may replace the published one without a consumer noticing.

Within a version only optional fields are added. Everything a consumer could rely on stays: which fields there are,
their types and limits, which of them are always there, and what an absent one means.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

Schema = Mapping[str, Any]

_ANNOTATIONS = frozenset({"title", "description", "examples", "$defs"})
"""Keywords that say nothing about which data is valid."""


def breaks(published: Schema, proposed: Schema) -> list[str]:
    """What the proposed schema would break, one line each, naming the field; empty when it only adds optional ones.

    >>> breaks({"properties": {"plan": {"type": "string"}}}, {"properties": {"plan": {"type": "integer"}}})
    ['plan: type was "string" and would be "integer"']
    """
    return list(_compare(_Place(published, published), _Place(proposed, proposed), ""))


class _Place:
    """A schema within its document, references followed."""

    def __init__(self, document: Schema, schema: Schema) -> None:
        self._document = document
        reference = schema.get("$ref")
        if reference is not None:
            found = document["$defs"][reference.removeprefix("#/$defs/")]
            schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
        self.keywords = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}

    @property
    def properties(self) -> Schema:
        found: Schema = self.keywords.get("properties", {})
        return found

    @property
    def required(self) -> frozenset[str]:
        return frozenset(self.keywords.get("required", ()))

    def within(self, schema: Schema) -> "_Place":
        return _Place(self._document, schema)


def _compare(old: _Place, new: _Place, path: str) -> Iterator[str]:
    yield from _compare_fields(old, new, path)
    for keyword in sorted(old.keywords.keys() | new.keywords.keys()):
        if keyword in ("properties", "required"):
            continue
        was, would_be = old.keywords.get(keyword), new.keywords.get(keyword)
        if _is_schema(was) and _is_schema(would_be):
            yield from _compare(old.within(was), new.within(would_be), f"{path}[]")
        elif _are_schemas(was) and _are_schemas(would_be) and len(was) == len(would_be):
            for one, other in zip(was, would_be, strict=True):
                yield from _compare(old.within(one), new.within(other), path)
        elif was != would_be:
            yield f"{path or 'the event'}: {keyword} was {_shown(was)} and would be {_shown(would_be)}"


def _compare_fields(old: _Place, new: _Place, path: str) -> Iterator[str]:
    for name, schema in old.properties.items():
        where = f"{path}.{name}" if path else name
        if name not in new.properties:
            yield f"{where}: would be gone"
            continue
        if (name in old.required) != (name in new.required):
            yield f"{where}: would be {'required' if name in new.required else 'optional'}"
        yield from _compare(old.within(schema), new.within(new.properties[name]), where)
    for name in sorted(new.required - old.properties.keys()):
        yield f"{path}.{name}: new and required; a new field must be optional".removeprefix(".")


def _is_schema(value: object) -> TypeGuard[Schema]:
    return isinstance(value, dict)


def _are_schemas(value: object) -> TypeGuard[list[Schema]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _shown(value: object) -> str:
    return "absent" if value is None else json.dumps(value)
