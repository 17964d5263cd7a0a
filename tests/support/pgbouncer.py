"""A private PgBouncer in transaction mode: what Supabase, Neon and others put before their databases."""

import os
from pathlib import Path
from typing import Any
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
        self.led_to: set[str] = set()
        """The names of databases to which a service was given its way through here."""

    async def start(self, folder: Path, postgres: PrivatePostgres, *, tls: tuple[Path, Path] | None = None) -> None:
        """Returns when it accepts sessions. With ``tls``, a certificate and its key, it accepts none without TLS."""
        program = UNPACKED / "usr/sbin/pgbouncer"
        if not program.exists():
            raise ServerFailed("no PgBouncer here, and the tests need one: run `python3 deploy/setup/pgbouncer.py`")
        (self.port,) = free_ports(1)
        server = urlsplit(postgres.url())
        self._server = f"{server.hostname}:{server.port}"
        private_file(folder / "users", f'"{server.username}" "{unquote(server.password or "")}"\n')
        settings = {
            "listen_addr": LOOPBACK,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": folder / "users",
            "auth_user": server.username,
            "auth_query": "SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename = $1",
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

    def way_to(self, direct: str) -> dict[str, Any]:
        """The settings of a service for the database of a direct URL."""
        self.led_to.add(urlsplit(direct).path.strip("/"))
        return {
            "database_url": self.url(direct),
            "database_direct_url": direct,
            "database_pooler": "transaction",
        }

    def leads_to(self, direct: str) -> bool:
        """Whether the URL is of the server behind this pooler."""
        return urlsplit(direct).netloc.endswith(f"@{self._server}")

    async def _answers(self) -> bool:
        try:
            session = await asyncpg.connect(self._probed, timeout=5, statement_cache_size=0)
        except OSError:
            return False
        except asyncpg.PostgresError:
            return True  # it answers; who wants in without TLS is refused
        await session.close()
        return True
