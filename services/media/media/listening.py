"""What users did with sessions is kept for a while, for their cards."""

import asyncio
from datetime import timedelta

from common.db.batches import until_none_is_left
from common.db.engine import Database
from media.commands import forget_old_listening

FORGET_SECONDS = 3600.0


async def forget_for_ever(database: Database, kept: timedelta) -> None:
    """Removes events once they have been kept for long enough."""
    while True:
        await forget_old(database, kept)
        await asyncio.sleep(FORGET_SECONDS)


async def forget_old(database: Database, kept: timedelta) -> int:
    """All that is due; returns how many went."""
    return await until_none_is_left(database, lambda uow: forget_old_listening(uow, kept))
