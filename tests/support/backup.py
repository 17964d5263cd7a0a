"""The backup tool as a person calls it, on databases of a test."""

from collections.abc import Mapping
from pathlib import Path

import asyncpg

from backup.__main__ import main
from embedded.postgres import PrivatePostgres
from tests.support.command_lines import Ended, called
from tests.support.migration import SCHEMAS

PASSWORDS = {f"{schema.upper()}_DATABASE_PASSWORD": f"restored-{schema}" for schema in SCHEMAS}


async def backup(*arguments: object, **variables: str) -> Ended:
    return await called(main, "backup", *arguments, **{**PASSWORDS, **variables})


async def create(url: str, place: Path, *arguments: str) -> Path:
    """The folder of a new backup."""
    ended = await backup("create", place, *arguments, BACKUP_DATABASE_URL=url)
    assert ended.returncode == 0, ended.stderr
    return Path(ended.stdout.strip())


async def restore(url: str, folder: Path, variables: Mapping[str, str] | None = None) -> Ended:
    """Into the database of the URL; the bucket is looked into when the variables name one."""
    given = dict(variables or {})
    options = () if "AWS_S3_BUCKET_NAME" in given else ("--without-objects",)
    return await backup("restore", folder, *options, RESTORE_DATABASE_URL=url, **given)


async def execute(url: str, *statements: str) -> None:
    session = await asyncpg.connect(url)
    try:
        for statement in statements:
            await session.execute(statement)
    finally:
        await session.close()


async def new_database(postgres: PrivatePostgres, name: str) -> str:
    """The superuser's URL of an empty one; another of that name is dropped."""
    await execute(postgres.url(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"')
    return postgres.url(name)
