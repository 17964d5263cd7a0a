"""What every schema's migrations must do, for the tests of each service."""

import contextlib
import json
from pathlib import Path
from typing import Any

import asyncpg
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from common.db.migrations import upgrade
from common.service import Service


async def differences(database_url: str, metadata: MetaData) -> list[Any]:
    """What Alembic would still have to change for the metadata's schema: tables, columns, types, indexes, keys."""
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"), poolclass=NullPool)
    async with engine.connect() as connection:
        found = await connection.run_sync(_compare, metadata)
    await engine.dispose()
    return found


def _compare(connection: Connection, metadata: MetaData) -> list[Any]:
    schema = str(metadata.schema)

    def ours(name: str | None, kind: str, _: Any) -> bool:
        return name == schema if kind == "schema" else name != "alembic_version"

    context = MigrationContext.configure(
        connection,
        opts={
            "include_schemas": True,
            "include_name": ours,
            "version_table_schema": schema,
            "compare_type": True,
            "compare_server_default": True,
        },
    )
    return list(compare_metadata(context, metadata))


async def rows(database_url: str, query: str, *arguments: Any) -> list[dict[str, Any]]:
    """The rows of one statement, as a person at the database would see them."""
    session = await asyncpg.connect(database_url)
    try:
        return [dict(row) for row in await session.fetch(query, *arguments)]
    finally:
        await session.close()


def revisions(folder: Path) -> list[str]:
    """The revisions of a service, oldest first."""
    return sorted(migration.name[:4] for migration in folder.glob("0*.py"))


_COLUMNS = """
    SELECT table_name AS table, column_name AS name, data_type AS type FROM information_schema.columns
    WHERE table_schema = $1 AND table_name <> 'alembic_version' AND is_identity = 'NO' ORDER BY table_name
"""
_VALUES = {
    "text": "'completed'",
    "character varying": "'completed'",
    "boolean": "true",
    "timestamp with time zone": "'2026-03-29 01:30:00.123456+00'",
    "date": "'2026-03-29'",
    "uuid": "'00000000-0000-4000-8000-000000000001'",
    "jsonb": """'{"kept": [1, 2]}'""",
    "ARRAY": "'{one,two}'",
    "bytea": "'\\x00ff'",
}
"""Literals by type, numbers apart. One text everywhere, so that every foreign key finds its row."""


async def fill(database_url: str, schema: str) -> dict[str, dict[str, Any]]:
    """Puts one row with a value in every column into each empty table of the schema; returns the rows by table."""
    session = await asyncpg.connect(database_url)
    try:
        tables: dict[str, dict[str, str]] = {}
        for column in await session.fetch(_COLUMNS, schema):
            tables.setdefault(column["table"], {})[column["name"]] = _VALUES.get(column["type"], "1")
        # whose foreign key finds no row yet waits for another round
        filled: dict[str, dict[str, Any]] = {}
        while waiting := [table for table in tables if table not in filled]:
            for table in waiting:
                with contextlib.suppress(asyncpg.ForeignKeyViolationError):
                    filled[table] = await _one_row(session, f'{schema}."{table}"', tables[table])
            if not any(table in filled for table in waiting):
                raise AssertionError(f"no row fits into {', '.join(waiting)}")
        return filled
    finally:
        await session.close()


async def _one_row(session: "asyncpg.Connection[asyncpg.Record]", table: str, values: dict[str, str]) -> dict[str, Any]:
    names = ", ".join(f'"{name}"' for name in values)
    if not await session.fetchval(f"SELECT count(*) FROM {table}"):
        await session.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join(values.values())})")
    row: dict[str, Any] = json.loads(await session.fetchval(f"SELECT to_jsonb(t)::text FROM {table} AS t"))
    return row


async def downgrade(database_url: str, metadata: MetaData, folder: Path, revision: str) -> None:
    """Takes the schema back to ``revision``."""
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"), poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(_downgrade, metadata, folder, revision)
    await engine.dispose()


def _downgrade(connection: Connection, metadata: MetaData, folder: Path, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("version_locations", str(folder))
    config.set_main_option("path_separator", "newline")
    script = ScriptDirectory.from_config(config)

    def steps(current: Any, _: MigrationContext) -> Any:
        return script._downgrade_revs(revision, current)

    with EnvironmentContext(config, script, fn=steps, destination_rev=revision) as environment:
        environment.configure(connection=connection, target_metadata=metadata, version_table_schema=metadata.schema)
        environment.run_migrations()


async def migrated(service: Service, database_url: str) -> Service:
    """The service, with its tables made."""
    await upgrade(database_url, service.metadata, service.migrations)
    return service
