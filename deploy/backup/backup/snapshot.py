"""One instant of the database, seen by any number of sessions: what each table holds then, and what rows name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from backup.manifest import OutboxPosition, Schema, Table
from common.db.driver import plain_url
from common.progress import Progress

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
SCHEMAS = ("identity", "billing", "media", "legacy")
CONNECT_SECONDS = 10
_SESSION = {
    # a snapshot lasts as long as the slowest dump
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # a row as text must be the same text on another server
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}
_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'r' ORDER BY c.relname
"""
_DIGESTED = """
SELECT count(*),
  coalesce(sum(('x' || encode(substring(hash, 1, 8), 'hex'))::bit(64)::bigint), 0),
  coalesce(sum(('x' || encode(substring(hash, 9, 8), 'hex'))::bit(64)::bigint), 0)
FROM (SELECT sha256(convert_to(whole_row::text, 'UTF8')) AS hash FROM {table} AS whole_row) AS hashed
"""
"""The sum of all rows' hashes: it needs no order, no memory and no transfer."""
_OBJECTS = 'SELECT audio_key, size_bytes, sha256 FROM media.session_audio ORDER BY audio_key COLLATE "C", session_id'


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Connection]:
    """A session that writes values down in one way. Raises what asyncpg raises when there is no way to it."""
    session = await asyncpg.connect(plain_url(url), timeout=CONNECT_SECONDS)
    try:
        for name, value in _SESSION.items():
            await session.execute("SELECT set_config($1, $2, false)", name, value)
        yield session
    finally:
        await session.close(timeout=CONNECT_SECONDS)


@asynccontextmanager
async def exported_snapshot(session: Connection) -> AsyncIterator[str]:
    """In the block the session sees what was committed when it began, and so does pg_dump --snapshot with this name."""
    async with session.transaction(isolation="repeatable_read", readonly=True):
        yield await session.fetchval("SELECT pg_export_snapshot()")


async def server_version(session: Connection) -> str:
    """Such as ``17.2``."""
    number = int(await session.fetchval("SHOW server_version_num"))
    return f"{number // 10000}.{number % 10000}"


async def schemas_there(session: Connection) -> list[str]:
    """Ours among the database's schemas."""
    found = {row[0] for row in await session.fetch("SELECT nspname FROM pg_namespace")}
    return [name for name in SCHEMAS if name in found]


async def describe(session: Connection, schema: str, progress: Progress) -> Schema:
    """What the schema holds. What is looked at cannot be altered before the transaction ends."""
    names = [row[0] for row in await session.fetch(_TABLES, schema)]
    tables = {}
    with progress.step(f"digests of {schema}") as told:
        for name in names:
            tables[name] = await _digest(session, f'{schema}."{name}"')
            told(sum(table.rows for table in tables.values()), 0)
    revision, outbox = None, None
    if "alembic_version" in tables:
        revision = await session.fetchval(f"SELECT version_num FROM {schema}.alembic_version")
    if "outbox" in tables:
        query = f"SELECT coalesce(max(id), 0), count(*) FILTER (WHERE published_at IS NULL) FROM {schema}.outbox"
        outbox = OutboxPosition(*await _row(session, query))
    return Schema(revision, tables, outbox)


async def _digest(session: Connection, table: str) -> Table:
    rows, first, second = await _row(session, _DIGESTED.format(table=table))
    return Table(rows, f"{int(first) % 2**64:016x}{int(second) % 2**64:016x}")


async def _row(session: Connection, query: str) -> tuple[Any, ...]:
    found = await session.fetchrow(query)
    assert found is not None
    return tuple(found)


async def objects_named(session: Connection) -> AsyncIterator[tuple[str, int, str]]:
    """Key, size in bytes and SHA-256 of every file that a row names, in the order of the keys."""
    if await session.fetchval("SELECT to_regclass('media.session_audio')") is not None:
        async for row in session.cursor(_OBJECTS, prefetch=1000):
            yield tuple(row)
