"""Work on many rows in short transactions."""

from collections.abc import Awaitable, Callable

from common.db.engine import Database
from common.db.uow import UnitOfWork


async def until_none_is_left(database: Database, some: Callable[[UnitOfWork], Awaitable[int]]) -> int:
    """Does ``some`` of the work in each transaction until none is left; returns how much there was."""
    total = 0
    while True:
        async with database.transaction() as uow:
            count = await some(uow)
        total += count
        if not count:
            return total
