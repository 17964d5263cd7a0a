"""Rows of any values at all: each arrives exactly or lies in the quarantine exactly, and none is altered or lost."""

import asyncio
import base64
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.legacy_files import BASE_MS, writing
from tests.support.migration import Target

TABLES = {
    "User": '"id" TEXT, "email" TEXT, "struggle" TEXT, "createdAt" DATETIME, "updatedAt" DATETIME',
    "Session": (
        '"id" TEXT, "ownerUserId" TEXT, "source" TEXT, "title" TEXT, "goalTag" TEXT, "durationSec" INTEGER,'
        ' "voiceId" TEXT, "affirmationsHash" TEXT, "frequencyHz" REAL, "createdAt" DATETIME, "updatedAt" DATETIME'
    ),
    "SessionAffirmation": '"id" TEXT, "sessionId" TEXT, "idx" INTEGER, "text" TEXT, "autoFlagged" BOOLEAN, "note"',
    "Job": (
        '"id" TEXT, "type" TEXT, "status" TEXT, "payload" TEXT, "attempts" INTEGER, "createdAt" DATETIME,'
        ' "updatedAt" DATETIME'
    ),
}
FLAGS = {"autoFlagged"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_IN_MEDIA = """
    SELECT count(*) FROM legacy."Session" l WHERE NOT EXISTS (
        SELECT 1 FROM media.session s WHERE s.id = l.id AND s.title = l.title AND s.created_at = l."createdAt")
"""
EMPTY = 'TRUNCATE identity.user_value, identity.preferences, identity."user", media.session CASCADE'

broken_text = st.binary(min_size=1, max_size=8).map(lambda raw: ("text", raw))
hostile = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=10),
    broken_text,
    st.sampled_from(
        [
            "\\N",
            "\\.",
            "\t",
            "\r\n",
            "a\0b",
            "",
            " ",
            "2025-01-01 00:00:00",
            "2025-13-01T00:00:00Z",
            "1e5",
            "0x10",
            "NaN",
        ]
    ),
)
ids = st.one_of(st.sampled_from(["a", "A", "b", "", "user_one", "é", "e\u0301"]), st.text(max_size=4))
plausible: dict[str, st.SearchStrategy[Any]] = {
    "id": ids,
    "ownerUserId": st.one_of(st.none(), ids),
    "sessionId": ids,
    "source": st.sampled_from(["catalog", "user", "generated"]),
    "idx": st.integers(0, 5),
    "durationSec": st.one_of(st.none(), st.integers(0, 2**40)),
    "attempts": st.integers(0, 3),
    "frequencyHz": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    "createdAt": st.one_of(st.just(BASE_MS), st.integers(-(10**14), 10**14)),
    "updatedAt": st.one_of(st.just(BASE_MS), st.just("2025-06-01 12:00:00.5")),
    "autoFlagged": st.integers(0, 1),
}


def row(columns: Sequence[str]) -> st.SearchStrategy[list[Any]]:
    """Mostly plausible, so that rows arrive too: with one value in twelve there is anything at all."""

    def value(name: str) -> st.SearchStrategy[Any]:
        fine = plausible.get(name, st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
        return st.integers(0, 11).flatmap(lambda chance: hostile if chance == 0 else fine)

    return st.tuples(*map(value, columns)).map(list)


def columns_of(table: str) -> list[str]:
    return [part.split('"')[1] for part in TABLES[table].split(", ")]


contents = st.fixed_dictionaries({table: st.lists(row(columns_of(table)), min_size=3, max_size=25) for table in TABLES})


def write(file: Path, content: dict[str, list[list[Any]]]) -> None:
    file.unlink(missing_ok=True)
    with writing(file) as database:
        for table, columns in TABLES.items():
            database.execute(f'CREATE TABLE "{table}" ({columns})')
            for values in content[table]:
                marks = ", ".join("CAST(? AS TEXT)" if isinstance(value, tuple) else "?" for value in values)
                given_ = [value[1] if isinstance(value, tuple) else value for value in values]
                database.execute(f'INSERT INTO "{table}" VALUES ({marks})', given_)


def in_file(file: Path, table: str) -> dict[int, dict[str, Any]]:
    """Every value as SQLite holds it: text apart from blobs, byte by byte."""
    with closing(sqlite3.connect(file)) as database:
        database.text_factory = lambda raw: ("text", raw)
        cursor = database.execute(f'SELECT rowid, * FROM "{table}"')
        return {row[0]: dict(zip(columns_of(table), row[1:], strict=True)) for row in cursor}


def decoded(value: Any) -> Any:
    """A value of the quarantine, or of a column nobody knows."""
    if isinstance(value, str):
        return ("text", value.encode())
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        raw = base64.b64decode(content)
        return ("text", raw) if kind == "$text" else raw
    return value


def archived(row: dict[str, Any], table: str) -> dict[str, Any]:
    raw = json.loads(row["_raw"] or "{}")
    found = {}
    for name in columns_of(table):
        value = raw[name] if name in raw else row.get(name)
        if isinstance(value, datetime):
            found[name] = (value - EPOCH) // timedelta(milliseconds=1)
        elif name in FLAGS and isinstance(value, bool):
            found[name] = int(value)
        else:
            found[name] = decoded(value)
    return found


async def kept(target: Target, table: str) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    rows = await target.rows(f'SELECT * FROM legacy."{table}"')
    held = await target.rows("SELECT source_rowid, row_json FROM legacy.quarantine WHERE table_name = $1", table)
    quarantine = {
        row["source_rowid"]: {name: decoded(value) for name, value in json.loads(row["row_json"]).items()}
        for row in held
    }
    return {row["_rowid"]: archived(row, table) for row in rows}, quarantine


def typed(rows: dict[int, dict[str, Any]]) -> dict[int, dict[str, tuple[str, str]]]:
    """Compares 1 and 1.0, or 0.0 and -0.0, as the different values they are."""
    return {
        key: {name: (type(value).__name__, repr(value)) for name, value in row.items()} for key, row in rows.items()
    }


@given(content=contents)
@settings(
    max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
def test_every_value_arrives_or_lies_in_the_quarantine_unaltered(
    content: dict[str, list[list[Any]]], target: Target, tmp_path: Path
) -> None:
    file = tmp_path / "dev.db"
    write(file, content)
    asyncio.run(_check(file, target))


async def _check(file: Path, target: Target) -> None:
    await target.execute(EMPTY)
    await target.execute("DROP SCHEMA legacy CASCADE; CREATE SCHEMA legacy AUTHORIZATION legacy")
    ended = await target.run("run", file)
    assert ended.returncode == 0, ended.stderr
    assert (await target.run("verify", file)).returncode == 0

    for table in TABLES:
        there, quarantine = await kept(target, table)
        assert not there.keys() & quarantine.keys()
        assert typed(there | quarantine) == typed(in_file(file, table)), table
    assert await target.value(_NOT_IN_MEDIA) == 0
