"""The database as each service's own role sees it: reachable, recent, encrypted, up to date and apart."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg

from common.db.driver import LOST, plain_url
from common.db.migrations import newest_revision, revisions
from entrain.deployment import OWNERS, Deployment, is_inside
from entrain.findings import Check, Outcome, fail, ok, said, warn

OLDEST = 15
LONGEST_SECONDS = 30
"""Who asks usually allows less."""
_SERVER = """
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
        current_user AS role, coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted
"""
_RIGHTS = """
    SELECT nspname AS schema FROM pg_namespace
    WHERE nspname = ANY($1::text[]) AND has_schema_privilege(nspname, 'USAGE') ORDER BY 1
"""
_POWERS = """
    SELECT concat_ws(', ', CASE WHEN rolsuper THEN 'is a superuser' END, CASE WHEN rolcreaterole THEN 'makes roles' END)
    FROM pg_roles WHERE rolname = current_user
"""


@asynccontextmanager
async def session(url: str) -> "AsyncIterator[Any]":
    """A plain session, ended with the block. Raises one of LOST."""
    opened = await asyncpg.connect(
        plain_url(url), timeout=LONGEST_SECONDS, command_timeout=LONGEST_SECONDS, statement_cache_size=0
    )
    try:
        yield opened
    finally:
        await opened.close(timeout=2)


async def _reachable(service: str, deployment: Deployment) -> Outcome:
    settings = deployment.owner(service)
    try:
        async with session(settings.direct_url) as opened:
            server = await opened.fetchrow(_SERVER)
        if settings.database_direct_url is not None:
            async with session(settings.database_url.get_secret_value()) as pooled:
                # a simple query: a prepared statement would stay in the pooler's session, and meet the next look's
                await pooled.execute("SELECT 1")
    except LOST as error:
        return _refused(service, error)
    if server["major"] < OLDEST:
        return fail(f"PostgreSQL {server['version']}", f"PostgreSQL {OLDEST} or newer is needed: upgrade the server")
    seen = f"PostgreSQL {server['version']} as {server['role']}"
    if not server["encrypted"] and not is_inside(settings.direct_url):
        return warn(f"{seen}, not encrypted", "append ?sslmode=verify-full (or require) to the database's address")
    return ok(f"{seen}{', encrypted' if server['encrypted'] else ''}")


def _refused(service: str, error: BaseException) -> Outcome:
    variable = f"{service.upper()}_DATABASE_URL (or DATABASE_URL)"
    if isinstance(error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
        return fail(said(error), f"correct user and password in {variable}, or set the role's: ALTER ROLE … PASSWORD")
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return fail(said(error), f"name an existing database in {variable}, then run deploy/postgres/schemas.sql on it")
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return fail(said(error), "lower DATABASE_POOL_SIZE or put a pooler in front (DATABASE_POOLER=transaction)")
    return fail(f"cannot be reached: {said(error)}", f"check host, port and firewall of {variable}, and that it runs")


async def _up_to_date(service: str, deployment: Deployment) -> Outcome:
    code = deployment.service(service).migrations
    head = newest_revision(code)
    try:
        async with session(deployment.owner(service).direct_url) as opened:
            found = await opened.fetchval(f"SELECT version_num FROM {service}.alembic_version")
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.InsufficientPrivilegeError) as error:
        return fail(f"no tables: {said(error)}", f"run deploy/postgres/schemas.sql, then `python -m {service} migrate`")
    except LOST as error:
        return fail(said(error), f"see database.{service}")
    if found == head:
        return ok(f"at revision {head}, the newest")
    if found in revisions(code):
        return fail(f"at revision {found}, the code is at {head}", f"run `python -m {service} migrate`")
    return warn(f"at revision {found}, which this code does not know", "a newer release has migrated: deploy it here")


async def _kept_apart(service: str, deployment: Deployment) -> Outcome:
    others = [name for name in (*OWNERS, "legacy") if name != service]
    settings = deployment.owner(service)
    open_to_it: list[str] = []
    powers = ""
    try:
        # the address of a pooler may sign in as another role than the direct one
        for url in dict.fromkeys((settings.database_url.get_secret_value(), settings.direct_url)):
            async with session(url) as opened, opened.transaction():
                open_to_it += [row["schema"] for row in await opened.fetch(_RIGHTS, others)]
                powers = powers or await opened.fetchval(_POWERS)
    except LOST as error:
        return fail(said(error), f"see database.{service}")
    if not open_to_it:
        return ok(f"refused the schemas {', '.join(others)}")
    role = f"the role {powers} and" if powers else "the role"
    advice = "give each service a role of its own with deploy/postgres/schemas.sql, and <SERVICE>_DATABASE_URL"
    return warn(f"{role} may use {', '.join(dict.fromkeys(open_to_it))}", advice)


CHECKS = (
    *(Check(f"database.{service}", partial(_reachable, service)) for service in OWNERS),
    *(Check(f"revision.{service}", partial(_up_to_date, service)) for service in OWNERS),
    *(Check(f"rights.{service}", partial(_kept_apart, service)) for service in OWNERS),
)
