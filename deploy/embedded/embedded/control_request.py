"""What a request to the control API says, read from its JSON body."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, overload

Body = Mapping[str, Any]


class Unfit(ValueError):
    """The request lacks something, or asks for what there is not."""


def text_of(body: Body, name: str) -> str:
    """Raises Unfit when it is missing or empty."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Unfit(f"{name} is missing")
    return value


@overload
def days_of(body: Body, name: str) -> timedelta | None: ...


@overload
def days_of(body: Body, name: str, usual: timedelta) -> timedelta: ...


def days_of(body: Body, name: str, usual: timedelta | None = None) -> timedelta | None:
    """``usual`` when it is missing."""
    return usual if body.get(name) is None else timedelta(days=float(body[name]))
