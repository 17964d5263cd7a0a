"""Schema changes with Alembic, run by ``python -m <service> migrate`` and safe to start from every replica at once."""

import asyncio
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from common.db.engine import engine_of
from common.observability import logger

TURN_SECONDS = 600
"""How long a replica waits for the one that migrates."""
TABLE_SECONDS = 3
"""How long a change waits for its table. Whoever comes after it waits too, so it gives way soon and tries again."""
TRIES = 20
PAUSE_SECONDS = 2.0
"""In which those who had to wait get through."""
_LOCK_NOT_AVAILABLE = "55P03"
log = logger("migrations")


class TablesInUse(Exception):
    """Somebody holds a table that a revision changes, or migrates, and did not let go. Nothing was changed."""


async def upgrade(direct_url: str, metadata: MetaData, folder: Path) -> str:
    """Brings the metadata's schema to the newest revision in ``folder``; returns that revision.

    One replica migrates, the others wait for its advisory lock and find nothing left to do. A table that is in use is
    tried again for a minute or two. Raises TablesInUse, and what PostgreSQL raises; a failed revision is rolled back
    whole.
    """
    engine = engine_of(direct_url, {"timeout": 10}, poolclass=NullPool)
    try:
        for number in range(1, TRIES + 1):
            try:
                return await _upgrade_once(engine, metadata, folder)
            except DBAPIError as error:
                if not _is_held(error):
                    raise
            log.warning("table_in_use", schema=metadata.schema, attempt=number, of=TRIES)
            await asyncio.sleep(PAUSE_SECONDS)
        raise TablesInUse
    finally:
        await engine.dispose()


async def _upgrade_once(engine: AsyncEngine, metadata: MetaData, folder: Path) -> str:
    async with engine.begin() as connection:
        await connection.execute(text(f"SET LOCAL lock_timeout = '{TURN_SECONDS}s'"))
        turn = text("SELECT pg_advisory_xact_lock(hashtext(:name))")
        try:
            await connection.execute(turn, {"name": f"migrate_{metadata.schema}"})
        except DBAPIError as error:  # no second try: a turn is waited for long enough
            if _is_held(error):
                raise TablesInUse from error
            raise
        await connection.execute(text(f"SET LOCAL lock_timeout = '{TABLE_SECONDS}s'"))
        return await connection.run_sync(_upgrade, metadata, folder)


def _is_held(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def _upgrade(connection: Connection, metadata: MetaData, folder: Path) -> str:
    schema = str(metadata.schema)
    _make_schema(connection, schema)
    config, script = _history(folder)
    head = newest_revision(folder)

    def steps(revision: str | tuple[str, ...] | None, _: MigrationContext) -> list[RevisionStep]:
        log.info("migrating", schema=schema, revision=revision, target=head)
        current = revision if isinstance(revision, str) else (revision or (None,))[0]
        return list(script._upgrade_revs("head", current))  # type: ignore[arg-type]

    with EnvironmentContext(config, script, fn=steps, destination_rev="head") as environment:
        environment.configure(connection=connection, target_metadata=metadata, version_table_schema=schema)
        environment.run_migrations()
    return head


def newest_revision(folder: Path) -> str:
    """The revision that ``upgrade`` leads to. Raises FileNotFoundError for a folder without migrations."""
    head = _history(folder)[1].get_current_head()
    if head is None:
        raise FileNotFoundError(f"no migrations in {folder.name}")
    return head


def revisions(folder: Path) -> set[str]:
    return {step.revision for step in _history(folder)[1].walk_revisions()}


def _history(folder: Path) -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("version_locations", str(folder))
    config.set_main_option("path_separator", "newline")
    return config, ScriptDirectory.from_config(config)


def _make_schema(connection: Connection, schema: str) -> None:
    """Makes the schema unless an operator has: `IF NOT EXISTS` would demand the right even when it exists."""
    if connection.scalar(text("SELECT 1 FROM pg_namespace WHERE nspname = :schema"), {"schema": schema}) is None:
        connection.execute(text(f'CREATE SCHEMA "{schema}"'))
