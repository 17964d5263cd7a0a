"""Takes the audio of deleted sessions out of the store, where no transaction reaches.

The transaction that deletes a session leaves a row saying so; the row goes when the store says the objects are gone.
Doing it twice is harmless, so workers need not agree on who does it.
"""

import json
import re
from collections.abc import Sequence

from common.db.engine import Database
from common.db.wakeup import WakeUp
from common.observability import logger
from common.tracing import job
from media.erasure import REMOVALS_CHANNEL, end_erasures, forget_discarded, lines_of_its_own, note_found, note_lines
from media.object_keys import line_object, session_prefix
from media.outages import outages_told
from media.queries import audio_to_remove, line_keys_of
from media.storage import ObjectStorage, StoredVersion

log = logger("media.removals")
ROUND_SECONDS = 30.0
_LINE_KEY = re.compile(r"[0-9a-f]{64}")


class Removals:
    """Run as a loop of the worker."""

    def __init__(self, database: Database, storage: ObjectStorage) -> None:
        self._database = database
        self._storage = storage

    async def run(self) -> None:
        """Removes from the store what deleted sessions and users leave there."""
        async with WakeUp(self._database.direct_url, REMOVALS_CHANNEL) as wake:
            while True:
                with outages_told(log):
                    while await self.remove_due():
                        pass
                await wake.wait(ROUND_SECONDS)

    async def remove_due(self) -> int:
        """Removes what is due; how many sessions that were. Raises StorageUnavailable: the rest stays due."""
        async with self._database.transaction() as uow:
            due = await audio_to_remove(uow)
        for session_id in due:
            await self._remove(session_id)
        async with self._database.transaction() as uow:
            await end_erasures(uow)
        return len(due)

    async def _remove(self, session_id: str) -> None:
        with job("remove audio", None, None, session_id=session_id):
            await self._remove_all_of(session_id)

    async def _remove_all_of(self, session_id: str) -> None:
        found = await self._storage.find(session_prefix(session_id))
        await self._note_lines_of_old(session_id, found)
        async with self._database.transaction() as uow:
            lines = await lines_of_its_own(uow, session_id)
        for key in lines:
            found += await self._storage.find(line_object(key))
        objects = len({version.key for version in found})
        async with self._database.transaction() as uow:
            await note_found(uow, session_id, objects)
        await self._storage.remove(found)
        async with self._database.transaction() as uow:
            await forget_discarded(uow, session_id)
        log.info("audio_removed", objects=objects)

    async def _note_lines_of_old(self, session_id: str, found: Sequence[StoredVersion]) -> None:
        """What was made before uses were noted says in its certificate which lines it has."""
        async with self._database.transaction() as uow:
            if await line_keys_of(uow, session_id):
                return
        keys: set[str] = set()
        for certificate in {version.key for version in found if version.key.endswith(".json")}:
            keys |= _lines_in(await self._storage.get(certificate))
        async with self._database.transaction() as uow:
            await note_lines(uow, session_id, keys)


def _lines_in(certificate: bytes | None) -> set[str]:
    try:
        named = json.loads(certificate or b"{}").get("lines", [])
    except ValueError:
        log.warning("certificate_not_read")
        return set()
    return {key for key in named if isinstance(key, str) and _LINE_KEY.fullmatch(key)}
