"""A JSON object as PostgreSQL's jsonb writes it, so that what was moved can be compared as text.

jsonb keeps the last of keys that are there twice, orders keys by their length, and writes numbers out.
"""

import json
from decimal import Decimal
from typing import Any

_MOST_ZEROS = 300


def object_as_jsonb(text: str) -> str:
    """Raises ValueError when the text is no JSON object, or one that jsonb cannot hold."""
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=_refused)
        if not isinstance(found, dict):
            raise ValueError("no object")
        return _written(found)
    except RecursionError as error:
        raise ValueError("too deep") from error


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _written(value: Any) -> str:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return "{" + ", ".join(f"{_written(key)}: {_written(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, str) and "\0" in value:
        raise ValueError("text with a NUL character")
    written = json.dumps(value, ensure_ascii=False)
    written.encode()  # a lone surrogate is an error here
    return written


def _number(value: Decimal) -> str:
    if abs(value.adjusted()) > _MOST_ZEROS:
        raise ValueError("number too large or too small")
    return format(abs(value) if value.is_zero() else value, "f")
