"""Brings the prototype's files into the new layout, before the sessions that need them.

A file is taken from the folder or from S3, listened to, stored under its session's own prefix with its hash, and noted.
What is missing, cannot be played or holds a beep instead of words is noted too: that session is rendered anew.

Media removes objects that no row names when they are a day old. A run that was cut off, or one that takes days, may
have stored a file that long before its session's row is written: then the file is stored again first.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from common.progress import Progress
from media.object_keys import session_prefix
from media.settings import MediaSettings
from media.storage import IMMUTABLE, S3Storage, StorageUnavailable
from media.storage_audit import SETTLED_AFTER
from migration.audio_files import AudioFolder, S3Place, s3_place
from migration.audio_proof import STORED
from migration.findings import Findings
from migration.homes import session_id
from migration.moving import Run
from migration.postgres import Schemas
from migration.sound import CONTENT_TYPES, NotPlayable, is_beep, listen, segments
from migration.source import Source
from migration.values import instant

LARGEST_FILE = 256 << 20
"""Many hours of speech; a file is held in memory while it is listened to."""
MISSING, REFUSED, TOO_LARGE, UNPLAYABLE, BEEP = "missing", "refused", "too large", "unplayable", "beep"
_BEYOND_AN_ADDRESS = (401, 403, 408, 429)
"""Refusals that have to do with who asks, or how often: another try may be answered."""
_PORTION = 500
RENEWED_AFTER = SETTLED_AFTER / 2
"""A file stored this long ago is stored again before a row names it: media looks at what is a day old."""
_NOTED = "outcome audio_key duration_ms loudness_lufs true_peak_dbtp size_bytes sha256 engine segments generated_at run"
_NOTE = f"""
    INSERT INTO legacy.audio_file (session_id, {", ".join(_NOTED.split())})
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (session_id) DO UPDATE
    SET {", ".join(f"{name} = excluded.{name}" for name in _NOTED.split())}, noted_at = now()
"""
_RENEWED = "UPDATE legacy.audio_file SET noted_at = now() WHERE session_id = $1"
_AGED = """
    SELECT session_id, audio_key, sha256 FROM legacy.audio_file
    WHERE session_id = ANY($1::text[]) AND outcome = 'stored' AND noted_at < now() - $2::interval
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A session's merged file, as the prototype's rows describe it."""

    key: str
    content_hash: str
    url: str
    meta_json: str | None
    generated_at: datetime

    @property
    def session_id(self) -> str:
        return session_id(self.key)


class NotTaken(Exception):
    """The file is there and was not read."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Store:
    """Our bucket, and the ones that old addresses name, all with the same credentials."""

    def __init__(self, settings: MediaSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._buckets: dict[str, S3Storage] = {}

    async def __aenter__(self) -> "Store":
        self.ours = await self._bucket(self._settings.aws_s3_bucket_name, None)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    async def get(self, place: S3Place) -> bytes | None:
        """None where nothing can be. Raises NotTaken, or StorageUnavailable, after which one may try again."""
        bucket = await self._bucket(place.bucket or self._settings.aws_s3_bucket_name, place.region)
        try:
            return await bucket.get(place.key)
        except StorageUnavailable as error:
            answer = error.__cause__.response if isinstance(error.__cause__, ClientError) else {}
            if answer.get("Error", {}).get("Code") == "AccessDenied":
                raise NotTaken(REFUSED) from error
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if 400 <= status < 500 and status not in _BEYOND_AN_ADDRESS:
                return None
            raise

    async def _bucket(self, name: str, region: str | None) -> S3Storage:
        if name not in self._buckets:
            moved = {"aws_s3_bucket_name": name}
            if region and self._settings.aws_endpoint_url_s3 is None:
                moved["aws_region"] = region
            self._buckets[name] = await self._stack.enter_async_context(
                S3Storage(self._settings.model_copy(update=moved))
            )
        return self._buckets[name]


class AudioMover:
    """Runs before the sessions are moved; can be cut off and repeated."""

    def __init__(
        self,
        source: Source,
        findings: Findings,
        schemas: Schemas,
        store: Store,
        folder: AudioFolder | None,
        run: Run,
        progress: Progress,
    ) -> None:
        self._source = source
        self._findings = findings
        self._media, self._legacy = schemas.media, schemas.legacy
        self._store = store
        self._folder = folder
        self._run = run
        self._progress = progress

    async def move_all(self) -> Counter[str]:
        """How many files had which outcome."""
        outcomes: Counter[str] = Counter()
        if not {"Session", "SessionAudio", "AudioAsset"} <= set(self._source.tables):
            return outcomes
        beeping = set(self._beeping())
        total = self._source.tables["SessionAudio"].rows
        with self._progress.step("moving audio files") as told:
            for portion in self._wanted():
                settled = await self._settled(portion)
                for wanted in portion:
                    if wanted.session_id not in settled:
                        outcomes[await self._move(wanted, wanted.key in beeping)] += 1
                    told(outcomes.total(), total)
        return outcomes

    async def renew(self, keys: Sequence[str]) -> None:
        """Before the rows of these sessions are written: what media might remove, or has removed, is stored again."""
        ids = {session_id(key): key for key in keys}
        aged = {row["session_id"]: row for row in await self._legacy.fetch(_AGED, list(ids), RENEWED_AFTER)}
        if not aged:
            return
        for portion in self._wanted(json.dumps([ids[one] for one in aged])):
            for wanted in portion:
                row = aged[wanted.session_id]
                data = await self._store.ours.get(row["audio_key"])
                if data is None or hashlib.sha256(data).hexdigest() != row["sha256"]:
                    await self._move(wanted, beeping=False)
                else:
                    await self._put(row["audio_key"], data)
                    await self._legacy.execute(_RENEWED, wanted.session_id)

    def _wanted(self, keys: str | None = None) -> Iterator[list[Wanted]]:
        """The files of all sessions, or of those in a JSON list."""
        clean = [
            self._findings.where_clean(self._source.tables[name]).replace("t.rowid", f"{row}.rowid")
            for name, row in (("Session", "s"), ("SessionAudio", "x"), ("AudioAsset", "a"))
        ]
        meta = "a.metaJson" if self._has_meta else "NULL"
        cursor = self._source.connection.execute(
            f"SELECT s.id, a.hash, a.url, {meta}, x.generatedAt FROM SessionAudio x"
            " JOIN Session s ON s.id = x.sessionId JOIN AudioAsset a ON a.id = x.mergedAudioAssetId"
            f" WHERE {' AND '.join(clean)}"
            " AND (?1 IS NULL OR s.id COLLATE BINARY IN (SELECT value FROM json_each(?1))) ORDER BY s.id",
            (keys,),
        )
        while rows := cursor.fetchmany(_PORTION):
            yield [Wanted(key, name, url, meta, instant(at)) for key, name, url, meta, at in rows]

    def _beeping(self) -> Iterator[str]:
        """Sessions that use a cached line which is a beep."""
        if "SessionAudioAsset" not in self._source.tables or not self._has_meta:
            return
        lines = self._source.connection.execute(
            "SELECT l.sessionId, c.metaJson FROM SessionAudioAsset l JOIN AudioAsset c ON c.id = l.audioAssetId"
            " WHERE c.metaJson LIKE '%1500%' AND typeof(c.metaJson) = 'text'"
        )
        yield from (key for key, meta in lines if is_beep(meta))

    @property
    def _has_meta(self) -> bool:
        return "metaJson" in self._source.tables["AudioAsset"].columns

    async def _settled(self, portion: list[Wanted]) -> set[str]:
        """Those whose file is stored, or that were moved, by this run before it was cut off or by an earlier one.

        What was missing is looked for again: this time the folder may have been named.
        """
        ids, keys = [one.session_id for one in portion], [one.key for one in portion]
        stored = "SELECT session_id FROM legacy.audio_file WHERE session_id = ANY($1) AND outcome = 'stored'"
        found = {row[0] for row in await self._legacy.fetch(stored, ids)}
        found |= {row[0] for row in await self._media.fetch("SELECT id FROM media.session WHERE id = ANY($1)", ids)}
        moved = await self._legacy.fetch('SELECT id FROM legacy."Session" WHERE id = ANY($1)', keys)
        return found | {session_id(row[0]) for row in moved}

    async def _move(self, wanted: Wanted, beeping: bool) -> str:
        if beeping:
            return await self._note(wanted, BEEP)
        try:
            data = await self._find(wanted)
        except NotTaken as why:
            return await self._note(wanted, why.outcome)
        if data is None:
            return await self._note(wanted, MISSING)
        try:
            sound = await asyncio.to_thread(listen, data)
        except NotPlayable:
            return await self._note(wanted, UNPLAYABLE)
        if sound.beeps:
            return await self._note(wanted, BEEP)
        digest = hashlib.sha256(data).hexdigest()
        key = f"{session_prefix(wanted.session_id)}{digest}.{sound.ending}"
        await self._put(key, data)
        heard = segments(wanted.meta_json, sound)
        measured = (sound.duration_ms, sound.loudness_lufs, sound.true_peak_dbtp, len(data), digest)
        return await self._note(wanted, STORED, key, *measured, f"prototype {sound.ending}", heard, wanted.generated_at)

    async def _find(self, wanted: Wanted) -> bytes | None:
        path = self._folder.find(wanted.url, wanted.content_hash) if self._folder else None
        if path is not None:
            if path.stat().st_size > LARGEST_FILE:
                raise NotTaken(TOO_LARGE)
            return await asyncio.to_thread(Path.read_bytes, path)
        place = s3_place(wanted.url)
        return await self._store.get(place) if place else None

    async def _put(self, key: str, data: bytes) -> None:
        """Also where it is stored already, by a run that was cut off: from now on it counts as new."""
        content_type = CONTENT_TYPES[key.rpartition(".")[2]]
        await self._store.ours.put(key, data, content_type=content_type, cache_control=IMMUTABLE)

    async def _note(self, wanted: Wanted, outcome: str, *measured: Any) -> str:
        filled = measured or (None,) * 9
        await self._legacy.execute(_NOTE, wanted.session_id, outcome, *filled, self._run.id)
        return outcome
