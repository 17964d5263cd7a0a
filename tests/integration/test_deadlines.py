"""A caller says how long it will wait; work that takes longer is stopped and leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import text

from common.db.engine import Database
from common.web.app import create_app
from common.web.deadlines import BUDGET_HEADER
from common.web.transactions import Transaction
from tests.support.callers import Api, served
from tests.support.event_ledger import ledger


class Office:
    """Routes that take their time, and what became of them."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.stopped = asyncio.Event()

    def app(self, database: Database) -> FastAPI:
        app = create_app("office", title="Office")
        app.state.database = database

        @app.post("/notes")
        async def write(uow: Transaction, seconds: float) -> dict[str, bool]:
            await uow.session.execute(text("INSERT INTO note VALUES (1)"))
            await uow.session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
            return {"ok": True}

        @app.get("/notes")
        async def count(uow: Transaction) -> dict[str, int]:
            return {"notes": (await uow.session.execute(text("SELECT count(*) FROM note"))).scalar_one()}

        @app.get("/waits")
        async def wait() -> dict[str, bool]:
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.stopped.set()
                raise
            return {"ok": True}

        @app.get("/streams")
        async def stream() -> StreamingResponse:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"first "
                await self.go_on.wait()
                yield b"last"

            return StreamingResponse(pieces())

        @app.post("/takes")
        async def take(request: Request) -> dict[str, int]:
            return {"size": len(await request.body())}

        return app


@asynccontextmanager
async def open_office(database_url: str, office: Office) -> AsyncIterator[Api]:
    async with ledger(database_url, pool_size=1) as database:
        async with database.transaction() as uow:
            await uow.session.execute(text("CREATE TABLE note (number int)"))
        async with served(office.app(database)) as api:
            yield api


def within(milliseconds: object) -> dict[str, str]:
    return {BUDGET_HEADER: str(milliseconds)}


async def test_work_past_its_time_is_stopped_rolled_back_and_answered_503(database_url: str) -> None:
    async with open_office(database_url, Office()) as api, asyncio.timeout(30):
        late = await api.post("/notes?seconds=600", headers=within(400))
        assert (late.status, late.json["code"]) == (503, "UNAVAILABLE")
        assert int(late.headers["Retry-After"]) > 0
        assert late.headers["X-Request-Id"]
        assert "connection" not in late.text.lower()
        assert (await api.get("/notes")).json == {"notes": 0}
        assert (await api.post("/notes?seconds=0", headers=within(20_000))).status == 200
        assert (await api.get("/notes")).json == {"notes": 1}


async def test_what_waits_for_something_else_is_stopped_too(database_url: str) -> None:
    office = Office()
    async with open_office(database_url, office) as api, asyncio.timeout(30):
        assert (await api.get("/waits", headers=within(50))).status == 503
        await office.stopped.wait()


@pytest.mark.parametrize("budget", ["", "soon", "-5", "1e3", "9" * 40])
async def test_a_time_that_makes_no_sense_is_no_limit(database_url: str, budget: str) -> None:
    office = Office()
    async with open_office(database_url, office) as api, asyncio.timeout(30):
        waiting = asyncio.create_task(api.get("/waits", headers=within(budget)))
        assert (await api.get("/notes")).status == 200
        office.go_on.set()
        assert (await waiting).status == 200


async def test_an_answer_that_began_in_time_is_not_cut_off(database_url: str) -> None:
    office = Office()
    async with open_office(database_url, office) as api, asyncio.timeout(30):
        streaming = asyncio.create_task(api.get("/streams", headers=within(1000)))
        assert (await api.get("/waits", headers=within(1500))).status == 503
        office.go_on.set()
        assert (await streaming).text == "first last"


async def test_a_body_may_take_longer_as_long_as_it_keeps_coming(database_url: str) -> None:
    office = Office()

    async with open_office(database_url, office) as api, asyncio.timeout(30):

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(4):
                yield b"x" * 1000
                assert (await api.get("/waits", headers=within(600))).status == 503

        taken = await api.post("/takes", raw=pieces(), headers=within(2000))
        assert (taken.status, taken.json) == (200, {"size": 4000})


async def test_a_body_that_stops_coming_is_waited_for_no_longer(database_url: str) -> None:
    async with open_office(database_url, Office()) as api, asyncio.timeout(30):
        forever = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"x"
            await forever.wait()

        assert (await api.post("/takes", raw=pieces(), headers=within(200))).status == 503
