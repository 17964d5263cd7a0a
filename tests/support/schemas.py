"""What every schema's migrations must do, for the tests of each service."""

from typing import Any

import asyncpg
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool


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
