"""A foreign key that PostgreSQL checks once for many new rows, not for each: a twentieth of the work.

The constraint is taken away and put back in the transaction that adds the rows. Putting it back has PostgreSQL look at
the whole table, so nobody ever sees the table without it, or with a row that it forbids, and a transaction that is cut
off leaves it as it was. Meanwhile both tables are locked. That is done only when nobody uses them at this moment, and
when what is there already is not so much more than what comes that it would be slower; otherwise each row is checked
as always.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from migration.postgres import Connection
from migration.service_tables import ServiceTable
from migration.source import quoted

_FOUND = """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = $1::regclass AND confrelid = $2::regclass AND contype = 'f'
"""
_SLOWER_BEYOND = 20
"""A row that is looked at in one go costs a 27th of one that is checked by itself."""
_NOT_OURS = (asyncpg.LockNotAvailableError, asyncpg.InsufficientPrivilegeError)
"""Somebody uses the tables, or owns them."""


@asynccontextmanager
async def checked_together(session: Connection, table: ServiceTable, adding: int) -> AsyncIterator[bool]:
    """Within a transaction: rows that the block adds to the table are held to its parent when the block ends.

    ``adding`` is about how many bytes they are. Whether it is so is the value; if not, the table is as always.
    Raises asyncpg.ForeignKeyViolationError.
    """
    assert table.parent is not None, "there is nothing to check"
    there = await session.fetchval("SELECT pg_relation_size($1::regclass)", table.full_name)
    if there > _SLOWER_BEYOND * adding:
        yield False
        return
    parent = f'{table.schema}."{table.parent[1]}"'
    try:
        async with session.transaction():  # a savepoint: a lock that is not to be had must not end it all
            await session.execute(f"LOCK TABLE {parent}, {table.full_name} IN ACCESS EXCLUSIVE MODE NOWAIT")
            found = await session.fetch(_FOUND, table.full_name, parent)
            for name, _ in found:
                await session.execute(f"ALTER TABLE {table.full_name} DROP CONSTRAINT {quoted(name)}")
    except _NOT_OURS:
        yield False
        return
    yield True
    for name, definition in found:
        await session.execute(f"ALTER TABLE {table.full_name} ADD CONSTRAINT {quoted(name)} {definition}")
