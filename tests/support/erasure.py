"""What a deleted person may leave behind: nothing, in any table, and no way in."""

import json
from collections.abc import Collection, Iterator

import asyncpg
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from common.web.erasure import refuse_erased, refuse_erased_briefly


async def tables_naming(database_url: str, schema: str, words: Collection[str], *, kept: Collection[str]) -> set[str]:
    """The schema's tables, but for those of ``kept``, with a row in which one of the words stands anywhere."""
    session = await asyncpg.connect(database_url)
    try:
        names = await session.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        found = set()
        for name in {row["tablename"] for row in names} - {*kept, "alembic_version"}:
            rows = await session.fetch(f'SELECT * FROM {schema}."{name}"')
            text = json.dumps([dict(row) for row in rows], default=_plain)
            found |= {name for word in words if word in text}
        return found
    finally:
        await session.close()


def _plain(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def routes(app: FastAPI) -> Iterator[APIRoute]:
    """What the service answers, health and documents apart."""
    for included in app.routes:
        router = getattr(included, "original_router", None)
        for route in router.routes if router is not None else ():
            assert isinstance(route, APIRoute)
            yield route


def unguarded(app: FastAPI) -> set[str]:
    """Paths on which nobody asks whether the caller was deleted."""
    return {route.path for route in routes(app) if not _asks(route.dependant)}


def _asks(dependant: Dependant) -> bool:
    return dependant.call in (refuse_erased, refuse_erased_briefly) or any(
        _asks(part) for part in dependant.dependencies
    )


async def tables_about_users(database_url: str, schema: str) -> set[str]:
    """The schema's tables with a column that holds ids of users."""
    session = await asyncpg.connect(database_url)
    try:
        query = "SELECT table_name FROM information_schema.columns WHERE table_schema = $1 AND column_name ~ $2"
        return {row["table_name"] for row in await session.fetch(query, schema, "user_id|anonymous_id")}
    finally:
        await session.close()
