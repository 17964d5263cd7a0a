"""Files as the prototype left them: any generation of its schema, filled with the values it wrote."""

import hashlib
import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.support.legacy_schema import BOOKKEEPING, STEPS

WORDS = ("I", "choose", "calm", "and", "clear", "work", "in", "this", "moment", "while", "my", "breath", "opens")
GOALS = ("focus", "sleep", "anxiety-relief", "meditate", "General", None)
VOICES = ("nova", "shimmer", "alloy", "onyx", "en-US-Standard-C")
BASE_MS = 1_766_000_000_000


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A session that checks nothing, as a hand with a database browser would have it."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = OFF")
        yield connection
    finally:
        connection.close()


def make(path: Path, generation: int = 11) -> Path:
    """An empty database of that many migrations."""
    with writing(path) as database:
        database.executescript(BOOKKEEPING)
        for number, (name, statements) in enumerate(list(STEPS.items())[:generation]):
            database.executescript(statements)
            row = (str(UUID(int=number)), "ab" * 32, BASE_MS, name, None, None, BASE_MS, 1)
            database.execute("INSERT INTO _prisma_migrations VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    return path


def insert(path: Path, table: str, **values: Any) -> int:
    """One row; what is not given takes its default, or something harmless where there is none. Returns its number."""
    with writing(path) as database:
        row = {**_harmless(database, table), **values}
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        cursor = database.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(row.values()))
        return int(cursor.lastrowid or 0)


def execute(path: Path, statement: str, values: Sequence[Any] = ()) -> None:
    with writing(path) as database:
        database.execute(statement, values)


def _harmless(database: sqlite3.Connection, table: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _, name, kind, demanded, default, key in database.execute(f'PRAGMA table_info("{table}")'):
        if demanded and default is None:
            harmless = {"TEXT": f"{table}-{name}", "DATETIME": BASE_MS, "BOOLEAN": 0, "INTEGER": 1}[kind]
            found[name] = f"{table}-{random.getrandbits(64):x}" if key else harmless
    if "source" in found:
        found["source"] = "user"
    if "email" in found:
        found["email"] = f"{random.getrandbits(64):x}@mail.test"
    return found


@dataclass(frozen=True)
class Amounts:
    """How much a file holds; ``lines`` a session, the rest a user."""

    users: int = 4
    sessions: int = 6
    lines: int = 6
    catalogue: int = 4


def fill(path: Path, amounts: Amounts = Amounts(), *, generation: int = 11, seed: int = 1) -> Path:
    """The values of real files: three forms of user ids, impossible UUIDs, Windows paths, fractional times."""
    make(path, generation)
    with writing(path) as database:
        database.execute("BEGIN")
        for table, rows in _Filling(amounts, random.Random(seed)).tables().items():
            there = [column[1] for column in database.execute(f'PRAGMA table_info("{table}")')]
            names = [name for name in rows[0] if name in there] if rows else []
            if names:
                marks = ", ".join("?" * len(names))
                listed = ", ".join(f'"{name}"' for name in names)
                values = ([row[name] for name in names] for row in rows)
                database.executemany(f'INSERT INTO "{table}" ({listed}) VALUES ({marks})', values)
        database.execute("COMMIT")
    return path


class _Filling:
    def __init__(self, amounts: Amounts, chance: random.Random) -> None:
        self._amounts = amounts
        self._chance = chance
        self._clock = BASE_MS

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        users = [self._user(number) for number in range(self._amounts.users)]
        owned = [(user["id"], number) for user in users for number in range(self._amounts.sessions)]
        sessions = [self._session(None, number) for number in range(self._amounts.catalogue)]
        sessions += [self._session(owner, number) for owner, number in owned]
        lines = [line for session in sessions for line in self._lines(session)]
        assets = [self._merged(session) for session in sessions]
        audio = [
            {"sessionId": session["id"], "mergedAudioAssetId": asset["id"], "generatedAt": self._now()}
            for session, asset in zip(sessions, assets, strict=True)
        ]
        return {
            "User": users,
            "Preferences": [self._preferences(user) for user in users],
            "UserValue": [value for user in users for value in self._values(user)],
            "CurationPreferences": [self._curation(user) for user in users[::3]],
            "UserPath": [self._path(user) for user in users[::2]],
            "EntitlementState": [self._entitlement(user) for user in users[1::2]],
            "EntitlementEvent": [self._entitlement_event(user) for user in users[1::2]],
            "Session": sessions,
            "SessionAffirmation": lines,
            "AudioAsset": [*assets, *(self._chunk(line) for line in lines[::4])],
            "SessionAudio": audio,
            "SessionAudioAsset": [self._line_asset(line) for line in lines[::2]],
            "SessionEvent": [self._event(user, sessions) for user in users],
            "Job": [self._job(session) for session in sessions],
            **self._administration(),
        }

    def _administration(self) -> dict[str, list[dict[str, Any]]]:
        admin = {
            "id": self._id(), "email": "admin@mail.test", "passwordHash": "$2b$10$" + "x" * 53, "role": "admin",
            "name": None, "isActive": 1, "lastLoginAt": None, **self._times(),
        }  # fmt: skip
        template = {"id": self._id(), "name": "default", "description": None, "currentVersion": 2, **self._times()}
        return {
            "AdminUser": [admin],
            "AuditLog": [
                {
                    "id": self._id(), "adminUserId": admin["id"], "action": "login", "resourceType": "session",
                    "resourceId": None, "details": '{"a":1,"a":2}', "ipAddress": "192.0.2.1", "userAgent": "x",
                    "createdAt": self._now(),
                }
            ],
            "AISourcePromptTemplate": [template],
            "AISourceVersion": [
                {
                    "id": self._id(), "promptTemplateId": template["id"], "version": 1, "name": "one", "content": "…",
                    "model": "m", "voice": None, "cachingPolicy": None, "rolloutPercent": 100, "isActive": 1,
                    "isTest": 0, "createdBy": "gone", "createdAt": self._now(), "activatedAt": self._now(),
                }
            ],
        }  # fmt: skip

    def _user(self, number: int) -> dict[str, Any]:
        fixed = ("default-user-id", str(UUID(int=0)))
        user_id = fixed[number] if number < len(fixed) else f"user_{self._chance.getrandbits(130):027x}"
        return {
            "id": user_id, "email": f"user-{user_id}@clerk.dev" if number % 2 else f"p{number}@mail.test",
            "struggle": f"tired of day {number} – really" if number % 3 == 0 else None, **self._times(),
        }  # fmt: skip

    def _session(self, owner: str | None, number: int) -> dict[str, Any]:
        placeholder = number % 5 == 4
        return {
            "id": self._id() if owner else f"c3d4e5f6-a7b8-9012-cdef-{number:012d}", "ownerUserId": owner,
            "source": "user" if owner else "catalog", "title": f"Tonight’s calm {number % 7}",
            "goalTag": self._chance.choice(GOALS), "durationSec": 2**33 if number % 11 == 3 else None,
            "voiceId": self._chance.choice(VOICES), "pace": self._chance.choice(("slow", "normal", "fast", None)),
            "affirmationSpacingMs": None, "affirmationsHash": "",
            "frequencyHz": self._chance.choice((7.0, 10.0, 0.1 + 0.2, None)), "brainwaveState": "Theta",
            "solfeggioHz": None, **self._times(),
        } | ({"affirmationsHash": f"placeholder_hash_{number}"} if placeholder else {})  # fmt: skip

    def _lines(self, session: dict[str, Any]) -> list[dict[str, Any]]:
        texts = [" ".join(self._chance.choices(WORDS, k=8)) + "." for _ in range(self._amounts.lines)]
        session["affirmationsHash"] = session["affirmationsHash"] or _sha("|".join(texts))
        return [
            {
                "id": self._id(), "sessionId": session["id"], "idx": place, "text": text,
                "moderationStatus": "pending", "moderationReason": None, "moderatedBy": None, "moderatedAt": None,
                "originalText": None, "autoFlagged": 0,
            }
            for place, text in enumerate(texts)
        ]  # fmt: skip

    def _merged(self, session: dict[str, Any]) -> dict[str, Any]:
        name = _sha("merged" + session["id"])
        segments = [{"startMs": 4284.169999999999, "endMs": 6284.5}]
        meta = {"loudness": {"input_i": "-20.01", "input_tp": "-3.1"}, "voiceActivity": {"segments": segments}}
        return self._asset("affirmationMerged", name, f"C:\\Users\\Jo Doe\\api\\storage\\merged\\{name}.mp3", meta)

    def _chunk(self, line: dict[str, Any]) -> dict[str, Any]:
        name = _sha("chunk" + line["id"])
        meta = {"durationMs": 2300, "timestamps": [], "hasTimestamps": False}
        return self._asset("affirmationChunk", name, f"C:\\Users\\Jo Doe\\api\\storage\\chunks\\{name}.mp3", meta)

    def _asset(self, kind: str, name: str, url: str, meta: dict[str, Any]) -> dict[str, Any]:
        row = {"id": self._id(), "kind": kind, "hash": name, "url": url, "metaJson": json.dumps(meta)}
        return {**row, "createdAt": self._now()}

    def _line_asset(self, line: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id(), "sessionId": line["sessionId"], "kind": "affirmation_line", "lineIndex": line["idx"],
            "storageKey": f"C:\\Users\\Jo Doe\\api\\storage\\chunks\\{line['idx']}.mp3", "audioAssetId": None,
            "durationMs": 2300, "codec": "aac", "sampleRate": 44100, "channels": 1, "fileSize": 36_000,
            "checksum": None, "createdAt": self._now(),
        }  # fmt: skip

    def _job(self, session: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id(), "type": "ensure-audio", "status": "completed",
            "payload": json.dumps({"sessionId": session["id"]}), "result": '{"mergedUrl": "C:\\\\Users\\\\x.mp3"}',
            "error": None, "attempts": 0, "startedAt": None, "finishedAt": None, "sessionId": None, "userId": None,
            **self._times(),
        }  # fmt: skip

    def _preferences(self, user: dict[str, Any]) -> dict[str, Any]:
        document = '{"schemaVersion":3, "voiceId":"nova","voiceId":"onyx"}'
        return {"userId": user["id"], "schemaVersion": 3, "json": document, **self._times()}

    def _values(self, user: dict[str, Any]) -> list[dict[str, Any]]:
        common = {"userId": user["id"], **self._times()}
        return [
            {"id": self._id(), "valueId": name, "valueText": name.title(), "rank": rank, **common}
            for name, rank in (("peace", 1), ("growth", 2), ("joy", None))
        ]

    def _curation(self, user: dict[str, Any]) -> dict[str, Any]:
        wishes = {"primaryGoal": "Calm", "voicePreference": "More space", "soundPreference": None}
        return {"userId": user["id"], **wishes, **self._times()}

    def _path(self, user: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id(), "userId": user["id"], "pathId": "imposter_to_impact", "pathName": "Imposter to impact",
            "stepIndex": 2, "totalSteps": 6, "lastCompletedAt": self._now(), "lastActionDone": 1, "selfRating": None,
            "isActive": 1, **self._times(),
        }  # fmt: skip

    def _entitlement(self, user: dict[str, Any]) -> dict[str, Any]:
        row = {"userId": user["id"], "plan": "pro", "status": "active", "renewsAt": None, "source": "internal"}
        return {**row, "updatedAt": self._now()}

    def _entitlement_event(self, user: dict[str, Any]) -> dict[str, Any]:
        row = {"id": self._id(), "userId": user["id"], "provider": "revenuecat", "type": "INITIAL_PURCHASE"}
        return {**row, "payloadJson": "{not json", "occurredAt": self._now()}

    def _event(self, user: dict[str, Any], sessions: list[dict[str, Any]]) -> dict[str, Any]:
        row = {"id": self._id(), "userId": user["id"], "sessionId": self._chance.choice(sessions)["id"]}
        return {**row, "eventType": "start", "metadata": None, "occurredAt": self._now()}

    def _id(self) -> str:
        return str(UUID(int=self._chance.getrandbits(128), version=4))

    def _now(self) -> int:
        self._clock += self._chance.randrange(1, 5000)
        return self._clock

    def _times(self) -> dict[str, int]:
        return {"createdAt": self._now(), "updatedAt": self._clock}


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
