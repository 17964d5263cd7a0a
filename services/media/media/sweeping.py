"""Goes through the bucket once a day, slowly, and takes out what no row names. Run as a loop of the worker.

One worker leads by an advisory lock, to spare the store and not for safety: two would do the same things. How far it
came is kept, so that a worker started anew goes on from there.
"""

import asyncio
import contextlib
from datetime import timedelta

import asyncpg
from sqlalchemy.dialects.postgresql import insert

from common.db.driver import LOST
from common.db.engine import Database
from common.observability import logger
from media.models import SweptPrefix
from media.outages import outages_told
from media.storage import ObjectStorage
from media.storage_audit import SWEPT, StorageAudit

EVERY = timedelta(days=1)
PAUSE_SECONDS = 2.0
"""Between two pages of at most a thousand objects."""
IDLE_SECONDS = 60.0
_TRY_TO_LEAD = "SELECT pg_try_advisory_lock(hashtext('media.sweeping'))"
log = logger("media.sweeping")


class Sweeper:
    """``pause`` seconds lie between two pages."""

    def __init__(self, database: Database, storage: ObjectStorage, *, pause: float = PAUSE_SECONDS) -> None:
        self._database = database
        self._storage = storage
        self._audit = StorageAudit(database, storage)
        self._pause = pause

    async def run(self) -> None:
        """Removes, once a day, objects that no row names."""
        while True:
            with outages_told(log):
                await self._lead()
            await asyncio.sleep(IDLE_SECONDS)

    async def _lead(self) -> None:
        session = await asyncpg.connect(self._database.direct_url, timeout=5, command_timeout=30)
        try:
            if await session.fetchval(_TRY_TO_LEAD):
                await self.sweep_due()
        finally:
            with contextlib.suppress(*LOST):
                await session.close(timeout=2)

    async def sweep_due(self) -> int:
        """Goes on with every prefix that is due, to its end; how many objects were removed."""
        removed = 0
        for prefix in SWEPT:
            while (more := await self._next_page(prefix)) is not None:
                removed += more
                await asyncio.sleep(self._pause)
        return removed

    async def _next_page(self, prefix: str) -> int | None:
        """How many objects of the next page were removed; None when the prefix is not due, or at its end."""
        async with self._database.transaction() as uow:
            place = await uow.session.get(SweptPrefix, prefix) or SweptPrefix(prefix=prefix, due_at=uow.now)
            if place.due_at > uow.now:
                return None
        objects = await self._storage.page(prefix, place.after_key)
        removed = await self._audit.remove(objects)
        if removed:
            log.warning("strays_removed", prefix=prefix, objects=removed)
        async with self._database.transaction() as uow:
            at_end = not objects
            after = "" if at_end else objects[-1].key
            due_at = uow.now + EVERY if at_end else place.due_at
            reached = {"after_key": after, "due_at": due_at}
            row = insert(SweptPrefix).values(prefix=prefix, **reached)
            await uow.session.execute(row.on_conflict_do_update(index_elements=["prefix"], set_=reached))
        return None if at_end else removed
