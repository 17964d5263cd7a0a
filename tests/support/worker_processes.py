"""Processes of a service, to be killed: ``async with WorkerProcesses("media", environment, folder)``."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import aiohttp
from pydantic import SecretStr

from common.settings import Settings
from embedded.processes import LOOPBACK, free_ports
from tests.support.event_ledger import until

READY_SECONDS = 40
_OWN = ("PATH", "HOME", "LANG", "TMPDIR")


def environment_of(settings: Settings, **more: str) -> dict[str, str]:
    """The variables from which a process reads these settings; of the test's own environment only what Python needs."""
    chosen = {name.upper(): value for name, value in settings if name in settings.model_fields_set}
    return {
        **{name: value for name, value in os.environ.items() if name in _OWN},
        "PYTHONDONTWRITEBYTECODE": "1",
        **{name: _text(value) for name, value in chosen.items()},
        **more,
    }


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(map(_text, value)) if isinstance(value, tuple) else str(value)


class WorkerProcesses:
    """Starts `python -m <service> worker`, or another ``command``; those still running are killed at the end."""

    def __init__(self, service: str, environment: Mapping[str, str], folder: Path, *, command: str = "worker") -> None:
        self._service = service
        self._command = command
        self._environment = environment
        self._folder = folder
        self._started: list[asyncio.subprocess.Process] = []
        self.urls: list[str] = []
        """Of every process that was started, in that order."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._started:
            if worker.returncode is None:
                worker.kill()
            await worker.wait()

    async def start(self) -> asyncio.subprocess.Process:
        """Returns when the process says it is ready."""
        (port,) = free_ports(1)
        self.urls.append(f"http://{LOOPBACK}:{port}")
        log = self._folder / f"{self._service}-{self._command}-{len(self._started)}.log"
        with log.open("wb") as output:
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._service, self._command, "--port", str(port),
                env=self._environment, stdout=output, stderr=output,
            )  # fmt: skip
        self._started.append(worker)

        async def ready() -> bool:
            assert worker.returncode is None, log.read_text()
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with (
                    aiohttp.ClientSession() as http,
                    http.get(f"http://{LOOPBACK}:{port}/health/ready") as answer,
                ):
                    return answer.status == 200
            return False

        await until(ready, READY_SECONDS)
        return worker
