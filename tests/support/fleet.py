"""The product as a deployment, with its instances in the test's own process: replaced in no time, under traffic."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from unittest.mock import patch

import aiohttp

from billing.service import build as build_billing
from billing.settings import BillingSettings
from common.db.migrations import upgrade
from common.messaging.rabbit import RabbitBus
from common.service import LEAVE_SECONDS, HttpServer, Service, Worker
from gateway.service import build_gateway
from gateway.settings import GatewaySettings
from identity.service import build as build_identity
from identity.settings import IdentitySettings
from media.service import build as build_media
from media.settings import MediaSettings
from tests.support.balancer import LOOPBACK, Balancer
from tests.support.deployment import SERVICES, Deployment

Made = TypeVar("Made")
BUILD: dict[str, Callable[[], Service]] = {
    "identity": lambda: build_identity(IdentitySettings.load()),
    "billing": lambda: build_billing(BillingSettings.load()),
    "media": lambda: build_media(MediaSettings.load()),
}


@dataclass
class Instance:
    """``ports`` of its servers, by the balancer that leads to them."""

    ports: dict[str, int] = field(default_factory=dict)
    opened: AsyncExitStack = field(default_factory=AsyncExitStack)


class Fleet(Deployment):
    """``deploy`` replaces every instance, one after the other, as a rolling release does: the new one is up and takes
    requests before the old one is told to stop.
    """

    async def _launch(self) -> None:
        self._instances: dict[str, Instance] = {}
        self._balancers: dict[str, Balancer] = {}
        listening = {name: self._ports[name] for name in (*SERVICES, "gateway")}
        for name, port in {**listening, "internal": listening["gateway"] + 100}.items():
            self._balancers[name] = await self._open.enter_async_context(Balancer(port))
        async with RabbitBus(self.environment["RABBITMQ_URL"], name="migrate") as bus:
            for name in SERVICES:
                service = self.as_configured(BUILD[name])
                await upgrade(service.database.direct_url, service.metadata, service.migrations)
                for subscription in service.subscriptions:
                    await bus.declare(subscription.binding)
        self._open.push_async_callback(self.close_instances)
        await self.deploy()

    async def deploy(self, **changes: str) -> None:
        """Every instance anew, with these settings; returns when the old ones have gone."""
        self.environment.update(changes)
        leaving = []
        for name in ("gateway", *SERVICES):
            started = await self._start_gateway() if name == "gateway" else await self._start_service(name)
            replaced = self._instances.pop(name, None)
            self._instances[name] = started
            for balancer, port in started.ports.items():
                self._balancers[balancer].backends = [port]
            if replaced is not None:
                leaving.append(asyncio.create_task(replaced.opened.aclose()))
        await asyncio.gather(*leaving)

    async def close_instances(self) -> None:
        instances, self._instances = self._instances, {}
        await asyncio.gather(*(instance.opened.aclose() for instance in instances.values()))

    async def _start_service(self, name: str) -> Instance:
        service, instance = self.as_configured(BUILD[name]), Instance()
        enter = instance.opened.enter_async_context
        await enter(service.opened())
        bus = await enter(RabbitBus(self.environment["RABBITMQ_URL"], name=name))
        await enter(Worker(service, bus))
        server = await enter(HttpServer(service.app, LOOPBACK, 0, leave_seconds=LEAVE_SECONDS))
        instance.ports[name] = server.port
        return instance

    async def _start_gateway(self) -> Instance:
        gateway, instance = self.as_configured(lambda: build_gateway(GatewaySettings.load())), Instance()
        await gateway.start()
        instance.opened.push_async_callback(gateway.close)
        for balancer, app in (("internal", gateway.internal_app), ("gateway", gateway.public_app)):
            server = HttpServer(app, LOOPBACK, 0, leave_seconds=LEAVE_SECONDS)
            await instance.opened.enter_async_context(server)
            instance.ports[balancer] = server.port
        return instance

    def as_configured(self, make: Callable[[], Made]) -> Made:
        """What is made by reading the environment, from the present settings."""
        with patch.dict(os.environ, self.environment, clear=True):
            return make()


class Traffic:
    """What people do meanwhile: ``ask`` in turn, each by several at once. ``answers`` counts how it went."""

    def __init__(self, deployment: Deployment, user_id: str, paths: list[str]) -> None:
        self.answers: Counter[str] = Counter()
        self._deployment = deployment
        self._user = user_id
        self._paths = paths

    @property
    def refused(self) -> dict[str, int]:
        return {answer: count for answer, count in self.answers.items() if not answer.startswith("200 ")}

    @asynccontextmanager
    async def flowing(self, people: int = 4) -> AsyncIterator["Traffic"]:
        async with aiohttp.ClientSession() as http:
            tasks = [asyncio.create_task(self._person(http)) for _ in range(people)]
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def more(self, requests: int) -> None:
        """Returns when so many further requests have been answered, or one was refused."""
        goal = self.answers.total() + requests
        while self.answers.total() < goal and not self.refused:
            await asyncio.sleep(0.01)

    async def _person(self, http: aiohttp.ClientSession) -> None:
        while True:
            for path in self._paths:
                self.answers[await self._ask(http, path)] += 1
                await asyncio.sleep(0.01)

    async def plan(self) -> str:
        """Which plan the user has."""
        headers = {"Authorization": f"Bearer {self._deployment.token(self._user)}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.get(f"{self._deployment.url}/me/entitlement") as answer,
        ):
            return str((await answer.json())["plan"])

    async def _ask(self, http: aiohttp.ClientSession, path: str) -> str:
        token = self._deployment.token(self._user)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with http.get(f"{self._deployment.url}{path}", headers=headers) as answer:
                body = await answer.json()
            if (url := body.get("bundle", {}).get("affirmationsMergedUrl")) is not None:
                async with http.get(url) as heard:
                    await heard.read()
                    return f"{heard.status} audio"
        except aiohttp.ClientError as error:
            return f"{type(error).__name__} {path}"
        return f"{answer.status} {path}"
