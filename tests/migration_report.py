"""Moves files of the prototype as an owner would, and writes what was seen into docs/migration.md and docs/migration/.

    python -m tests.migration_report [--page docs/migration.md]

A full file with audio of every shape; a hostile one; runs that are killed at every stage. Starts
PostgreSQL, an S3 server and a stand-in for Clerk of its own; takes about five minutes.
"""

import asyncio
import shutil
import textwrap
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from embedded.clerk import ClerkStandIn
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from migration.legacy_tables import TABLES
from tests.support.backup import execute
from tests.support.hostile_file import fill_hostile
from tests.support.kill_points import kill_at, points, points_back
from tests.support.legacy_files import Amounts, fill, insert, writing
from tests.support.legacy_files import execute as execute_in
from tests.support.legacy_sound import store_audio
from tests.support.migration import Target, certificate, prepare
from tests.support.pages import write_sections

PLACE = Path("docs/migration")
WIDTH = 130
ODD = 500
FULL, KILLED = Amounts(users=40, sessions=5, lines=6), Amounts(users=1200, sessions=5, lines=6)
USERS = "default-user-id,jo@mail.test\n,user_jo\n"
"""By address, and whose are the sessions that lost their owner."""


def main() -> None:
    PLACE.mkdir(exist_ok=True)
    write_sections(__doc__, "docs/migration.md", _sections)


async def _sections(folder: Path) -> Mapping[str, str]:
    async with _servers(folder) as (postgres, objects), ClerkStandIn() as clerk:
        clerk.sign_up("user_jo", "jo@mail.test")
        walk = _Walk(folder, postgres, objects, clerk)
        return {
            "A full file": await walk.full(),
            "A hostile file": await walk.hostile(),
            "Killed wherever it may be": await walk.killed(),
        }


@asynccontextmanager
async def _servers(folder: Path) -> AsyncIterator[tuple[PrivatePostgres, PrivateObjectStore]]:
    postgres, objects = PrivatePostgres(), PrivateObjectStore()
    database_port, object_port = free_ports(2)
    try:
        await postgres.start(folder / "postgres", database_port)
        await objects.start(folder / "objects", object_port)
        yield postgres, objects
    finally:
        await objects.stop(at_once=True)
        await postgres.stop()


class _Walk:
    """Each file goes into a database and a bucket of its own."""

    def __init__(
        self, folder: Path, postgres: PrivatePostgres, objects: PrivateObjectStore, clerk: ClerkStandIn
    ) -> None:
        self._folder = folder
        self._postgres = postgres
        self._objects = objects
        self._clerk = {"CLERK_API_URL": clerk.url, "CLERK_SECRET_KEY": clerk.secret_key}
        self._users = folder / "users.csv"
        self._users.write_text(USERS)

    async def full(self) -> str:
        target, file = await self._target("full"), fill(self._folder / "full.db", FULL)
        execute_in(file, "UPDATE Session SET ownerUserId = NULL WHERE rowid = 5")
        shapes = await store_audio(file, self._storage, self._objects, "full")
        begun = [
            await self._told(target, "inspect", file),
            await self._told(target, "run", file, "--dry-run", *self._options),
            await self._told(target, "run", file, *self._options, keep="full"),
            await self._told(target, "verify", file),
        ]
        shown = certificate(PLACE / "full.json")
        ended = [
            await self._told(target, "rollback", 1),
            *[f"rows left in the services: {await self._left(target)}"],
        ]
        return "\n\n".join(
            (
                _said(
                    f"{shown['rows']:,} rows of all 18 tables, audio in the folder of `--storage` and on S3, and",
                    f"`--users` with {shown['accounts']['mapped']} lines: a user by address, and",
                    "sessions that lost their owner.",
                ),
                _table(("the row says", "session"), shapes.items()),
                _block(begun),
                _services(shown),
                _said(
                    f"Audio: {_counts(shown['audio']['counts'])}. The certificate:",
                    "[page](migration/full.html), [JSON](migration/full.json). Taken back:",
                ),
                _block(ended),
            )
        )

    async def hostile(self) -> str:
        target, file = await self._target("hostile"), self._folder / "hostile.db"
        traps = fill_hostile(file, Amounts())
        with writing(file) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("UPDATE Session SET title = title || '!'")
            apart = self._folder / "apart" / "hostile.db"
            apart.parent.mkdir()
            for part in (file, file.with_name("hostile.db-wal")):
                shutil.copyfile(part, apart.with_name(part.name))
        told = [await self._told(target, command, apart, keep="hostile") for command in ("run", "verify")]
        shown = certificate(PLACE / "hostile.json")
        assert shown["quarantine"]["rows"] == traps, shown["quarantine"]
        return "\n\n".join(
            (
                _said(
                    f"{shown['rows']:,} rows, of which neither PostgreSQL nor the services can hold {traps} exactly, a",
                    "table and a column nobody knows, and a dead writer's log that was not applied, with new titles:",
                ),
                _block(told),
                _table(("into the quarantine, because of", "rows"), shown["quarantine"]["byReason"].items()),
                "The certificate: [page](migration/hostile.html), [JSON](migration/hostile.json).",
            )
        )

    async def killed(self) -> str:
        file, whole = fill(self._folder / "killed.db", KILLED), await self._target("whole")
        for number in range(ODD):
            insert(file, "EntitlementEvent", userId="nobody", id=f"odd {number}")
        await store_audio(file, self._storage, self._objects, "whole")
        begun = time.perf_counter()
        await self._told(whole, "run", file, "--storage", self._storage)
        seconds = time.perf_counter() - begun
        sessions, values = [await whole.value(f"SELECT count(*) FROM {name}") for name in _COUNTED_FIRST]
        kills = []
        for number, point in enumerate(points(sessions, values, ODD)):
            target = await self._target(f"killed-{number}")
            there = await kill_at(target, point, "run", file, "--storage", self._storage)
            kills.append((point.name, *await self._ended(target, whole, file, there)))
        target = await self._target("taken-back")
        await self._told(target, "run", file, "--storage", self._storage)
        for point in points_back(sessions):
            there = await kill_at(target, point, "rollback", 1)
            kills.append((f"rollback: {point.name}", _there(there, await self._left(target)), "let go on"))
        await self._told(target, "rollback", 1)
        assert await self._left(target) == 0
        kills.append(("rollback, let finish", "0", await self._moved_again(target, whole, file)))
        return "\n\n".join(
            (
                _said(
                    f"{KILLED.users:,} users, {sessions:,} sessions, {ODD} odd rows: {seconds:.1f} s when not killed.",
                    "Runs, each into a database of its own, were killed (SIGKILL) as soon as the database, or what",
                    "they said, showed that they had come so far; then started again, let finish, verified: both exit",
                    "codes, and that services, archive and bucket held what the run not killed brought, by digests:",
                ),
                _table(("killed", "rows in the services then", "afterwards"), kills),
            )
        )

    async def _ended(self, target: Target, whole: Target, file: Path, there: bool) -> tuple[str, str]:
        rows = await self._left(target)
        await self._told(target, "run", file, "--storage", self._storage)
        await self._told(target, "verify", file)
        return _there(there, rows), await self._same(target, whole)

    async def _moved_again(self, target: Target, whole: Target, file: Path) -> str:
        await target.execute("DELETE FROM media.discarded_audio")  # a worker of media does it in a moment
        await self._told(target, "run", file, "--storage", self._storage)
        await self._told(target, "verify", file)
        return await self._same(target, whole)

    async def _same(self, target: Target, whole: Target) -> str:
        assert await _digests(target) == await _digests(whole), "it ended as another state"
        assert await self._objects_of(target) == await self._objects_of(whole), "the bucket holds other files"
        return "0, 0, same"

    async def _objects_of(self, target: Target) -> Mapping[str, str]:
        async with self._objects.client() as s3:
            found = await s3.list_objects_v2(Bucket=target.environment["AWS_S3_BUCKET_NAME"], Prefix="audio/session/")
        return {each["Key"]: each["ETag"] for each in found.get("Contents", [])}

    @property
    def _storage(self) -> Path:
        return self._folder / "storage"

    @property
    def _options(self) -> Sequence[object]:
        return "--storage", self._storage, "--users", self._users

    async def _target(self, name: str) -> Target:
        await execute(self._postgres.url(), f'CREATE DATABASE "{name}"')
        await self._objects.create_bucket(name)
        return await prepare(self._postgres.url(name), self._objects, name)

    async def _told(self, target: Target, command: str, *arguments: object, keep: str | None = None) -> str:
        """The command, the end of what it said, its exit status and how long it took."""
        report = PLACE / f"{keep}.json" if keep and command == "run" else self._folder / "report.json"
        begun = time.perf_counter()
        ended = await asyncio.to_thread(target.process, command, *arguments, "--report", report, **self._clerk)
        seconds = time.perf_counter() - begun
        shown = [argument.name if isinstance(argument, Path) else str(argument) for argument in arguments]
        said = f"$ python -m migration {' '.join((command, *shown))}"
        found = certificate(report)
        if "complete" in found:
            said += f"\ncomplete: {str(found['complete']).lower()}"
        if "quarantine" in found:
            said += f"\nin quarantine: {found['quarantine']['rows']}"
        assert ended.returncode == 0, ended.stderr
        return f"{said}\nexit code {ended.returncode}, after {seconds:.1f} s"

    async def _left(self, target: Target) -> int:
        rows = " + ".join(f"(SELECT count(*) FROM {table})" for table in _COUNTED)
        return int(await target.value(f"SELECT {rows}"))


_COUNTED = (
    'identity."user"', "identity.user_value", "identity.preferences", "media.session", "media.session_line",
    "media.session_audio", "media.job", "media.curation_profile", "media.listening_event",
)  # fmt: skip
_COUNTED_FIRST = ("media.session", "identity.user_value")
_ARCHIVED = tuple(f'legacy."{table.name}"' for table in TABLES)
_MOMENTS = ("available_at", "created_at", "updated_at", "turn_at", "lookup_at")


async def _digests(target: Target) -> dict[str, str]:
    """Of each table, but for the moments at which work was planned."""
    found = {}
    for table in _COUNTED:
        planned = " - ".join(f"'{name}'" for name in _MOMENTS)
        row = f"(to_jsonb(t) - {planned})::text" if table in ("media.job", 'identity."user"') else "to_jsonb(t)::text"
        query = f"SELECT md5(string_agg({row}, ',' ORDER BY {row})) FROM {table} t"
        found[table] = str(await target.value(query))
    for table in (*_ARCHIVED, "legacy.quarantine", "legacy.audio_file"):
        row = "(to_jsonb(t) - 'run' - '_run' - 'noted_at')::text"
        found[table] = str(await target.value(f"SELECT md5(string_agg({row}, ',' ORDER BY {row})) FROM {table} t"))
    told = "SELECT md5(string_agg(message_id::text, ',' ORDER BY message_id)) FROM media.outbox"
    return found | {"media.outbox": str(await target.value(told))}


def _there(there: bool, rows: int) -> str:
    return f"{rows:,}" if there else f"{rows:,} (it had ended)"


def _services(shown: Mapping[str, Any]) -> str:
    columns = ("a service's table", "from", "rows", "digest expected", "digest found")
    return _table(
        columns,
        [
            (home["table"], home["from"], home["rows"], home["expectedDigest"][:12], home["foundDigest"][:12])
            for home in shown["services"]
        ],
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))


def _said(*parts: str) -> str:
    return textwrap.fill(" ".join(parts), WIDTH, break_long_words=False, break_on_hyphens=False)


def _block(told: Sequence[str]) -> str:
    return "```\n" + "\n".join(told) + "\n```"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


if __name__ == "__main__":
    main()
