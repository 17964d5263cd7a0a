"""A whole service as small as can be, to be run as a process: ``python -m tests.support.small_service COMMAND``.

One route that answers when it is told to, one consumer, one loop that may fail. Settings as every service's.
"""

import asyncio
import sys
from pathlib import Path
from typing import ClassVar

from sqlalchemy import text

from common.command_line import parser, run
from common.contracts.identity import UserChanged
from common.db.engine import Database
from common.db.uow import UnitOfWork
from common.errors import PermanentError
from common.messaging.consumers import Subscription
from common.messaging.outbox import Outbox
from common.service import Service
from common.settings import DatabaseSettings, read_as
from common.web.app import create_app
from tests.support.event_ledger import METADATA, QUEUE, SCHEMA, record

PORT = 8790


class LedgerSettings(DatabaseSettings):
    model_config = read_as("ledger")
    service: ClassVar[str] = "ledger"


class Loop:
    """Fails while the file ``broken`` stands in the working directory, then runs for ever."""

    async def __call__(self) -> None:
        if Path("broken").exists():
            raise RuntimeError("something is broken")
        Path("mended").touch()
        await asyncio.Event().wait()


async def follow(session: UnitOfWork, event: UserChanged) -> None:
    """Refuses ``user_bad``; for ``user_slow`` it says so in the database and waits for the word to go on."""
    if event.user_id == "user_bad":
        raise PermanentError("a user nobody can handle")
    if event.user_id == "user_slow":
        await until_told()
    await record(session, event)


async def until_told() -> None:
    Path("begun").touch()
    while not Path("go-on").exists():
        await asyncio.sleep(0.01)


def build(settings: LedgerSettings) -> Service:
    outbox = Outbox(SCHEMA)
    database = Database.of(settings, outbox)
    app = create_app("ledger", title="ledger", checks={"database": database.check})

    @app.get("/slow")
    async def slow() -> dict[str, int]:
        await until_told()
        async with database.transaction() as uow:
            answer = (await uow.session.execute(text("SELECT 42"))).scalar_one()
        return {"answer": int(answer)}

    users = Subscription(QUEUE)
    users.on(UserChanged)(follow)
    return Service(
        "ledger", app, database, outbox, METADATA, Path("none"), subscriptions=(users,), loops={"mending": Loop()}
    )


if __name__ == "__main__":
    root, _ = parser("ledger", port=PORT, summary="a service of the tests")
    settings = LedgerSettings.load()
    sys.exit(run(root.parse_args(), settings, lambda: build(settings)))
