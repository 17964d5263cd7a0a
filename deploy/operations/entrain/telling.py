"""Documents on paper: JSON for machines, indented lines for people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from common.clock import wire_time


def tell(document: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(document, indent=2, default=_plain, ensure_ascii=False))
    else:
        print("\n".join(lines(document)))


def lines(document: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    indent = "  " * depth
    for name, value in document.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:"
            yield from lines(value, depth + 1)
        elif isinstance(value, Sequence) and not isinstance(value, str) and value:
            yield f"{indent}{name}:"
            yield from _items(value, depth + 1)
        else:
            yield f"{indent}{name}: {_shown(value)}"


def _items(values: Sequence[Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for value in values:
        if isinstance(value, Mapping):
            told = "  ".join(f"{name} {_shown(part)}" for name, part in value.items() if part is not None)
            yield f"{indent}{told}"
        else:
            yield from (f"{indent}{line}" for line in str(value).splitlines())


def _shown(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "none"
    return str(_plain(value) if isinstance(value, datetime) else value)


def _plain(value: Any) -> Any:
    return wire_time(value) if isinstance(value, datetime) else str(value)
