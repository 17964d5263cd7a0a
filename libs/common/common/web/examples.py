"""Examples of whole bodies, composed from the examples of their fields."""

from collections.abc import Mapping
from typing import Any

SCHEMAS = "#/components/schemas/"
_SAMPLES: dict[str, Any] = {"string": "string", "boolean": True, "null": None}


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """A body of this schema. A schema's own example counts most; optional properties appear when they have one."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].removeprefix(SCHEMAS)], schemas)
    if schema.get("examples"):
        return schema["examples"][0]
    for keyword in ("const", "default"):
        if schema.get(keyword) is not None:
            return schema[keyword]
    if "enum" in schema:
        return schema["enum"][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            return example_of(schema[keyword][0], schemas)
    return _composed(schema, schemas)


def _composed(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "object":
        required = schema.get("required", ())
        shown = {
            name: part
            for name, part in schema.get("properties", {}).items()
            if name in required or _has_example(part, schemas)
        }
        return {name: example_of(part, schemas) for name, part in shown.items()}
    if kind == "array":
        return [example_of(schema["items"], schemas)] if "items" in schema else []
    if kind in ("integer", "number"):
        lowest = schema.get("minimum", 1)
        return int(lowest) if kind == "integer" else lowest
    return _SAMPLES.get(str(kind))


def _has_example(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> bool:
    if "$ref" in schema:
        return _has_example(schemas[schema["$ref"].removeprefix(SCHEMAS)], schemas)
    return bool(schema.get("examples")) or any(_has_example(part, schemas) for part in schema.get("anyOf", ()))
