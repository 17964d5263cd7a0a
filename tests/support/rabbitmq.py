"""A private RabbitMQ node for a test run: own ports, own name server, own password, gone with the run."""

import asyncio
import base64
import json
import os
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from embedded.processes import LOOPBACK, Child, ServerFailed, free_ports, spawn

REPOSITORY = Path(__file__).resolve().parents[2]
UNPACKED = REPOSITORY / ".cache" / "rabbitmq"
USER = "tests"
START_SECONDS = 60.0
HTTP_SECONDS = 10.0


class PrivateRabbitMQ:
    """One broker on 127.0.0.1 with the management plugin. Virtual hosts isolate tests; making one takes no time."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._password = secrets.token_urlsafe(18)
        self.port, self._management_port, self._node_port, self._names_port = free_ports(4)

    async def start(self, data_dir: Path) -> None:
        """Starts on fresh or existing data; returns when AMQP and the HTTP API answer (about 7 s).

        Raises ServerFailed when there is no RabbitMQ here or it does not come up.
        """
        root = find_installation()
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        (data_dir / "home").mkdir(exist_ok=True, mode=0o700)
        self._write_configuration(data_dir)
        env = self._environment(root, data_dir)
        erlang = root / "usr/lib/erlang/bin"
        # Started by the broker, the name server would be a daemon that outlives it.
        names = [str(erlang / "epmd"), "-port", str(self._names_port), "-address", LOOPBACK]
        self._children.append(spawn("epmd", names, cwd=data_dir, log=data_dir / "epmd.log", env=env))
        command = [root / "usr/lib/rabbitmq/bin/rabbitmq-server"]
        broker = spawn("RabbitMQ", command, cwd=data_dir, log=data_dir / "server.log", env=env)
        self._children.append(broker)
        try:
            await broker.until_ready(self._answers, seconds=START_SECONDS)
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Shuts the broker down in order (3 to 8 s); its data stay."""
        if self._children:
            await self._children.pop().stop(first=signal.SIGTERM, patience=20.0)
        await self.kill()

    async def kill(self) -> None:
        """Ends the broker as a crash would, at once; its data stay. Harmless when not running."""
        while self._children:
            await self._children.pop().stop(first=signal.SIGKILL)

    @property
    def pid(self) -> int:
        """The process id of the Erlang machine the broker runs in, for faults such as SIGSTOP."""
        return self._children[-1].process.pid

    @property
    def administrator(self) -> dict[str, str]:
        """Where the management API is and who may use it, as deploy/rabbitmq/apply_definitions.py reads it."""
        return {
            "RABBITMQ_API_URL": f"http://{LOOPBACK}:{self._management_port}",
            "RABBITMQ_API_USER": USER,
            "RABBITMQ_API_PASSWORD": self._password,
        }

    def url(self, vhost: str = "/", *, user: str = USER, password: str | None = None) -> str:
        """`amqp://user:password@127.0.0.1:port/vhost`."""
        return f"amqp://{user}:{password or self._password}@{LOOPBACK}:{self.port}/{quote(vhost, safe='')}"

    async def create_vhost(self, name: str) -> str:
        """Makes an empty virtual host and returns its AMQP address."""
        await self.api("PUT", f"vhosts/{quote(name, safe='')}", {})
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        await self.api("PUT", f"permissions/{quote(name, safe='')}/{USER}", rights)
        return self.url(name)

    async def delete_vhost(self, name: str) -> None:
        """Removes a virtual host: its sessions are closed, its queues dropped."""
        await self.api("DELETE", f"vhosts/{quote(name, safe='')}")

    async def api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Calls the management API (`path` without `/api/`); the decoded answer, None when it has no body.

        Raises urllib.error.HTTPError for an error status.
        """
        return await asyncio.to_thread(self._request, method, path, body)

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        pair = base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        address = f"http://{LOOPBACK}:{self._management_port}/api/{path}"
        with urlopen(Request(address, data=data, headers=headers, method=method), timeout=HTTP_SECONDS) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, self.port)
            writer.close()
            await self.api("GET", "overview")
        except (HTTPError, URLError, OSError):
            return False
        return True

    def _write_configuration(self, data_dir: Path) -> None:
        settings = {
            "listeners.tcp.1": f"{LOOPBACK}:{self.port}",
            "management.tcp.ip": LOOPBACK,
            "management.tcp.port": self._management_port,
            "default_user": USER,
            "default_pass": self._password,
            "disk_free_limit.absolute": "50MB",
            "log.file.level": "warning",
        }
        (data_dir / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        (data_dir / "enabled_plugins").write_text("[rabbitmq_management].\n")

    def _environment(self, root: Path, data_dir: Path) -> dict[str, str]:
        libraries = [str(found) for found in sorted(root.glob("usr/lib/*-linux-gnu*"))] if root != Path("/") else []
        return {
            "PATH": f"{root / 'usr/lib/erlang/bin'}:{root / 'usr/bin'}:{os.environ.get('PATH', os.defpath)}",
            "LD_LIBRARY_PATH": ":".join(libraries),
            "HOME": str(data_dir / "home"),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            # Run in the foreground without a shell in between, so that our signals reach the broker itself.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": f"tests{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_MNESIA_BASE": str(data_dir / "mnesia"),
            "RABBITMQ_LOG_BASE": str(data_dir / "log"),
            "RABBITMQ_SCHEMA_DIR": str(data_dir / "schema"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(data_dir / "config"),
            "RABBITMQ_CONFIG_FILE": str(data_dir / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(data_dir / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }


def find_installation() -> Path:
    """The folder RabbitMQ is installed under: `/`, or where deploy/setup/rabbitmq.py unpacked it.

    Raises ServerFailed when it is in neither.
    """
    for root in (Path("/"), UNPACKED):
        if (root / "usr/lib/rabbitmq/bin/rabbitmq-server").exists() and (root / "usr/lib/erlang/bin/erl").exists():
            return root
    raise ServerFailed("no RabbitMQ server here, and the tests need a real one: run `python3 deploy/setup/rabbitmq.py`")
