"""Two releases of the product on the same database and broker, each in processes of its own behind balancers."""

import asyncio
import subprocess
from pathlib import Path

from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from tests.support.balancer import Balancer
from tests.support.deployment import SERVICES, Deployment, Process, spaced_ports

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("libs/common", *(f"services/{name}" for name in ("gateway", *SERVICES)))


def source_of(commit: str, folder: Path) -> Path:
    """The services' code as it was, unpacked. Raises CalledProcessError for a commit that is not here."""
    folder.mkdir()
    archive = subprocess.run(
        ["git", "archive", commit, "libs", "services"], cwd=REPOSITORY, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


class SideBySide(Deployment):
    """The old release runs once this is entered; ``start_new`` puts the new one beside it, ``stop_old`` ends it."""

    def __init__(
        self,
        folder: Path,
        postgres: PrivatePostgres,
        objects: PrivateObjectStore,
        bucket: str,
        rabbitmq_url: str,
        old: Path,
    ) -> None:
        super().__init__(folder, postgres, objects, bucket, rabbitmq_url)
        self._sources = {"old": old, "new": REPOSITORY}
        self._balancers: dict[str, Balancer] = {}

    async def _launch(self) -> None:
        gateway = self._ports["gateway"]
        for name, port in {**self._ports, "internal": gateway + 100}.items():
            self._balancers[name] = await self._open.enter_async_context(Balancer(port))
        self._open.push_async_callback(self.stop_all)
        await self.migrate("old")
        await self._start_release("old")

    async def migrate(self, release: str) -> None:
        """Runs every service's `migrate` with the release's code."""
        await asyncio.gather(*(self.run(name, "migrate", environment=self._code(release)) for name in SERVICES))

    async def start_new(self) -> None:
        """Returns when every process of the new release is ready; both releases take requests and messages then."""
        await self._start_release("new")

    async def stop_old(self) -> list[int]:
        """One process after the other: out of the balancer, then SIGTERM; the exit codes."""
        codes = []
        for name in [name for name in self.processes if name.startswith("old ")]:
            for balancer, port in self._served_by(name).items():
                self._balancers[balancer].backends.remove(port)
            codes.append(await self.stop(name))
        return codes

    async def _start_release(self, release: str) -> None:
        ports = dict(zip((*SERVICES, "gateway"), spaced_ports(4), strict=True))
        for name in SERVICES:
            for role, port in (("worker", ports[name] + 100), ("api", ports[name])):
                self._plan(f"{release} {name} {role}", name, role, port, port)
        self._plan(f"{release} gateway", "gateway", "api", ports["gateway"], ports["gateway"] + 100)
        planned = [name for name in self.processes if name.startswith(f"{release} ")]
        for name in planned:
            self.processes[name].environment = self._code(release)
        await asyncio.gather(*(self.start(name) for name in planned))
        for name in planned:
            for balancer, port in self._served_by(name).items():
                self._balancers[balancer].backends.append(port)

    def _served_by(self, name: str) -> dict[str, int]:
        """Ports of the process, by the balancer that leads to them; a worker has none."""
        process: Process = self.processes[name]
        service, command, _, port = process.arguments
        if command != "api":
            return {}
        extra = {"internal": int(port) + 100} if service == "gateway" else {}
        return {service: int(port), **extra}

    def _code(self, release: str) -> dict[str, str]:
        """Before the installed packages, which are this folder's."""
        source = self._sources[release]
        return {"PYTHONPATH": ":".join(str(source / package) for package in PACKAGES)}
