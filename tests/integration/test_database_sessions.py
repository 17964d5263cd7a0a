"""A pooled session that died while unused costs its next user nothing."""

import traceback
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.exc import IntegrityError

from common.db import engine
from common.db.engine import Database, is_outage
from tests.support.event_ledger import ledger, until

looks_at_sessions = pytest.mark.direct("a session of the pool has to be one of the server")
WORDS = "what nobody may read"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with ledger(database_url, pool_size=1) as opened:
        yield opened


async def session_id(database: Database) -> int:
    async with database.transaction() as uow:
        return int((await uow.session.execute(text("SELECT pg_backend_pid()"))).scalar_one())


@looks_at_sessions
async def test_a_session_ended_by_the_server_is_replaced(database: Database) -> None:
    first = await session_id(database)
    assert await session_id(database) == first
    watcher = await asyncpg.connect(database.direct_url)
    await watcher.execute("SELECT pg_terminate_backend($1)", first)

    async def gone() -> bool:
        return not await watcher.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", first)

    await until(gone)
    await watcher.close()
    assert await session_id(database) != first


@looks_at_sessions
async def test_a_session_is_asked_whether_it_lives_only_after_a_long_rest(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(_: object) -> None:
        raise OSError("silence")

    monkeypatch.setattr(AsyncAdapt_asyncpg_connection, "ping", no_answer)
    monkeypatch.setattr(engine, "TRUSTED_SECONDS", 3600)
    first = await session_id(database)
    assert await session_id(database) == first
    monkeypatch.setattr(engine, "TRUSTED_SECONDS", -1)
    assert await session_id(database) != first


@pytest.mark.parametrize(
    "error, outage",
    [
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (asyncpg.CannotConnectNowError(), True),
        (asyncpg.TooManyConnectionsError(), True),
        (asyncpg.InternalClientError(), True),
        (FileNotFoundError("a file"), False),
        (asyncpg.UniqueViolationError(), False),
        (RuntimeError("connection"), False),
    ],
)
def test_only_an_unreachable_database_is_an_outage(error: Exception, outage: bool) -> None:
    assert is_outage(error) is outage


async def test_an_error_names_the_rule_and_never_the_row(database: Database) -> None:
    async def refuse() -> None:
        async with database.transaction() as uow:
            await uow.session.execute(text("CREATE TEMPORARY TABLE diary (line text CHECK (length(line) < 5))"))
            await uow.session.execute(text("INSERT INTO diary VALUES (:line)"), {"line": WORDS})

    with pytest.raises(IntegrityError) as refused:
        await refuse()
    told = "".join(traceback.format_exception(refused.value))
    assert "diary_line_check" in told
    assert WORDS not in told
