"""The migration against a database with the production roles: each schema migrated by its service, as its own role."""

import asyncio
import io
import json
import os
import re
import secrets
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from billing.models import Base as Billing
from common.db.migrations import upgrade
from common.progress import Progress, Told
from embedded.object_store import PrivateObjectStore
from identity.models import Base as Identity
from media.models import Base as Media
from migration.__main__ import main
from tests.support.command_lines import Ended, called
from tests.support.docker_files import REPOSITORY
from tests.support.schemas import rows
from tests.support.ways import variables_to

SCHEMAS = ("identity", "billing", "media", "legacy")
_SQL = REPOSITORY / "deploy" / "postgres" / "schemas.sql"


@dataclass(frozen=True)
class Target:
    """The database that is moved to, and the environment that names it."""

    admin_url: str
    environment: Mapping[str, str]

    async def run(self, *arguments: object, **variables: str) -> Ended:
        """The command line's own main function, in this process: a process of its own takes seconds to start."""
        return await called(main, "migration", *arguments, **{**self.environment, **variables})

    def process(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """The command line, as a person would have it."""
        return subprocess.run(
            [sys.executable, "-m", "migration", *map(str, arguments)],
            env={"PATH": os.defpath, **self.environment, **variables},
            check=False,
            capture_output=True,
            text=True,
        )

    def start(
        self, *arguments: object, told: IO[bytes] | int = subprocess.DEVNULL, **variables: str
    ) -> subprocess.Popen[bytes]:
        """The same, to be killed; what it tells of its progress goes to ``told``."""
        return subprocess.Popen(
            [sys.executable, "-m", "migration", *map(str, arguments)],
            env={"PATH": os.defpath, **self.environment, **variables},
            stdout=subprocess.DEVNULL,
            stderr=told,
        )

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return await rows(self.admin_url, query, *values)

    async def value(self, query: str, *values: Any) -> Any:
        (row,) = await self.rows(query, *values)
        (value,) = row.values()
        return value

    async def execute(self, statement: str, *values: Any) -> None:
        session = await asyncpg.connect(self.admin_url)
        try:
            await session.execute(statement, *values)
        finally:
            await session.close()


async def prepare(admin_url: str, store: PrivateObjectStore | None = None, bucket: str = "") -> Target:
    """Roles and schemas as an operator makes them, tables as the services do."""
    passwords = {schema: secrets.token_hex(16) for schema in SCHEMAS}
    statements = re.sub(r":'(\w+)_password'", lambda found: f"'{passwords[found[1]]}'", _SQL.read_text())
    session = await asyncpg.connect(admin_url)
    try:
        await session.execute(statements)
    finally:
        await session.close()
    urls = {schema: _as_role(admin_url, schema, passwords[schema]) for schema in SCHEMAS}
    for schema, metadata in (
        ("identity", Identity.metadata),
        ("billing", Billing.metadata),
        ("media", Media.metadata),
    ):
        await upgrade(urls[schema], metadata, REPOSITORY / "services" / schema / schema / "migrations")
    environment: dict[str, str] = {}
    for schema, url in urls.items():
        environment |= variables_to(url, schema)
    if store is not None:
        environment |= {
            "AWS_S3_BUCKET_NAME": bucket,
            "AWS_ENDPOINT_URL_S3": store.endpoint,
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
        }
    return Target(admin_url, environment)


def _as_role(url: str, role: str, password: str) -> str:
    server = urlsplit(url)
    return urlunsplit(server._replace(netloc=f"{role}:{password}@{server.hostname}:{server.port}"))


def certificate(report: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def source_rows(file: Path, table: str) -> list[dict[str, Any]]:
    """The file's rows as any SQLite client shows them."""
    connection = sqlite3.connect(file)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(f'SELECT rowid AS "#", * FROM "{table}"')]
    finally:
        connection.close()


class Meanwhile(Progress):
    """Has something else happen in the database at the moment a step begins."""

    def __init__(self, target: Target, step: str, statement: str) -> None:
        super().__init__(io.StringIO())
        self._target, self._step, self._statement = target, step, statement

    @contextmanager
    def step(self, what: str) -> Iterator[Told]:
        if what == self._step:
            work = threading.Thread(target=asyncio.run, args=(self._target.execute(self._statement),))
            work.start()
            work.join()
        with super().step(what) as told:
            yield told
