"""A value as SQLite holds it: what is wrong with it, how it is written down exactly, and the instant behind a date.

SQLite types values, not columns, so any column can hold anything. Whole columns are looked at first, because nearly all
of them are clean and Python's built-ins do that quickly; single values only where something is odd.
"""

import base64
import json
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import chain
from typing import Any

from migration.legacy_tables import Kind, LegacyColumn

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_INFINITE_DATES = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
"""What asyncpg writes as PostgreSQL's infinity, which is another value."""
EARLIEST = (_INFINITE_DATES[0] - EPOCH) // _MILLISECOND + 1
LATEST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MILLISECOND
_WRITTEN_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_TYPES: dict[Kind, frozenset[type]] = {
    "text": frozenset({str}),
    "integer": frozenset({int}),
    "real": frozenset({float}),
    "boolean": frozenset({int}),
    "instant": frozenset({int}),
}
_INFINITE = (float("inf"), float("-inf"))
ESCAPES = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
"""The characters that COPY writes in another way, the backslash before those that are written with one."""
_ESCAPES = str.maketrans(ESCAPES)


class BrokenText(bytes):
    """Text that is no UTF-8."""


def read_text(raw: bytes) -> str | BrokenText:
    """A text factory that loses nothing."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return BrokenText(raw)


def faults(column: LegacyColumn, values: Sequence[Any]) -> Iterable[tuple[int, str]]:
    """Where in a column's values something stands that PostgreSQL or the model cannot hold exactly, and why."""
    if _clean(column, values):
        return ()
    return _each_fault(column, values)


def _clean(column: LegacyColumn, values: Sequence[Any]) -> bool:
    allowed = _TYPES[column.kind] if column.required else _TYPES[column.kind] | {type(None)}
    if not set(map(type, values)) <= allowed:
        return False
    present = values if column.required else [value for value in values if value is not None]
    if column.kind == "text":
        return "\0" not in "".join(present)
    if column.kind == "real":
        return not any(value in _INFINITE for value in present)
    if column.kind == "boolean":
        return set(present) <= {0, 1}
    if column.kind == "instant":
        return not present or (min(present) >= EARLIEST and max(present) <= LATEST)
    return True


def _each_fault(column: LegacyColumn, values: Sequence[Any]) -> Iterator[tuple[int, str]]:
    for place, value in enumerate(values):
        if (reason := fault(column, value)) is not None:
            yield place, reason


def fault(column: LegacyColumn, value: Any) -> str | None:
    """Why one value cannot be held exactly; None when it can."""
    if value is None:
        return "missing value" if column.required else None
    if type(value) is BrokenText:
        return "text that is no UTF-8"
    if column.kind == "instant":
        return _date_fault(value)
    if type(value) not in _TYPES[column.kind]:
        return f"{type(value).__name__} in a column of {column.kind}s".replace("str", "text")
    if column.kind == "text" and "\0" in value:
        return "text with a NUL character"
    if column.kind == "real" and value in _INFINITE:
        return "infinite number"
    if column.kind == "boolean" and value not in (0, 1):
        return "neither true nor false"
    return None


def _date_fault(value: Any) -> str | None:
    if type(value) is int:
        return None if EARLIEST <= value <= LATEST else "date out of range"
    if type(value) is not str:
        return f"{type(value).__name__} in a column of instants"
    try:
        written_instant(value)
    except (ValueError, OverflowError):
        return "unreadable date"
    return None


def instant(value: int | str) -> datetime:
    """The instant behind a stored date: milliseconds since 1970, or text in UTC unless it names an offset."""
    return EPOCH + timedelta(milliseconds=value) if type(value) is int else written_instant(str(value))


def written_instant(text: str) -> datetime:
    """Raises ValueError or OverflowError for anything but a date and time with at most six decimals."""
    found = _WRITTEN_DATE.fullmatch(text)
    if found is None:
        raise ValueError("not a date and time")
    *whole, fraction, zone = found.groups()
    offset = timedelta(0)
    if zone and zone != "Z":
        if int(zone[4:]) > 59 or int(zone[1:3]) > 23:
            raise ValueError("not an offset")
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:])) * (-1 if zone[0] == "-" else 1)
    year, month, day, hour, minute, second = map(int, whole)
    microsecond = int((fraction or "0").ljust(6, "0"))
    moment = datetime(year, month, day, hour, minute, second, microsecond, UTC) - offset
    if moment in _INFINITE_DATES:
        raise OverflowError("infinite")
    return moment


def milliseconds(moment: datetime) -> int:
    """What the prototype would have stored for this instant."""
    return (moment - EPOCH) // _MILLISECOND


def tagged(value: Any) -> Any:
    """A value that JSON has no word for, as an object no text can be mistaken for."""
    if isinstance(value, BrokenText):
        return {"$text": base64.b64encode(value).decode()}
    if isinstance(value, bytes):
        return {"$blob": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$at": value.astimezone(UTC).isoformat(timespec="microseconds")}
    raise TypeError(f"no canonical form for {type(value).__name__}")


_encoder = json.JSONEncoder(separators=(",", ":"), default=tagged)


def canonical(value: Any) -> str:
    """One text for one value: ASCII JSON. Whole numbers and floats differ, floats have all their digits."""
    return _encoder.encode(value)


def namings(identity: str) -> frozenset[str]:
    """How an id stands in a canonical text: as a value, or within JSON, in either spelling, that is a text there."""
    inner = (canonical(identity), json.dumps(identity, ensure_ascii=False))
    return frozenset({inner[0], *(canonical(text)[1:-1] for text in inner)})


class Digest:
    """SHA-256 over rows in the order they are added, however they are cut into batches."""

    def __init__(self) -> None:
        self._hash = sha256()
        self.rows = 0

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self.add_lines(copy_lines(rows))

    def add_lines(self, lines: bytes) -> None:
        """Rows that are written down already, or any piece of them."""
        self._hash.update(lines)
        self.rows += lines.count(b"\n")

    def hex(self) -> str:
        return self._hash.hexdigest()


def digest_both(one: Digest, rows: Sequence[tuple[Any, ...]], other: Digest, others: Sequence[tuple[Any, ...]]) -> None:
    """Adds to either digest its own rows. Rows that are the same down to the types are written down once for both."""
    if rows and _same(rows, others):
        lines = copy_lines(rows)
        one.add_lines(lines)
        other.add_lines(lines)
    else:
        one.add(rows)
        other.add(others)


def _same(rows: Sequence[tuple[Any, ...]], others: Sequence[tuple[Any, ...]]) -> bool:
    """Equal, and by no leniency of Python's: it takes 1 for 1.0 and True, and 0.0 for -0.0."""
    if list(rows) != list(others):
        return False
    kinds, other_kinds = (set(map(type, chain.from_iterable(part))) for part in (rows, others))
    return kinds == other_kinds and float not in kinds and bool not in kinds


def copy_lines(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """A line for each row, as COPY would write it: see ``lines``. No two values of one column are written alike."""
    return "".join(["\t".join(map(_field, row)) + "\n" for row in rows]).encode()


def _field(value: Any) -> str:
    if value is None:
        return "\\N"
    if type(value) is str:
        return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPES)
    if type(value) is float:  # to the last bit
        return struct.pack(">d", value).hex()
    if type(value) is datetime:
        return str((value - EPOCH) // _MICROSECOND)
    return str(int(value))
