"""The services' schemas, each reached as its own role, and the ways a row gets there or is found there again."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg

from common.db.driver import plain_url
from migration.service_tables import ServiceTable
from migration.settings import Databases

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
STATEMENT_SECONDS = 600
CONNECT_SECONDS = 10
LOCK = "migration"
ONE_OF_THE_KEYS = "ANY (ARRAY(SELECT json_array_elements_text($1::json)::{kind}))"
"""Many keys as one parameter, a JSON list: asyncpg takes long to write arrays of texts."""
ERASING = frozenset({"billing", "media"})
"""The schemas that can say which accounts were deleted, and hold a deletion off meanwhile."""
COLLIDED = (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError)


class AlreadyRunning(Exception):
    """Another run holds the lock."""


@dataclass(frozen=True, slots=True)
class Schemas:
    """A session for each schema, signed in as the role that owns it."""

    identity: Connection
    billing: Connection
    media: Connection
    legacy: Connection
    reader: Connection
    """A second one for `legacy`, for what can be done while the first is busy."""

    def of(self, table: ServiceTable) -> Connection:
        session: Connection = getattr(self, table.schema)
        return session


@asynccontextmanager
async def opened(databases: Databases) -> AsyncIterator[Schemas]:
    """One migration at a time. Raises AlreadyRunning, and what asyncpg raises when a database cannot be reached."""
    async with AsyncExitStack() as stack:
        sessions = {}
        urls = databases.urls()
        for schema, url in {**urls, "reader": urls["legacy"]}.items():
            sessions[schema] = await asyncpg.connect(
                plain_url(url), timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS
            )
            stack.push_async_callback(sessions[schema].close)
        if not await sessions["legacy"].fetchval("SELECT pg_try_advisory_lock(hashtext($1))", LOCK):
            raise AlreadyRunning
        yield Schemas(**sessions)


async def together(*work: Awaitable[None]) -> None:
    """Awaits all to their end, so that no session is left in the middle of something, then raises what went wrong."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def is_empty(session: Connection, table: ServiceTable) -> bool:
    return bool(await session.fetchval(f"SELECT NOT EXISTS (SELECT 1 FROM {table.full_name})"))


async def present(
    session: Connection, table: ServiceTable, rows: Sequence[tuple[Any, ...]]
) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The settled columns of the rows there under the keys of these, by key."""
    if not rows:
        return {}
    listed = ", ".join(f'"{name}"' for name in table.settled)
    leading = list(dict.fromkeys(row[0] for row in rows))
    where = f'"{table.columns[0]}" = {ONE_OF_THE_KEYS.format(kind=table.types[0])}'
    found = await session.fetch(f"SELECT {listed} FROM {table.full_name} WHERE {where}", json.dumps(leading))
    return {row[: table.key]: row for row in map(tuple, found)}


async def add(session: Connection, table: ServiceTable, rows: Sequence[tuple[Any, ...]]) -> None:
    """Adds rows quickly. Raises one of COLLIDED when a row is there already or its parent is not."""
    if rows:
        await session.copy_records_to_table(table.name, schema_name=table.schema, columns=table.columns, records=rows)


async def add_lines(session: Connection, table: ServiceTable, lines: bytes) -> None:
    """The same, for rows that are written down as COPY takes them."""
    await copy_lines_to(session, table.schema, table.name, table.columns, lines)


async def copy_lines_to(session: Connection, schema: str, table: str, columns: Sequence[str], lines: bytes) -> None:
    """Adds rows that are written down."""
    # plain bytes would be taken for the name of a file
    await session.copy_to_table(table, schema_name=schema, columns=columns, source=memoryview(lines))


async def lines_there(session: Connection, table: ServiceTable, keys: Sequence[str]) -> bytes:
    """The rows whose first column is one of these, as COPY writes them, in the order of their keys' bytes."""
    listed = ", ".join(f'"{name}"' for name in table.columns)
    order = ", ".join(
        f'"{name}"' + (' COLLATE "C"' if kind == "text" else "")
        for name, kind in zip(table.columns[: table.key], table.types, strict=False)
    )
    where = f'"{table.columns[0]}" = {ONE_OF_THE_KEYS.format(kind=table.types[0])}'
    query = f"SELECT {listed} FROM {table.full_name} WHERE {where} ORDER BY {order}"
    found = io.BytesIO()
    await session.copy_from_query(query, json.dumps(keys), output=writing(found.write))
    return found.getvalue()


def writing(write: Callable[[bytes], object]) -> Callable[[bytes], Awaitable[None]]:
    """Takes what COPY sends."""

    async def take(data: bytes) -> None:
        write(data)

    return take


async def add_what_fits(session: Connection, table: ServiceTable, rows: Sequence[tuple[Any, ...]]) -> None:
    """Adds rows; one that somebody added meanwhile, or whose parent somebody removed, is left to them."""
    if not rows:
        return
    listed = ", ".join(f'"{name}"' for name in table.columns)
    arrays = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(table.types, start=1))
    fits = ""
    if table.parent:
        column, parent = table.parent
        fits = f'WHERE EXISTS (SELECT 1 FROM {table.schema}."{parent}" p WHERE p.id = n."{column}")'
    columns = [list(values) for values in zip(*rows, strict=True)]
    await session.execute(
        f"INSERT INTO {table.full_name} ({listed}) SELECT {listed} FROM unnest({arrays}) AS n ({listed}) {fits}"
        " ON CONFLICT DO NOTHING",
        *columns,
    )


async def erased(session: Connection, schema: str, accounts: Sequence[str]) -> set[str]:
    """Which of the accounts were deleted. Until the transaction ends, none of them can be."""
    if not accounts or schema not in ERASING:
        return set()
    return {row[0] for row in await session.fetch(f"SELECT {schema}.erased_among($1::text[])", list(accounts))}


async def all_erased(schemas: Schemas) -> set[str]:
    """Every account that any service has erased."""
    gone: set[str] = set()
    for session, table in (
        (schemas.identity, "identity.tombstone"),
        (schemas.billing, "billing.erased_user"),
        (schemas.media, "media.erased_user"),
    ):
        gone |= {row[0] for row in await session.fetch(f"SELECT user_id FROM {table}")}
    return gone


async def remove(session: Connection, table: ServiceTable, rows: Sequence[tuple[Any, ...]]) -> int:
    """Removes rows by their keys; how many there were."""
    if not rows:
        return 0
    keys = [list(values) for values in zip(*(row[: table.key] for row in rows), strict=True)]
    names = ", ".join(f'"{name}"' for name in table.columns[: table.key])
    arrays = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(table.types[: table.key], start=1))
    done = await session.execute(
        f"DELETE FROM {table.full_name} WHERE ({names}) IN (SELECT * FROM unnest({arrays}))", *keys
    )
    return int(done.rpartition(" ")[2])
