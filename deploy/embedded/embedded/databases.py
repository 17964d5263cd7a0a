"""The product's database on the private server: the production roles and schemas, and a role for the bus."""

import re
from pathlib import Path

import asyncpg

from embedded.kept_secrets import KeptSecrets
from embedded.postgres import PrivatePostgres

NAME = "entrain"
SERVICES = ("identity", "billing", "media")
_SCHEMAS = Path(__file__).parents[2] / "postgres" / "schemas.sql"
_VARIABLE = re.compile(r":'(\w+)'")


async def prepare(server: PrivatePostgres, secrets: KeptSecrets, *, name: str = NAME) -> dict[str, str]:
    """Makes what is missing; the database URL of each service, of the archive and of ``bus``, a role each."""
    await _make_database(server, name)
    session = await asyncpg.connect(server.url(name))
    try:
        statements = _VARIABLE.sub(lambda found: _literal(secrets.text(found[1])), _SCHEMAS.read_text())
        await session.execute(statements)
        await session.execute(_bus_role(name, secrets.text("bus_password")))
    finally:
        await session.close()
    return {role: server.url(name, role, secrets.text(f"{role}_password")) for role in (*SERVICES, "legacy", "bus")}


async def _make_database(server: PrivatePostgres, name: str) -> None:
    session = await asyncpg.connect(server.url())
    try:
        if not await session.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await session.execute(f'CREATE DATABASE "{name}"')
    finally:
        await session.close()


def _bus_role(database: str, password: str) -> str:
    return f"""
        DO $$ BEGIN CREATE ROLE bus; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
        ALTER ROLE bus WITH LOGIN PASSWORD {_literal(password)};
        GRANT CONNECT ON DATABASE "{database}" TO bus;
        CREATE SCHEMA IF NOT EXISTS bus AUTHORIZATION bus;
    """


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
