"""Moves files of the prototype as an owner would, and writes what was seen into docs/migration.md and docs/migration/.

    python -m tests.migration_report [--page docs/migration.md]

A full file with audio of every shape; a hostile one; a run that is killed ten times at random moments. Starts
PostgreSQL, an S3 server and a stand-in for Clerk of its own; takes about three minutes.
"""

import asyncio
import random
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
from tests.support.backup import execute
from tests.support.hostile_file import fill_hostile
from tests.support.legacy_files import Amounts, fill, writing
from tests.support.legacy_files import execute as execute_in
from tests.support.legacy_sound import store_audio
from tests.support.migration import Target, certificate, prepare
from tests.support.pages import write_sections

PLACE = Path("docs/migration")
WIDTH = 130
KILLS = 10
FULL, KILLED = Amounts(users=40, sessions=5, lines=6), Amounts(users=600, sessions=5, lines=6)
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
            "Killed ten times": await walk.killed(),
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
        await store_audio(file, self._storage, self._objects, "whole")
        begun = time.perf_counter()
        await self._told(whole, "run", file, "--storage", self._storage)
        seconds = time.perf_counter() - begun
        kills = []
        for number in range(KILLS):
            after = seconds * random.uniform(number, number + 1) / KILLS
            target = await self._target(f"killed-{number}")
            step = await self._kill(target, file, after)
            rows = await self._left(target)
            await self._told(target, "run", file, "--storage", self._storage)
            await self._told(target, "verify", file)
            assert await _digests(target) == await _digests(whole), f"killed after {after} s it ended as another state"
            kills.append((f"{after:.1f}", step, f"{rows:,}", "0, 0, same"))
        return "\n\n".join(
            (
                _said(
                    f"Not killed, this file takes {seconds:.1f} s. Ten runs, each into a database of its own, were",
                    "killed (SIGKILL) at a random moment of each tenth of that time, then started again, let finish,",
                    "verified. Last: both exit codes, and that the services' tables held what the run that was not",
                    "killed brought, by a digest of each:",
                ),
                _table(("killed after, s", "it had said last", "rows in the services then", "afterwards"), kills),
            )
        )

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

    async def _kill(self, target: Target, file: Path, after: float) -> str:
        """The last step that a killed run told of."""
        said = self._folder / "said"
        with said.open("wb") as output:
            process = target.start("run", file, "--storage", self._storage, told=output)
            await asyncio.sleep(after)
            ended = process.poll() is not None
            process.kill()
            await asyncio.to_thread(process.wait, 30)
        steps = said.read_text().replace("\r", "\n").strip().splitlines()
        return "ended" if ended else (steps[-1] if steps else "starting")

    async def _left(self, target: Target) -> int:
        rows = " + ".join(f"(SELECT count(*) FROM {table})" for table in _COUNTED)
        return int(await target.value(f"SELECT {rows}"))


_COUNTED = (
    'identity."user"', "identity.user_value", "identity.preferences", "media.session", "media.session_line",
    "media.session_audio", "media.job", "media.curation_profile", "media.listening_event",
)  # fmt: skip
_MOMENTS = ("available_at", "created_at", "updated_at", "turn_at", "lookup_at")


async def _digests(target: Target) -> dict[str, str]:
    """Of each table, but for the moments at which work was planned."""
    found = {}
    for table in _COUNTED:
        planned = " - ".join(f"'{name}'" for name in _MOMENTS)
        row = f"(to_jsonb(t) - {planned})::text" if table in ("media.job", 'identity."user"') else "to_jsonb(t)::text"
        query = f"SELECT md5(string_agg({row}, ',' ORDER BY {row})) FROM {table} t"
        found[table] = str(await target.value(query))
    told = "SELECT md5(string_agg(message_id::text, ',' ORDER BY message_id)) FROM media.outbox"
    return found | {"media.outbox": str(await target.value(told))}


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
