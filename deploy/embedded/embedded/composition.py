"""The whole product in one process: the four services as production builds them, on parts private to this run.

One PostgreSQL, one S3 server and one bus for all; an identity provider, a store and a CDN that stand in for what is
outside; a server on loopback for each service. Everything ends with the process.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any

from billing.service import build as build_billing
from billing.settings import BillingSettings
from common.db.migrations import upgrade
from common.internal_tokens import InternalTokenIssuer, public_keys_document
from common.messaging.postgres import PostgresBus
from common.process_metrics import tell_build
from common.service import HttpServer, Service, Worker
from common.settings import Settings
from common.signatures import private_key_from_pem
from embedded import databases
from embedded.clerk import ClerkStandIn
from embedded.cloudfront import EdgeStandIn
from embedded.control import ControlServer
from embedded.kept_secrets import CDN_KEY_ID, KeptSecrets
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from embedded.processes import Child, free_ports, spawn
from embedded.revenuecat import RevenueCatStandIn
from embedded.run_settings import forget_settings, record_settings
from embedded.running_product import Run, forget_run, record_run
from gateway.service import Gateway, build_gateway
from gateway.settings import GatewaySettings
from identity.service import build as build_identity
from identity.settings import IdentitySettings
from media.service import build as build_media
from media.settings import MediaSettings

HOST = "127.0.0.1"
BUCKET = "entrain"
DRAIN_SECONDS = 2
LONGEST_TOKEN = 7 * 86400
"""Seconds; a person may ask for a token that outlasts an afternoon of trying things."""
Tell = Callable[[str], object]


class Product:
    """``async with Product(data, port, tell=print) as product``. Raises ServerFailed or PortTaken with the way out."""

    def __init__(self, data: Path, port: int, *, tell: Tell) -> None:
        self._data = data.absolute()
        self._port = port
        self._tell = tell
        self._open = AsyncExitStack()
        self._secrets = KeptSecrets(self._data / "secrets")
        self.postgres = PrivatePostgres()
        self.objects = PrivateObjectStore()
        self.clerk: ClerkStandIn
        self.store: RevenueCatStandIn
        self.edge: EdgeStandIn
        self._media: dict[str, str] = {}
        self._settings: list[Settings] = []
        self._ports = dict(zip(databases.SERVICES, free_ports(len(databases.SERVICES)), strict=True))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    async def __aenter__(self) -> "Product":
        try:
            await self._start()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._tell("stopping")
        await self._open.aclose()

    async def _start(self) -> None:
        await self._start_servers()
        urls = await databases.prepare(self.postgres, self._secrets)
        await self._start_outside()
        services = self._services(urls)
        for service in services.values():  # one after another: Alembic keeps the running migration in a global
            await upgrade(service.database.direct_url, service.metadata, service.migrations)
        self._tell(f"schemas of {', '.join(services)} are up to date")
        await self._start_services(services, urls["bus"])
        await self._start_seeding()
        await self._start_control(urls)

    async def _start_servers(self) -> None:
        database_port, object_port = free_ports(2)
        self._open.push_async_callback(self._stop_servers)
        await asyncio.gather(
            self.postgres.start(self._data / "postgres", database_port),
            self.objects.start(self._data / "objects", object_port),
        )
        await self.objects.create_bucket(BUCKET)
        self._tell(f"PostgreSQL on port {database_port}, S3 on port {object_port}")

    async def _stop_servers(self) -> None:
        await asyncio.gather(self.postgres.stop(), self.objects.stop(at_once=True))

    async def _start_outside(self) -> None:
        """What production reaches over the internet."""
        secrets, outside = self._secrets, self._data / "outside"
        self.clerk = ClerkStandIn(
            outside,
            secret_key=secrets.clerk_secret_key,
            webhook_url=f"{self.url}/webhooks/clerk",
            webhook_secret=secrets.clerk_webhook_secret,
            background=True,
        )
        self.store = RevenueCatStandIn(
            data_dir=outside,
            api_key=secrets.text("revenuecat_api_key"),
            webhook_url=f"{self.url}/webhooks/revenuecat",
            webhook_authorization=secrets.text("webhook_authorization"),
            webhook_secret=secrets.text("webhook_secret"),
            background=True,
        )
        self.edge = EdgeStandIn(
            {CDN_KEY_ID: secrets.cdn_public_key},
            endpoint=self.objects.endpoint,
            bucket=BUCKET,
            access_key=self.objects.access_key,
            secret_key=self.objects.secret_key,
        )
        for part in (self.clerk, self.edge, self.store):
            await self._open.enter_async_context(part)
        self._tell(f"identity provider at {self.clerk.url}, store at {self.store.url}, CDN at {self.edge.url}")

    def _services(self, urls: dict[str, str]) -> dict[str, Service]:
        """Settings as an operator would give them; what the environment adds (`MEDIA_FREE_TIER=create`) counts too."""
        keys = public_keys_document(InternalTokenIssuer(private_key_from_pem(self._secrets.gateway_key)))
        shared: dict[str, Any] = {"gateway_public_keys": keys, "gateway_jwks_url": None, "database_direct_url": None}
        secrets = self._secrets
        identity = IdentitySettings(**shared, **_mode(), **self._identity(), database_url=urls["identity"])
        billing = BillingSettings(
            **shared,
            **_mode(),
            database_url=urls["billing"],
            revenuecat_api_key=secrets.text("revenuecat_api_key"),
            revenuecat_api_url=self.store.url,
            revenuecat_webhook_authorization=(secrets.text("webhook_authorization"),),
            revenuecat_webhook_secrets=(secrets.text("webhook_secret"),),
        )
        self._media = {
            "database_url": urls["media"],
            "aws_access_key_id": self.objects.access_key,
            "aws_secret_access_key": self.objects.secret_key,
            "aws_s3_bucket_name": BUCKET,
            "aws_endpoint_url_s3": self.objects.endpoint,
            "cloudfront_domain": self.edge.url,
            "cloudfront_key_pair_id": CDN_KEY_ID,
            "cloudfront_private_key": secrets.cdn_key,
            "public_url": self.url,
        }
        media = MediaSettings(**shared, **_mode(), **self._media)  # type: ignore[arg-type]
        # the command that seeds runs in another folder
        self._media["media_kokoro_path"] = str(Path(media.media_kokoro_path).absolute())
        self._settings += [identity, billing, media]
        for settings in (identity, billing, media):
            tell_build(settings)
        return {"identity": build_identity(identity), "billing": build_billing(billing), "media": build_media(media)}

    def _identity(self) -> dict[str, Any]:
        return {
            "clerk_secret_key": self._secrets.clerk_secret_key,
            "clerk_api_url": self.clerk.url,
            "clerk_webhook_signing_secrets": (self._secrets.clerk_webhook_secret,),
            "clerk_instance_id": self.clerk.instance_id,
            "billing_url": self._origin("billing"),
            "media_url": self._origin("media"),
        }

    async def _start_services(self, services: dict[str, Service], bus_url: str) -> None:
        """Consumers first: what the relays publish finds its queues."""
        bus = await self._open.enter_async_context(PostgresBus(bus_url))
        for name, service in services.items():
            await self._open.enter_async_context(service.opened())
            await self._open.enter_async_context(Worker(service, bus))
            server = HttpServer(service.app, HOST, self._ports[name], drain_seconds=DRAIN_SECONDS)
            await self._open.enter_async_context(server)
        await self._start_gateway(bus, {f"{name}_url": self._origin(name) for name in services})
        before = ", ".join(f"{name} :{port}" for name, port in self._ports.items())
        self._tell(f"gateway at {self.url}, before {before}")

    def _origin(self, name: str) -> str:
        return f"http://{HOST}:{self._ports[name]}"

    async def _start_gateway(self, bus: PostgresBus, upstreams: dict[str, Any]) -> None:
        settings = GatewaySettings(
            **_mode(),
            **upstreams,
            clerk_publishable_key=None,
            clerk_jwt_key=None,
            clerk_issuers=(self.clerk.issuer,),
            clerk_jwks_url=self.clerk.jwks_url,
            supabase_url=self.clerk.url,
            gateway_signing_key=self._secrets.gateway_key,
            gateway_token_lifetime_seconds=LONGEST_TOKEN,
            public_url=self.url,
        )
        self._settings.append(settings)
        tell_build(settings)
        gateway: Gateway = build_gateway(settings, bus=lambda: nullcontext(bus))
        self._open.push_async_callback(gateway.close)
        await gateway.start()
        server = HttpServer(gateway.public_app, HOST, self._port, drain_seconds=DRAIN_SECONDS)
        await self._open.enter_async_context(server)
        self._port = server.port
        internal = HttpServer(gateway.internal_app, HOST, self._port + 100, drain_seconds=DRAIN_SECONDS)
        await self._open.enter_async_context(internal)

    async def _start_seeding(self) -> None:
        """Catalogue and beds, by the service's own command: a minute of arithmetic that must not hold up requests."""
        environment = {**os.environ, **{name.upper(): value for name, value in self._media.items()}}
        command = ["nice", sys.executable, "-m", "media", "seed-catalog"]
        seeding = spawn("seed", command, cwd=self._data, log=self._data / "seed.log", env=environment)
        watching = asyncio.create_task(self._watch(seeding))
        self._open.push_async_callback(seeding.stop, patience=0.5)
        self._open.push_async_callback(_cancel, watching)

    async def _watch(self, seeding: Child) -> None:
        while seeding.running:  # noqa: ASYNC110 - another process can only be looked at
            await asyncio.sleep(0.5)
        if seeding.process.returncode != 0:
            self._tell(f"the catalogue is not complete:\n{seeding.log_tail()}")
        else:
            self._tell(seeding.log_tail(1))

    async def _start_control(self, urls: Mapping[str, str]) -> None:
        """Lets the other commands find this run and play the people and providers in it."""
        secret = self._secrets.text("control")
        control = ControlServer(self.clerk, self.store, secret, {"edge": self.edge.faults}, urls["bus"])
        await self._open.enter_async_context(control)
        control_port = int(control.url.rpartition(":")[2])
        record_run(self._data, Run(self._port, control_port, secret))
        self._open.callback(forget_run, self._data, self._port)
        record_settings(self._data, self._settings, LEGACY_DATABASE_URL=urls["legacy"])
        self._open.callback(forget_settings, self._data)


def _mode() -> dict[str, Any]:
    """Development, unless the environment says otherwise; it relaxes nothing about authentication."""
    return {"entrain_env": os.environ.get("ENTRAIN_ENV", "development")}


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
