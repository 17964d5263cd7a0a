"""What a backup says of itself: `manifest.json`, written last, beside the files it names with their hashes."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 2
SEAL = "seal"
MANIFEST = "manifest.json"
OBJECTS = "objects.jsonl"
_CHUNK = 1 << 20


class NotABackup(Exception):
    """The folder holds no whole backup; the message says why."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Table:
    """``digest`` follows from every row's every value and not from the order of the rows."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class OutboxPosition:
    """``newest`` is the last event's number, ``unpublished`` how many a relay still has to publish."""

    newest: int
    unpublished: int


@dataclass(frozen=True, slots=True)
class Schema:
    """What one schema held: its Alembic revision, its tables by name, and how far its outbox was."""

    revision: str | None
    tables: dict[str, Table]
    outbox: OutboxPosition | None


@dataclass(frozen=True, slots=True)
class Objects:
    """The bucket that rows refer to, how many objects they name, and how many bytes these have."""

    bucket: str | None
    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything is as of one snapshot, taken at ``taken_at``."""

    taken_at: str
    tool: str
    server: str
    client: str
    database: str
    schemas: dict[str, Schema]
    objects: Objects
    files: list[StoredFile]
    format: int = field(default=FORMAT)

    @property
    def server_major(self) -> int:
        return int(self.server.partition(".")[0])

    def to_json(self) -> str:
        told = asdict(self)
        return json.dumps({**told, SEAL: _seal_of(told)}, indent=2) + "\n"


def read(folder: Path) -> Manifest:
    """Raises NotABackup when there is no manifest, or one that this tool has not written."""
    try:
        told = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        raise NotABackup(f"{folder} holds no {MANIFEST}: name the folder of one whole backup") from None
    except (ValueError, OSError) as error:
        raise NotABackup(f"{folder / MANIFEST} cannot be read: {type(error).__name__}") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise NotABackup(f"{folder / MANIFEST} is of another format than {FORMAT}: use the tool that made it")
    if told.pop(SEAL, None) != _seal_of(told):
        raise NotABackup(f"{folder / MANIFEST} is not as this tool writes it: take another backup")
    try:
        return _manifest(told)
    except (AttributeError, KeyError, TypeError):
        raise NotABackup(f"{folder / MANIFEST} is not as this tool writes it: take another backup") from None


def _seal_of(told: dict[str, Any]) -> str:
    """Of all else it says: without it a manifest that names fewer files or tables would be fulfilled by less."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _manifest(told: dict[str, Any]) -> Manifest:
    schemas = {
        name: Schema(
            each["revision"],
            {table: Table(**counted) for table, counted in each["tables"].items()},
            OutboxPosition(**each["outbox"]) if each["outbox"] else None,
        )
        for name, each in told["schemas"].items()
    }
    files = [StoredFile(**each) for each in told["files"]]
    return Manifest(**{**told, "schemas": schemas, "objects": Objects(**told["objects"]), "files": files})


def damaged(folder: Path, manifest: Manifest) -> list[str]:
    """Which of the files are missing or are not what they were, a line each."""
    return [line for each in manifest.files if (line := _damage(folder, each))]


def _damage(folder: Path, expected: StoredFile) -> str | None:
    if not (folder / expected.name).is_file():
        return f"{expected.name} is missing"
    found = file_of(folder / expected.name)
    return None if found == expected else f"{expected.name} is not what it was: {found.size:,} bytes, another hash"


def file_of(path: Path) -> StoredFile:
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return StoredFile(path.name, path.stat().st_size, digest.hexdigest())
