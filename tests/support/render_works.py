"""Media's workers on a service's database, with a store in memory that can be down."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from media.claims import Claim
from media.jobs import Renderer
from media.speech import Speech
from media.storage import ObjectStorage, StorageUnavailable, StoredVersion
from tests.support.hand_clock import HandClock
from tests.support.media import Media, draft
from tests.support.tone_speech import ToneSpeech

LEASE = timedelta(seconds=20)


@dataclass
class Shelf:
    """An ObjectStorage in memory that is down while ``down`` is set; ``mute``, it removes and the answer is lost."""

    down: bool = False
    mute: bool = False
    objects: dict[str, bytes] = field(default_factory=dict)

    async def put(self, key: str, data: bytes, *, content_type: str, cache_control: str) -> None:
        await self.check()
        self.objects[key] = data

    async def get(self, key: str) -> bytes | None:
        await self.check()
        return self.objects.get(key)

    async def get_dated(self, key: str) -> tuple[bytes, datetime] | None:
        data = await self.get(key)
        return None if data is None else (data, datetime.max.replace(tzinfo=UTC))

    async def find(self, prefix: str) -> list[StoredVersion]:
        await self.check()
        return [StoredVersion(key, "null") for key in self.objects if key.startswith(prefix)]

    async def remove(self, versions: Sequence[StoredVersion]) -> None:
        await self.check()
        for version in versions:
            self.objects.pop(version.key, None)
        if self.mute:
            raise StorageUnavailable("The audio store could not remove audio.")

    async def check(self) -> str | None:
        if self.down:
            raise StorageUnavailable("The audio store could not be reached.")
        return None


@dataclass
class Works:
    """The service, and workers on its database."""

    media: Media
    clock: HandClock
    shelf: Shelf

    def worker(self, speech: Speech | None = None, storage: ObjectStorage | Shelf | None = None) -> Renderer:
        kept: Any = storage or self.shelf
        return Renderer(self.media.service.database, kept, speech or ToneSpeech(), lease=LEASE)

    async def ordered(self, **changes: Any) -> tuple[str, str]:
        """Ids of a new session of ``user_1`` and of its job."""
        created = (await self.media.api.post("/sessions", draft(**changes))).json
        return created["id"], created["_audioJobId"]

    async def job(self, job_id: str) -> dict[str, Any]:
        return dict((await self.media.api.get(f"/jobs/{job_id}")).json["job"])

    async def work_once(self, renderer: Renderer) -> Claim:
        claim = await renderer.claims.take()
        assert claim is not None
        await renderer.carry_out(claim)
        return claim

    async def payloads(self, kind: str) -> list[dict[str, Any]]:
        query = "SELECT body FROM media.outbox WHERE type = $1 ORDER BY id"
        return [json.loads(row["body"])["data"] for row in await self.media.rows(query, f"media.{kind}.v1")]


async def begun(speech: ToneSpeech) -> None:
    """Returns when a read is waiting at the closed gate."""
    assert await asyncio.to_thread(speech.begun.wait, 20)
