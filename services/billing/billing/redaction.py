"""A webhook without certain people: what is left is kept for the others it names."""

import json
import math
from collections.abc import Collection
from typing import Any

from billing.notice import Notice, is_anonymous

_TOLD_OF_SOMEBODY = ("subscriber_attributes",)


def ids_gone_with(notice: Notice, gone: Collection[str]) -> set[str]:
    """The ids to leave out when those of ``gone`` are: with the last identified id of a side, its anonymous ones."""
    out: set[str] = set()
    for side in notice.sides:
        left = [one for one in side if one not in gone and not is_anonymous(one)]
        touched = {one for one in side if one in gone}
        out |= touched if left or not touched else set(side)
    return out


def without(body: bytes, ids: Collection[str]) -> bytes:
    """A stored webhook's body without these ids, and without what it tells of a person whom it does not name."""
    document = json.loads(body, parse_constant=lambda _: None, parse_float=_number)
    event = {name: _left(value, ids) for name, value in document["event"].items() if name not in _TOLD_OF_SOMEBODY}
    return json.dumps({**document, "event": event}).encode()


def _left(value: Any, ids: Collection[str]) -> Any:
    if isinstance(value, list):
        return [one for one in value if not (isinstance(one, str) and one in ids)]
    return None if isinstance(value, str) and value in ids else value


def _number(text: str) -> Any:
    value = float(text)
    return value if math.isfinite(value) else text
