"""A private PgBouncer in transaction mode: what Supabase, Neon and others put before their databases."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from embedded.postgres import PrivatePostgres, unprivileged
from embedded.processes import LOOPBACK, Child, ServerFailed, free_ports, private_file, spawn

UNPACKED = Path(__file__).resolve().parents[2] / ".cache" / "pgbouncer"
SESSIONS = 3
"""At the server, for each database: few, so that clients meet each other's sessions."""


class PrivatePgBouncer:
    """Before a private PostgreSQL, on a port of its own; every database of the server can be reached by its name."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self.port = 0

    async def start(self, folder: Path, postgres: PrivatePostgres, *, tls: tuple[Path, Path] | None = None) -> None:
        """Returns when it accepts sessions. With ``tls``, a certificate and its key, it accepts none without TLS."""
        program = UNPACKED / "usr/sbin/pgbouncer"
        if not program.exists():
            raise ServerFailed("no PgBouncer here, and the tests need one: run `python3 deploy/setup/pgbouncer.py`")
        (self.port,) = free_ports(1)
        server = urlsplit(postgres.url())
        private_file(folder / "users", f'"{server.username}" "{unquote(server.password or "")}"\n')
        settings = {
            "listen_addr": LOOPBACK,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": folder / "users",
            "pool_mode": "transaction",
            "default_pool_size": SESSIONS,
            "max_client_conn": 500,
        }
        if tls is not None:
            settings |= {"client_tls_sslmode": "require", "client_tls_cert_file": tls[0], "client_tls_key_file": tls[1]}
        lines = [f"* = host={LOOPBACK} port={server.port}", "[pgbouncer]", *(f"{k} = {v}" for k, v in settings.items())]
        (folder / "pgbouncer.ini").write_text("\n".join(["[databases]", *lines, ""]))
        libraries = ":".join(str(found) for found in sorted(UNPACKED.glob("usr/lib/*-linux-gnu*")))
        self._child = spawn(
            "PgBouncer",
            [program, folder / "pgbouncer.ini"],
            cwd=folder,
            log=folder / "pgbouncer.log",
            env={"PATH": os.defpath, "LD_LIBRARY_PATH": libraries},
            identity=unprivileged(),
        )
        self._probed = self.url(postgres.url())
        await self._child.until_ready(self._answers, seconds=10)

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop()

    def url(self, direct: str) -> str:
        """The way through here to the database of a direct URL."""
        server = urlsplit(direct)
        account = server.netloc.rpartition("@")[0]
        return urlunsplit(server._replace(netloc=f"{account}@{LOOPBACK}:{self.port}"))

    async def _answers(self) -> bool:
        try:
            session = await asyncpg.connect(self._probed, timeout=5, statement_cache_size=0)
        except OSError:
            return False
        except asyncpg.PostgresError:
            return True  # it answers; who wants in without TLS is refused
        await session.close()
        return True
