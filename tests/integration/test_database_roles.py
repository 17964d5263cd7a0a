"""The one-shot job that makes roles and schemas, run with the compose file's own command against a real server."""

import os
import secrets
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from embedded.postgres import find_binaries
from migration.archive import make_tables
from tests.support.docker_files import REPOSITORY, configuration, demanded
from tests.support.migration import prepare

pytestmark = pytest.mark.direct("looks at what roles may do, in sessions of its own")
SERVICES = ("identity", "billing", "media", "legacy")


@pytest.fixture
def passwords(database_url: str, tmp_path: Path) -> dict[str, str]:
    """The password of each service's role, after the job has run twice on an empty database."""
    passwords = {name: secrets.token_hex(24) for name in SERVICES}
    variables = dict.fromkeys(demanded(), "given") | {
        f"{name.upper()}_DATABASE_PASSWORD": password for name, password in passwords.items()
    }
    job = configuration(variables, tmp_path)["services"]["database-roles"]
    for _ in range(2):
        run(job["entrypoint"], job["environment"], database_url)
    return passwords


def run(entrypoint: list[str], environment: dict[str, str], database_url: str) -> None:
    """The container's command, with its files and its server's address as they are here."""
    server = urlsplit(database_url)
    here = {"/roles.sql": "deploy/postgres/passwords.sql", "/schemas.sql": "deploy/postgres/schemas.sql"}
    command = [str(REPOSITORY / here[word]) if word in here else word for word in entrypoint[1:]]
    address = {
        "PGHOST": str(server.hostname),
        "PGPORT": str(server.port),
        "PGDATABASE": server.path.lstrip("/"),
        "PGUSER": str(server.username),
        "PGPASSWORD": str(server.password),
        "PATH": os.defpath,
    }
    ended = subprocess.run(
        [str(find_binaries() / entrypoint[0]), *command],
        env=environment | address,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr


def as_role(database_url: str, role: str, password: str) -> str:
    server = urlsplit(database_url)
    return urlunsplit(server._replace(netloc=f"{role}:{password}@{server.hostname}:{server.port}"))


@pytest.mark.parametrize("service", SERVICES)
async def test_a_role_makes_tables_in_its_own_schema_and_nowhere_else(
    service: str, database_url: str, passwords: dict[str, str]
) -> None:
    session = await asyncpg.connect(as_role(database_url, service, passwords[service]))
    try:
        await session.execute(f"CREATE TABLE {service}.mine (id int)")
        for foreign in {*SERVICES, "public"} - {service}:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await session.execute(f"CREATE TABLE {foreign}.not_mine (id int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await session.execute("CREATE SCHEMA another")
    finally:
        await session.close()


async def test_a_role_cannot_read_what_another_owns(database_url: str, passwords: dict[str, str]) -> None:
    owner = await asyncpg.connect(as_role(database_url, "billing", passwords["billing"]))
    other = await asyncpg.connect(as_role(database_url, "media", passwords["media"]))
    try:
        await owner.execute("CREATE TABLE billing.secret AS SELECT 1 AS id")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await other.fetch("SELECT * FROM billing.secret")
    finally:
        await owner.close()
        await other.close()


@pytest.mark.parametrize("role", SERVICES)
async def test_a_role_is_refused_every_table_of_the_others(role: str, database_url: str) -> None:
    """With the tables as the services and the migration make them."""
    target = await prepare(database_url)
    legacy = await asyncpg.connect(target.environment["LEGACY_DATABASE_URL"])
    await make_tables(legacy)
    await legacy.close()
    tables = await target.rows(
        "SELECT schemaname AS schema, format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname = ANY($1)", SERVICES
    )  # fmt: skip
    session = await asyncpg.connect(target.environment[f"{role.upper()}_DATABASE_URL"])
    try:
        foreign = [table["name"] for table in tables if table["schema"] != role]
        assert len(foreign) >= 20
        for name in foreign:
            for statement in (f"SELECT 1 FROM {name}", f"DELETE FROM {name}", f"DROP TABLE {name}"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await session.execute(statement)
        for table in tables:
            if table["schema"] == role:
                await session.execute(f"SELECT 1 FROM {table['name']}")
    finally:
        await session.close()


async def test_a_wrong_password_opens_nothing(database_url: str, passwords: dict[str, str]) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(as_role(database_url, "media", passwords["billing"]))
