"""The catalogue: sessions written for this app, and how they and the beds get into place."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

from common.db.engine import Database
from common.db.uow import UnitOfWork
from media.beds import background_key, bed_files, brain_layer, frequency_for
from media.commands import add_session, hash_of_lines, request_audio
from media.models import Session
from media.queries import locked_session
from media.storage import REVALIDATED, ObjectStorage

_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class CatalogueSession:
    title: str
    goal_tag: str
    voice_id: str
    lines: tuple[str, ...]

    @property
    def id(self) -> str:
        """The same on every installation, so that seeding twice finds what is there."""
        return str(uuid5(NAMESPACE_URL, f"entrain:catalogue:{self.title}"))


CATALOGUE = (
    CatalogueSession(
        "Downshift into Sleep",
        "sleep",
        "shimmer",
        (
            "My body grows heavy and warm with each breath.",
            "I give this day back and let sleep come near.",
            "Sleep finds me easily in this quiet room.",
            "My jaw, my shoulders and my hands soften into sleep.",
            "I trust the night to restore my mind and body.",
            "Each slow breath carries me deeper into restful sleep.",
        ),
    ),
    CatalogueSession(
        "Deep Focus, One Thing",
        "focus",
        "alloy",
        (
            "I choose one task and give it my full focus.",
            "My focus returns gently each time it wanders.",
            "I build steady focus with every minute of work.",
            "Clear focus turns big work into small next steps.",
            "I protect my focus and finish what I start.",
            "My mind is clear, awake and ready to focus.",
        ),
    ),
    CatalogueSession(
        "Steady in the Storm",
        "anxiety-relief",
        "nova",
        (
            "I am learning to stay calm while feelings move through.",
            "My breath is slow and my body follows it.",
            "I am choosing calm in this moment and the next.",
            "Calm is becoming familiar to my body and mind.",
            "I am capable of calm even when my heart beats fast.",
            "My feet rest on the ground and calm rises.",
        ),
    ),
    CatalogueSession(
        "Morning Spark",
        "wake-up",
        "fable",
        (
            "I wake with energy and greet this morning.",
            "My morning begins with one small brave step.",
            "I bring fresh energy to the people around me.",
            "Light fills my morning and my mind wakes up.",
            "I choose a good pace and keep my energy high.",
            "My energy grows with every breath this morning.",
        ),
    ),
    CatalogueSession(
        "Quiet Centre",
        "meditate",
        "nova",
        (
            "I return to my breath and rest in the quiet.",
            "My quiet centre is here under every thought.",
            "I watch thoughts pass and stay in the quiet.",
            "Each breath opens a little more quiet within me.",
            "I respect this time and meet it with patience.",
            "My mind settles into a wide and quiet rest.",
        ),
    ),
    CatalogueSession(
        "Before You Step On Stage",
        "pre-performance",
        "onyx",
        (
            "I prepared well and my body remembers how to perform.",
            "My nerves are energy and I perform with them.",
            "I perform one clear moment at a time.",
            "My voice is steady and I perform with joy.",
            "I trust my training when I perform under lights.",
            "I welcome this room and perform for the people here.",
        ),
    ),
    CatalogueSession(
        "Open the Creative Door",
        "creativity",
        "echo",
        (
            "I make room for creative ideas and let them play.",
            "My creative mind connects things in surprising ways.",
            "I enjoy the first rough shape of creative work.",
            "Creative ideas come while my hands keep moving.",
            "I honor my creative voice and share it freely.",
            "Every creative hour teaches me something new.",
        ),
    ),
    CatalogueSession(
        "Right Now: Safe Ground",
        "sos",
        "nova",
        (
            "I am safe in this moment and in this breath.",
            "My feet press down and the safe ground holds me.",
            "I breathe out slowly and my body feels safe.",
            "This wave rises, this wave falls, and I am safe.",
            "I name five things I see and feel safe here.",
            "My heart slows down because I am safe now.",
        ),
    ),
)


async def seed(database: Database, storage: ObjectStorage, *, tell: Tell) -> None:
    """Puts sessions, their render jobs and the beds in place. Idempotent; what is there already stays as it is."""
    added = await put_in_place(database)
    tell(f"catalogue: {len(CATALOGUE)} sessions, {added} new; a worker renders their audio")
    await upload_beds(storage, tell=tell)


async def put_in_place(database: Database) -> int:
    """The sessions and their jobs, from however many replicas at once; how many were new."""
    async with database.transaction() as uow:
        return sum([await _add(uow, entry, place) for place, entry in enumerate(CATALOGUE)])


async def _add(uow: UnitOfWork, entry: CatalogueSession, place: int) -> bool:
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
    added = await add_session(uow, session, entry.lines)
    stored = await locked_session(uow, entry.id)
    if stored is not None:
        await request_audio(uow, stored)
    return added


async def upload_beds(storage: ObjectStorage, *, tell: Tell) -> None:
    """Makes and uploads the beds that are missing, those the catalogue needs first."""
    files = bed_files()
    needed = [background_key(), *dict.fromkeys(brain_layer(entry.goal_tag).key for entry in CATALOGUE)]
    uploaded = 0
    for key in dict.fromkeys([*needed, *files]):
        if await storage.head(key) is None:
            data = await asyncio.to_thread(files[key])
            await storage.put(key, data, content_type="audio/mp4", cache_control=REVALIDATED)
            uploaded += 1
            tell(f"beds: {key} ({len(data) // 1024} KiB)")
    tell(f"beds: {len(files)} in place, {uploaded} new")
