"""The product as production runs it: separate processes, RabbitMQ between them, settings from the environment.

Only what is outside is played: Clerk, RevenueCat and the CDN are the stand-ins, reached by their addresses like the
real ones.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp

from embedded import databases
from embedded.clerk import ClerkStandIn
from embedded.cloudfront import EdgeStandIn
from embedded.kept_secrets import CDN_KEY_ID, KeptSecrets
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from embedded.processes import LOOPBACK, free_ports, port_free
from embedded.revenuecat import RevenueCatStandIn
from tests.support.ways import variables_to

SERVICES = ("identity", "billing", "media")
ROLES = (*SERVICES, "legacy")
START_SECONDS = 90.0
STOP_SECONDS = 30.0


@dataclass
class Process:
    """One of the product's processes; ``health`` is where its readiness is asked for.

    ``environment`` is this process's own, beside the deployment's.
    """

    name: str
    arguments: tuple[str, ...]
    health: str
    environment: Mapping[str, str] = field(default_factory=dict)
    child: asyncio.subprocess.Process = field(init=False)


class Deployment:
    """``async with Deployment(folder, postgres, objects, bucket, rabbitmq_url) as deployment``.

    ``url`` is the gateway's; ``token``, ``purchase`` and ``refund`` act outside; processes can be killed and started
    again.
    """

    def __init__(
        self,
        folder: Path,
        postgres: PrivatePostgres,
        objects: PrivateObjectStore,
        bucket: str,
        rabbitmq_url: str,
        **settings: str,
    ) -> None:
        """``settings`` go into the environment of every process."""
        self._folder = folder
        self._postgres = postgres
        self._objects = objects
        self._bucket = bucket
        self._rabbitmq_url = rabbitmq_url
        self._secrets = KeptSecrets(folder / "secrets")
        self._settings = settings
        self._open = AsyncExitStack()
        self._seeding: asyncio.subprocess.Process | None = None
        self.tokens: set[str] = set()
        """Every session token that was asked for here."""
        self.processes: dict[str, Process] = {}

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._ports['gateway']}"

    @property
    def cdn_public_key(self) -> str:
        return self._secrets.cdn_public_key

    @property
    def database_url(self) -> str:
        """Of a superuser, who sees every schema."""
        return self._postgres.url(self.database)

    @property
    def database(self) -> str:
        return self._bucket.replace("-", "_")

    @property
    def role_passwords(self) -> dict[str, str]:
        """By the names that deploy/postgres/passwords.sql reads."""
        return {f"{role.upper()}_DATABASE_PASSWORD": self._secrets.text(f"{role}_password") for role in ROLES}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def token(self, user_id: str) -> str:
        token = self.clerk.session_token(user_id)
        self.tokens.add(token)
        return token

    async def purchase(self, user_id: str) -> None:
        self.store.purchase(user_id)

    async def refund(self, user_id: str) -> None:
        self.store.refund(user_id)

    async def _start(self) -> None:
        self._ports = dict(zip((*SERVICES, "gateway"), spaced_ports(4), strict=True))
        urls = await databases.prepare(self._postgres, self._secrets, name=self.database)
        await self._start_outside()
        self.environment = self._environment(urls)
        await self._launch()

    async def _launch(self) -> None:
        await asyncio.gather(*(self.run(name, "migrate") for name in SERVICES))
        for name in SERVICES:
            self._plan(f"{name} worker", name, "worker", self._ports[name] + 100, self._ports[name] + 100)
            self._plan(f"{name} api", name, "api", self._ports[name], self._ports[name])
        self._plan("gateway", "gateway", "api", self._ports["gateway"], self._ports["gateway"] + 100)
        self._open.push_async_callback(self.stop_all)
        await self.start_all()

    async def seed(self) -> None:
        """Begins to put catalogue and beds in place; all beds take most of a minute, what is played comes first."""
        with self.log_of("seed").open("ab") as output:
            self._seeding = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "media", "seed-catalog", env=self.environment, stdout=output, stderr=output
            )

    async def _start_outside(self) -> None:
        self.clerk = ClerkStandIn(
            secret_key=self._secrets.clerk_secret_key,
            webhook_url=f"{self.url}/webhooks/clerk",
            webhook_secret=self._secrets.clerk_webhook_secret,
            background=True,
        )
        self.store = RevenueCatStandIn(
            api_key=self._secrets.text("revenuecat_api_key"),
            webhook_url=f"{self.url}/webhooks/revenuecat",
            webhook_secret=self._secrets.text("webhook_secret"),
            webhook_authorization=self._secrets.text("webhook_authorization"),
            background=True,
        )
        self.edge = EdgeStandIn(
            {CDN_KEY_ID: self._secrets.cdn_public_key},
            endpoint=self._objects.endpoint,
            bucket=self._bucket,
            access_key=self._objects.access_key,
            secret_key=self._objects.secret_key,
        )
        for part in (self.clerk, self.edge, self.store):
            await self._open.enter_async_context(part)

    def _environment(self, urls: Mapping[str, str]) -> dict[str, str]:
        """Every setting of a deployment, by the names in .env.example; nothing of the test's own environment."""
        own = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        services = {f"{name.upper()}_URL": f"http://{LOOPBACK}:{self._ports[name]}" for name in SERVICES}
        schemas: dict[str, str] = {}
        for name in SERVICES:
            schemas |= variables_to(urls[name], name)
        return {
            **own,
            **services,
            **schemas,
            "PYTHONDONTWRITEBYTECODE": "1",
            "RABBITMQ_URL": self._rabbitmq_url,
            "CLERK_ISSUERS": self.clerk.issuer,
            "CLERK_JWKS_URL": self.clerk.jwks_url,
            "CLERK_SECRET_KEY": self.clerk.secret_key,
            "CLERK_API_URL": self.clerk.url,
            "CLERK_WEBHOOK_SIGNING_SECRETS": self._secrets.clerk_webhook_secret,
            "CLERK_INSTANCE_ID": self.clerk.instance_id,
            "SUPABASE_URL": self.clerk.url,
            "GATEWAY_SIGNING_KEY": self._secrets.gateway_key,
            "GATEWAY_JWKS_URL": f"http://{LOOPBACK}:{self._ports['gateway'] + 100}/.well-known/jwks.json",
            "PUBLIC_URL": self.url,
            "REVENUECAT_API_KEY": self._secrets.text("revenuecat_api_key"),
            "REVENUECAT_API_URL": self.store.url,
            "REVENUECAT_WEBHOOK_AUTHORIZATION": self._secrets.text("webhook_authorization"),
            "REVENUECAT_WEBHOOK_SECRETS": self._secrets.text("webhook_secret"),
            "AWS_ACCESS_KEY_ID": self._objects.access_key,
            "AWS_SECRET_ACCESS_KEY": self._objects.secret_key,
            "AWS_S3_BUCKET_NAME": self._bucket,
            "AWS_REGION": self._objects.region,
            "AWS_ENDPOINT_URL_S3": self._objects.endpoint,
            "CLOUDFRONT_DOMAIN": self.edge.url,
            "CLOUDFRONT_KEY_PAIR_ID": CDN_KEY_ID,
            "CLOUDFRONT_PRIVATE_KEY": self._secrets.cdn_key,
            **self._settings,
        }

    def _plan(self, name: str, package: str, command: str, port: int, health_port: int) -> None:
        health = f"http://{LOOPBACK}:{health_port}/health/ready"
        self.processes[name] = Process(name, (package, command, "--port", str(port)), health)

    async def run(self, package: str, *command: str, environment: Mapping[str, str] | None = None) -> str:
        """Runs one of a service's commands to its end; what it printed. Raises when it fails."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            package,
            *command,
            env={**self.environment, **(environment or {})},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await child.communicate()
        if child.returncode != 0:
            raise RuntimeError(f"{package} {' '.join(command)} exited {child.returncode}:\n{output.decode()[-3000:]}")
        return output.decode()

    async def start(self, name: str) -> None:
        """Starts a process and waits until it is ready; raises with its log when it is not."""
        process = self.processes[name]
        log = self.log_of(name)
        with log.open("ab") as output:
            process.child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *process.arguments,
                env={**self.environment, **process.environment},
                stdout=output,
                stderr=output,
            )
        try:
            async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as http:
                while not await _ready(http, process.health):
                    if process.child.returncode is not None:
                        raise RuntimeError(f"{name} exited {process.child.returncode}")
                    await asyncio.sleep(0.1)
        except (TimeoutError, RuntimeError) as error:
            raise RuntimeError(f"{name} is not ready: {error}\n{log.read_text()[-3000:]}") from None

    def log_of(self, name: str) -> Path:
        return self._folder / f"{name.replace(' ', '-')}.log"

    async def kill(self, name: str) -> None:
        """SIGKILL: nothing is tidied up."""
        await _end(self.processes[name].child)

    async def stop(self, name: str) -> int:
        """SIGTERM; the exit code."""
        child = self.processes[name].child
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):
            return await child.wait()

    async def start_all(self) -> None:
        await asyncio.gather(*(self.start(name) for name in self.processes))

    async def stop_all(self) -> None:
        """SIGTERM to all that run; raises RuntimeError when one does not end cleanly. Seeding is cut off."""
        if self._seeding is not None:
            await _end(self._seeding)
        started = [name for name, process in self.processes.items() if hasattr(process, "child")]
        alive = [name for name in started if self.processes[name].child.returncode is None]
        codes = await asyncio.gather(*(self.stop(name) for name in alive), return_exceptions=True)
        for name, code in zip(alive, codes, strict=True):
            if isinstance(code, BaseException):
                await self.kill(name)
        failed = {name: code for name, code in zip(alive, codes, strict=True) if code != 0}
        if failed:
            raise RuntimeError(f"did not stop cleanly: {failed}; logs in {self._folder}")


def spaced_ports(count: int) -> list[int]:
    """Free ports whose neighbours a hundred above are free too."""
    found: list[int] = []
    while len(found) < count:
        (port,) = free_ports(1)
        taken = {near for each in found for near in (each, each + 100)}
        if not {port, port + 100} & taken and port_free(port + 100):
            found.append(port)
    return found


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.kill()
    await child.wait()


async def _ready(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False
