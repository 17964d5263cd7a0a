"""One request is one transaction, opened and committed at the edge."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from common.db.engine import Database
from common.db.uow import UnitOfWork


async def transaction(request: Request) -> AsyncIterator[UnitOfWork]:
    database: Database = request.app.state.database
    async with database.transaction() as uow:
        yield uow


# scope="function" commits before the answer goes out: nobody sees 201 for work that never committed
Transaction = Annotated[UnitOfWork, Depends(transaction, scope="function")]
