"""Schema changes with Alembic, run by ``python -m <service> migrate`` and safe to start from every replica at once."""

from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.pool import NullPool

from common.db.engine import engine_of
from common.observability import logger

LOCK_SECONDS = 60
log = logger("migrations")


async def upgrade(direct_url: str, metadata: MetaData, folder: Path) -> str:
    """Brings the metadata's schema to the newest revision in ``folder``; returns that revision.

    One replica migrates, the others wait for its advisory lock and find nothing left to do. Raises what PostgreSQL
    raises; a failed revision is rolled back whole.
    """
    engine = engine_of(direct_url, {"timeout": 10}, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
            lock = text("SELECT pg_advisory_xact_lock(hashtext(:name))")
            await connection.execute(lock, {"name": f"migrate_{metadata.schema}"})
            return await connection.run_sync(_upgrade, metadata, folder)
    finally:
        await engine.dispose()


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
