"""Looks again at the files that were brought along."""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from common.progress import Progress
from migration.homes import shown_id
from migration.postgres import Schemas

Reading: TypeAlias = Callable[[str], Awaitable[bytes | None]]
"""Gives the object of a key in our bucket; None where there is none."""
STORED, LOST = "stored", "lost or altered"


async def prove_files(schemas: Schemas, read: Reading | None, progress: Progress) -> dict[str, Any]:
    """Reads every stored file again, where there is a bucket, and compares its hash.

    Says whose session is rendered anew, and why.
    """
    counts: Counter[str] = Counter()
    lists: dict[str, list[str]] = {}
    rows = await schemas.legacy.fetch("SELECT session_id, outcome, audio_key, sha256 FROM legacy.audio_file ORDER BY 1")
    used = "SELECT EXISTS (SELECT 1 FROM media.session_audio WHERE session_id = $1 AND audio_key = $2)"
    with progress.step("proving audio files") as told:
        for number, row in enumerate(rows, start=1):
            outcome = row["outcome"]
            if outcome == STORED and not await schemas.media.fetchval(used, row["session_id"], row["audio_key"]):
                outcome = "replaced or removed since"
            elif outcome == STORED and read is not None:
                data = await read(row["audio_key"])
                intact = data is not None and hashlib.sha256(data).hexdigest() == row["sha256"]
                outcome = "stored and read back" if intact else LOST
            counts[outcome] += 1
            if not outcome.startswith(STORED):
                lists.setdefault(outcome, []).append(shown_id(row["session_id"]))
            told(number, len(rows))
    return {"counts": dict(counts), "sessions": lists, "intact": not counts[LOST]}
