"""How the catalogue and the beds get into place, from however many processes at once and as often as wanted."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from common.db.engine import Database
from common.db.uow import UnitOfWork
from media.beds import background_key, bed_files, brain_layer, certificate, certificate_key, frequency_for
from media.catalogue import CATALOGUE, CatalogueSession
from media.commands import add_session, request_audio, rewrite_session
from media.lines import hash_of_lines
from media.models import Session
from media.queries import locked_session
from media.storage import REVALIDATED, ObjectStorage

_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
Tell = Callable[[str], object]


async def seed(database: Database, storage: ObjectStorage, *, tell: Tell) -> None:
    """Puts sessions, their render jobs and the beds in place. Idempotent; what is there already stays as it is."""
    changed = await put_in_place(database)
    tell(f"catalogue: {len(CATALOGUE)} sessions, {changed} new or changed; a worker renders their audio")
    await upload_beds(storage, tell=tell)


async def put_in_place(database: Database) -> int:
    """The sessions and their jobs, from however many replicas at once; how many were new or had changed."""
    async with database.transaction() as uow:
        return sum([await _put(uow, entry, place) for place, entry in enumerate(CATALOGUE)])


async def _put(uow: UnitOfWork, entry: CatalogueSession, place: int) -> bool:
    frequency = frequency_for(entry.goal_tag)
    session = Session(
        id=entry.id,
        source="catalog",
        title=entry.title,
        goal_tag=entry.goal_tag,
        voice_id=entry.voice_id,
        frequency_hz=frequency.hz,
        brainwave_state=frequency.brainwave_state,
        lines_hash=hash_of_lines(entry.lines),
        created_at=_FIRST + timedelta(minutes=place),
        updated_at=_FIRST + timedelta(minutes=place),
    )
    changed = await add_session(uow, session, entry.lines) or await rewrite_session(uow, session, entry.lines)
    stored = await locked_session(uow, entry.id)
    if stored is not None:
        await request_audio(uow, stored)
    return changed


async def upload_beds(storage: ObjectStorage, *, tell: Tell) -> None:
    """Makes and uploads the beds that are missing or of an older edition, those the catalogue needs first."""
    files = bed_files()
    needed = [background_key(), *dict.fromkeys(brain_layer(entry.goal_tag).key for entry in CATALOGUE)]
    uploaded = 0
    for place, key in enumerate(dict.fromkeys([*needed, *files]), 1):
        if await _stands(storage, key):
            continue
        began = time.monotonic()
        data = await asyncio.to_thread(files[key])
        await storage.put(key, data, content_type="audio/mp4", cache_control=REVALIDATED)
        stored = await storage.head(key)
        # Last: whoever is killed before this makes the same bed again.
        proof = certificate(stored.sha256 if stored else None)
        await storage.put(certificate_key(key), proof, content_type="application/json", cache_control="no-store")
        uploaded += 1
        took = time.monotonic() - began
        tell(f"beds: {place} of {len(files)}, {key} ({len(data) // 1024} KiB, {took:.1f} s)")
    tell(f"beds: {len(files)} in place, {uploaded} new")


async def _stands(storage: ObjectStorage, key: str) -> bool:
    stored = await storage.head(key)
    return stored is not None and await storage.get(certificate_key(key)) == certificate(stored.sha256)
