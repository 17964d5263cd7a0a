"""The schema `legacy`: every row of the file, whole, in tables with the columns it had; and what the runs did.

Columns have PostgreSQL's types. Where a value was written in another way than its type shows, as a date that was text
or a column nobody knows, `_raw` holds it exactly, so that each row can be read back as it was.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from migration.homes import Batch, Context, StoredAudio, session_id
from migration.legacy_tables import BY_NAME, TABLES, Kind, LegacyTable
from migration.postgres import ONE_OF_THE_KEYS, Connection, copy_lines_to
from migration.source import BATCH_ROWS, PresentTable, Rows, quoted
from migration.values import canonical, milliseconds

_TYPES: dict[Kind, str] = {
    "text": "text",
    "integer": "bigint",
    "real": "double precision",
    "boolean": "boolean",
    "instant": "timestamptz",
}
OWN = ("_rowid", "_run", "_raw")
_ONE_OF_THE_KEYS = ONE_OF_THE_KEYS.format(kind="text")

_BOOKS = """
    CREATE TABLE IF NOT EXISTS legacy.run (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        tool_version text NOT NULL,
        source_sha256 text NOT NULL,
        mapping text NOT NULL,
        issuer text NOT NULL,
        state text NOT NULL DEFAULT 'running',
        started_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz,
        certificate text);
    CREATE TABLE IF NOT EXISTS legacy.quarantine (
        table_name text NOT NULL,
        source_rowid bigint NOT NULL,
        row_sha256 text NOT NULL,
        reason text NOT NULL,
        column_name text NOT NULL,
        row_json text NOT NULL,
        run bigint NOT NULL,
        PRIMARY KEY (table_name, row_sha256, source_rowid));
    CREATE TABLE IF NOT EXISTS legacy.other_row (
        table_name text NOT NULL,
        row_sha256 text NOT NULL,
        copy integer NOT NULL,
        row_json text NOT NULL,
        run bigint NOT NULL,
        PRIMARY KEY (table_name, row_sha256, copy));
    CREATE TABLE IF NOT EXISTS legacy.conflict (
        table_name text NOT NULL,
        row_key text NOT NULL,
        run bigint NOT NULL,
        accepted boolean NOT NULL DEFAULT false,
        PRIMARY KEY (table_name, row_key));
    ALTER TABLE legacy.conflict ADD COLUMN IF NOT EXISTS accepted boolean NOT NULL DEFAULT false;
    CREATE TABLE IF NOT EXISTS legacy.audio_file (
        session_id text PRIMARY KEY,
        outcome text NOT NULL,
        audio_key text,
        duration_ms integer,
        loudness_lufs double precision,
        true_peak_dbtp double precision,
        size_bytes integer,
        sha256 text,
        engine text,
        segments jsonb,
        generated_at timestamptz,
        run bigint NOT NULL,
        noted_at timestamptz NOT NULL DEFAULT now());
    ALTER TABLE legacy.audio_file ADD COLUMN IF NOT EXISTS noted_at timestamptz NOT NULL DEFAULT now();
"""

_STORED = """
    SELECT session_id, audio_key, duration_ms, loudness_lufs, true_peak_dbtp, size_bytes, sha256, engine, segments,
        generated_at
    FROM legacy.audio_file WHERE session_id = ANY($1::text[]) AND outcome = 'stored'
"""


async def make_tables(legacy: Connection) -> None:
    """Makes what is missing. The schema itself is an operator's to make, unless this role may."""
    if await legacy.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = 'legacy'") is None:
        await legacy.execute("CREATE SCHEMA legacy")
    await legacy.execute(_BOOKS + "".join(map(_table_sql, TABLES)))


async def exists(legacy: Connection) -> bool:
    """Whether anything was ever moved."""
    return await legacy.fetchval("SELECT to_regclass('legacy.run')") is not None


def _table_sql(table: LegacyTable) -> str:
    # keys are ordered by their bytes, as in the file: quicker than by a language's rules
    columns = [
        f"{quoted(column.name)} {_TYPES[column.kind]}" + (' COLLATE "C"' if column.name == table.key else "")
        for column in table.columns
    ]
    columns += ['"_rowid" bigint NOT NULL', '"_run" bigint NOT NULL', '"_raw" text']
    return f"CREATE TABLE IF NOT EXISTS legacy.{quoted(table.name)} ({', '.join(columns)});\n"


class Archive:
    """Reads and writes the archived rows."""

    def __init__(self, legacy: Connection) -> None:
        self.legacy = legacy

    async def empty(self, table: PresentTable) -> bool:
        query = f"SELECT NOT EXISTS (SELECT 1 FROM legacy.{quoted(table.name)})"
        return bool(await self.legacy.fetchval(query))

    async def index(self, table: PresentTable) -> None:
        """Sees to the table's key. It is left out while an empty table is filled: made at once it costs a third."""
        name = f"legacy.{quoted(table.name)}"
        keyed = "SELECT EXISTS (SELECT 1 FROM pg_index WHERE indrelid = to_regclass($1) AND indisprimary)"
        if not await self.legacy.fetchval(keyed, name):
            await self.legacy.execute(f"ALTER TABLE {name} ADD PRIMARY KEY ({quoted(table.legacy.key)})")

    async def known(self, table: PresentTable, keys: Sequence[Any]) -> set[str]:
        """Which of these rows are archived."""
        key = quoted(table.legacy.key)
        found = await self.legacy.fetch(
            f"SELECT {key} FROM legacy.{quoted(table.name)} WHERE {key} = {_ONE_OF_THE_KEYS}", json.dumps(keys)
        )
        return {row[0] for row in found}

    async def add(self, rows: Rows, run: int) -> None:
        """Rows that are not archived yet."""
        names = rows.table.columns
        columns = [_typed(rows, name) for name in names]
        own = (rows.rowids, (run,) * len(rows), _raw(rows))
        await self.legacy.copy_records_to_table(
            rows.table.name,
            schema_name="legacy",
            columns=[*names, *OWN],
            records=zip(*columns, *own, strict=True),
        )

    async def add_lines(self, table: PresentTable, lines: bytes) -> None:
        """The same, as lines that end with the row's number and the run."""
        columns = [*table.columns, "_rowid", "_run"]
        await copy_lines_to(self.legacy, "legacy", table.name, columns, lines)

    async def with_audio(self, context: Context, batch: Batch) -> Context:
        """The context with the stored files of the batch's sessions."""
        if "Session" not in batch:
            return context
        ids = [session_id(key) for key in batch["Session"].keys]
        found = await self.legacy.fetch(_STORED, ids)
        return replace(context, audio={row[0]: StoredAudio(*row[1:]) for row in map(tuple, found)})

    async def exact(self, table: PresentTable, keys: Sequence[Any]) -> dict[str, tuple[Any, ...]]:
        """The archived rows as they were in the file, by key."""
        key = quoted(table.legacy.key)
        rows = await self._rows(table, f"WHERE {key} = {_ONE_OF_THE_KEYS}", json.dumps(keys))
        return dict(zip(rows.keys, rows.exact, strict=True)) if rows else {}

    async def of_run(self, legacy_table: LegacyTable, run: int, after: str | None) -> Rows | None:
        """The next of the rows a run archived, in some order of their keys; None after the last."""
        key = quoted(legacy_table.key)
        where = f"WHERE _run = $1 AND ($2::text IS NULL OR {key} > $2) ORDER BY {key} LIMIT {BATCH_ROWS}"
        return await self._rows(_whole(legacy_table), where, run, after)

    async def lines_of(self, sessions: Sequence[str]) -> Rows | None:
        where = 'WHERE "sessionId" = ANY($1::text[]) ORDER BY "sessionId", idx'
        return await self._rows(_whole(BY_NAME["SessionAffirmation"]), where, list(sessions))

    async def _rows(self, table: PresentTable, where: str, *values: Any) -> Rows | None:
        listed = ", ".join(map(quoted, (*table.columns, "_rowid", "_raw")))
        found = await self.legacy.fetch(f"SELECT {listed} FROM legacy.{quoted(table.name)} {where}", *values)
        if not found:
            return None
        *columns, rowids, raws = zip(*found, strict=True)
        read = [_as_stored(table, name, values) for name, values in zip(table.columns, columns, strict=True)]
        read += [[None] * len(found) for _ in table.extra]
        for place, raw in enumerate(raws):
            if raw is not None:
                _put_back(table, json.loads(raw), read, place)
        return Rows(table, rowids, dict(zip((*table.columns, *table.extra), read, strict=True)))


def _whole(table: LegacyTable) -> PresentTable:
    """The table with all its columns, as the archive has it."""
    return PresentTable(table, tuple(column.name for column in table.columns), (), (), 0, 0)


def _typed(rows: Rows, name: str) -> Iterable[Any]:
    kind = rows.table.legacy.column(name).kind
    values = rows.columns[name]
    if kind == "instant":
        return rows.instants(name)
    if kind == "boolean":
        return [None if value is None else value == 1 for value in values]
    return values


def _as_stored(table: PresentTable, name: str, values: Sequence[Any]) -> list[Any]:
    kind = table.legacy.column(name).kind
    if kind == "instant":
        return [None if value is None else milliseconds(value) for value in values]
    if kind == "boolean":
        return [None if value is None else int(value) for value in values]
    return list(values)


def _raw(rows: Rows) -> Sequence[str | None]:
    """What the typed columns do not say: dates that were text, and the columns nobody knows."""
    instants = [column.name for column in rows.table.legacy.columns if column.kind == "instant"]
    odd = [name for name in instants if str in set(map(type, rows.columns.get(name, ())))]
    if not odd and not rows.table.extra:
        return (None,) * len(rows)
    found: list[dict[str, Any]] = [{} for _ in rows.rowids]
    for name in odd:
        for place, value in enumerate(rows.columns[name]):
            if type(value) is str:
                found[place][name] = value
    for name in rows.table.extra:
        for place, value in enumerate(rows.columns[name]):
            found[place][name] = value
    return [canonical(raw) if raw else None for raw in found]


def _put_back(table: PresentTable, raw: dict[str, Any], columns: Sequence[list[Any]], place: int) -> None:
    names = (*table.columns, *table.extra)
    for name, value in raw.items():
        if name in names:
            columns[names.index(name)][place] = value
