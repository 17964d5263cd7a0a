"""Takes the audio of deleted sessions out of the store, where no transaction reaches.

The transaction that deletes a session leaves a row saying so; the row goes when the store says the objects are gone.
Doing it twice is harmless, so workers need not agree on who does it.
"""

import asyncio

from common.db.engine import REACHING_FAILED, Database, is_outage
from common.observability import logger
from media.commands import forget_discarded
from media.queries import audio_to_remove
from media.storage import ObjectStorage, StorageUnavailable

log = logger("media.removals")
ROUND_SECONDS = 30.0


def session_prefix(session_id: str) -> str:
    """Under which everything made for one session lies."""
    return f"audio/session/{session_id}/"


class Removals:
    """Run as a loop of the worker."""

    def __init__(self, database: Database, storage: ObjectStorage) -> None:
        self._database = database
        self._storage = storage

    async def run(self) -> None:
        while True:
            try:
                await self.remove_due()
            except StorageUnavailable as error:
                log.warning("store_unreachable", error=str(error.__cause__)[:200])
            except REACHING_FAILED as error:
                if not is_outage(error):
                    raise
                log.warning("database_unreachable", error=f"{type(error).__name__}: {error}"[:200])
            await asyncio.sleep(ROUND_SECONDS)

    async def remove_due(self) -> int:
        """Removes what is due; how many sessions that were. Raises StorageUnavailable: the rest stays due."""
        async with self._database.transaction() as uow:
            due = await audio_to_remove(uow)
        for session_id in due:
            objects = await self._storage.remove(session_prefix(session_id))
            async with self._database.transaction() as uow:
                await forget_discarded(uow, session_id)
            log.info("audio_removed", session_id=session_id, objects=objects)
        return len(due)
