"""Keys that rotate under traffic and under attack, and a key server that is away; the figures are printed."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

import pytest
from aiohttp import web
from fastapi import Depends

from common.auth import user_id
from common.internal_tokens import InternalTokenVerifier
from common.jwks import COOLDOWN, MAXIMUM_WAITING, SOFT_TTL, JwksClient
from common.service import HttpServer
from common.web.app import create_app
from embedded.local_server import LocalServer
from tests.support.figures import Tell
from tests.support.genuine_traffic import BEHIND_A_PROXY, Flood, flood, many_sockets, rotated, traffic
from tests.support.running_gateway import KeyServer, RunningGateway, running_gateway
from tests.support.token_forge import TokenForge, new_p256_pem

ROTATIONS = 3


@pytest.mark.attack("B5")
async def test_rotations_with_a_new_key_id_refuse_nobody(figure: Tell) -> None:
    async with running_gateway() as gateway, traffic(gateway) as users:
        await users.more(50)
        for _ in range(ROTATIONS):
            before, after = users.forge, rotated(users.forge, same_kid=False)
            gateway.keys.document = {"keys": [*before.key_set()["keys"], *after.key_set()["keys"]]}
            users.forge = after
            await users.more(200)
        assert (set(users.statuses), users.overtaken) == ({200}, 0)
        fetches = gateway.keys.asked
    figure(f"{users.statuses[200]} genuine requests, {ROTATIONS} rotations, 0 refused, {fetches} key fetches")


@pytest.mark.attack("B5")
async def test_rotations_that_keep_the_key_id_refuse_nobody(figure: Tell) -> None:
    async with running_gateway() as gateway, traffic(gateway) as users:
        await users.more(50)
        for _ in range(ROTATIONS):
            after = rotated(users.forge, same_kid=True)
            gateway.keys.document = after.key_set()
            users.forge = after
            await users.more(200)
        assert users.statuses.keys() == {200}
        fetches = gateway.keys.asked
    figure(
        f"{users.statuses[200]} genuine requests, {ROTATIONS} rotations, 0 refused, {fetches} key fetches, "
        f"{users.overtaken} tokens of a withdrawn key refused, slowest answer {users.slowest:.1f} s"
    )


@pytest.mark.attack("B3", "B4", "B5")
@pytest.mark.parametrize("same_kid", [True, False], ids=["same key id", "new key id"])
@pytest.mark.parametrize("random_kids", [True, False], ids=["unknown keys", "bad signatures"])
async def test_a_rotation_in_the_middle_of_a_flood_refuses_nobody(
    same_kid: bool, random_kids: bool, figure: Tell
) -> None:
    """The worst moment: a flood has just had the keys fetched, so that nothing may be fetched for a while."""
    async with running_gateway(**BEHIND_A_PROXY) as gateway, traffic(gateway, 4) as users:
        await users.more(20)
        async with flood(gateway, random_kids=random_kids) as attack:
            asked = gateway.keys.asked
            while gateway.keys.asked == asked:
                await asyncio.sleep(0.01)
            after = rotated(users.forge, same_kid=same_kid)
            gateway.keys.document = after.key_set()
            users.forge = after
            await users.more(200)
        assert users.statuses.keys() == {200}
        assert attack.statuses.keys() == {401}
    figure(
        f"{users.statuses[200]} genuine requests beside {attack.statuses[401]} forged ones, 0 refused, "
        f"slowest answer {users.slowest:.1f} s"
    )


@pytest.mark.attack("B3")
@pytest.mark.timeout(300)
async def test_ten_thousand_unknown_keys_cost_one_fetch_per_cooldown(figure: Tell) -> None:
    async with running_gateway(**BEHIND_A_PROXY) as gateway, many_sockets() as http:
        assert await gateway.status_of(gateway.forge.token()) == 200
        attack = Flood(gateway, random_kids=True)
        started, loaded = time.monotonic(), gateway.keys.asked

        async def attacker(requests: int) -> None:
            for _ in range(requests):
                await attack.send(http)

        genuine = Counter[int]()
        attackers = 2 * MAXIMUM_WAITING
        share, rest = divmod(10_000, attackers)
        attacking = [asyncio.create_task(attacker(share + (number < rest))) for number in range(attackers)]
        while not all(task.done() for task in attacking):
            genuine[await gateway.status_of(gateway.forge.token())] += 1
            await asyncio.sleep(0.05)
        await asyncio.gather(*attacking)
        lasted, fetches = time.monotonic() - started, gateway.keys.asked - loaded

        assert attack.statuses == {401: 10_000}
        assert genuine.keys() == {200}
        assert 1 <= fetches <= 1 + math.ceil(lasted / COOLDOWN)
    figure(
        f"10,000 forged tokens in {lasted:.0f} s: {fetches} key fetches (one per {COOLDOWN:.0f} s at most), "
        f"{genuine[200]} genuine requests beside them, 0 refused"
    )


@pytest.mark.attack("B6")
async def test_an_hour_without_the_key_server_is_not_noticed(figure: Tell) -> None:
    seconds, minutes = 1000.0, 60
    async with running_gateway(monotonic=lambda: seconds) as gateway:
        assert await gateway.status_of(gateway.forge.token()) == 200
        gateway.keys.answer = web.Response(status=503)
        statuses = Counter[int]()
        for _ in range(minutes):
            seconds += 60
            statuses.update([await gateway.status_of(gateway.forge.token(), path) for path in ("/voices", "/me") * 5])
        assert statuses == {200: minutes * 10}
        fetches = gateway.keys.asked
        async with gateway.http.get(f"{gateway.internal_url}/metrics") as answer:
            age = next(line for line in (await answer.text()).splitlines() if 'age_seconds{source="clerk"}' in line)
        assert float(age.rpartition(" ")[2]) >= 3600
        gateway.keys.answer = None
        seconds += SOFT_TTL
        assert await gateway.status_of(gateway.forge.token()) == 200
    figure(f"an hour of 503 from the key server: {statuses.total()} genuine requests, 0 refused, {fetches} key fetches")


class KeyFront(LocalServer):
    """Where services fetch the gateways' keys: one running gateway after the other answers, as behind a balancer."""

    def __init__(self) -> None:
        super().__init__()
        self.gateways: list[RunningGateway] = []
        self.asked = 0

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/jwks.json", self._keys)
        return app

    async def _keys(self, _: web.Request) -> web.Response:
        self.asked += 1
        gateway = self.gateways[self.asked % len(self.gateways)]
        async with gateway.http.get(f"{gateway.internal_url}/.well-known/jwks.json") as answer:
            return web.json_response(await answer.json())


@asynccontextmanager
async def verifying_service(front: KeyFront) -> AsyncIterator[str]:
    """A service as ours are made, which believes internal tokens alone."""
    app = create_app("media", title="verifies")
    keys = JwksClient(f"{front.url}/.well-known/jwks.json", source="gateway for test", algorithms={"ES256"})
    app.state.verifier = InternalTokenVerifier("media", keys)

    @app.get("/voices")
    async def voices(user: Annotated[str, Depends(user_id)]) -> dict[str, str]:
        return {"user": user}

    async with HttpServer(app, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.port}"


class Fleet:
    """Two gateways before one service, replaced one after the other as a rolling deployment does it."""

    def __init__(self, front: KeyFront, settings: dict[str, Any], forge: TokenForge) -> None:
        self._front = front
        self._settings = settings
        self._forge = forge
        self._open: list[AsyncExitStack] = []
        self._under_way: Counter[int] = Counter()
        self.statuses: Counter[int] = Counter()

    async def deploy(self, **keys: Any) -> None:
        for _ in range(2):
            stack = AsyncExitStack()
            gateway = await stack.enter_async_context(running_gateway(**self._settings, **keys))
            self._front.gateways.append(gateway)
            self._open.append(stack)
            if len(self._open) > 2:
                await self._retire()
            await self._more(50)

    async def close(self) -> None:
        while self._open:
            await self._retire()

    async def _retire(self) -> None:
        gateway, stack = self._front.gateways.pop(0), self._open.pop(0)
        while self._under_way[gateway.port]:
            await asyncio.sleep(0.01)
        await stack.aclose()

    async def _more(self, requests: int) -> None:
        goal = self.statuses.total() + requests
        while self.statuses.total() < goal:
            await asyncio.sleep(0.01)

    async def send(self) -> None:
        number = 0
        while True:
            number += 1
            if not self._front.gateways:
                await asyncio.sleep(0.01)
                continue
            gateway = self._front.gateways[number % len(self._front.gateways)]
            self._under_way[gateway.port] += 1
            try:
                self.statuses[await gateway.status_of(self._forge.token(sid=f"sess_{number % 7}"))] += 1
            finally:
                self._under_way[gateway.port] -= 1


async def test_our_own_signing_key_rotates_without_a_refused_request(figure: Tell) -> None:
    old, new = new_p256_pem(), new_p256_pem()
    forge = TokenForge("https://clerk.test")
    async with KeyServer(forge.key_set()) as keys, KeyFront() as front, verifying_service(front) as service:
        issuer = {"clerk_issuers": (forge.issuer,), "clerk_jwks_url": keys.jwks_url, "media_url": service}
        fleet = Fleet(front, issuer, forge)
        senders = [asyncio.create_task(fleet.send()) for _ in range(4)]
        try:
            await fleet.deploy(gateway_signing_key=old)
            await fleet.deploy(gateway_signing_key=old, gateway_rotation_key=new)
            await fleet.deploy(gateway_signing_key=new, gateway_rotation_key=old)
            await fleet.deploy(gateway_signing_key=new)
        finally:
            for sender in senders:
                sender.cancel()
            failures = await asyncio.gather(*senders, return_exceptions=True)
            await fleet.close()
        assert [failure for failure in failures if not isinstance(failure, asyncio.CancelledError)] == []
        assert fleet.statuses.keys() == {200}
    figure(f"{fleet.statuses[200]} requests through 4 rolling deployments, 0 refused, {front.asked} key fetches")


async def test_a_service_that_lost_its_gateway_keys_says_so(figure: Tell) -> None:
    """The check that the rotation above can fail: a key that was never published beside the other."""
    old, new = new_p256_pem(), new_p256_pem()
    async with (
        KeyFront() as front,
        verifying_service(front) as service,
        running_gateway(media_url=service, gateway_signing_key=old) as first,
        running_gateway(media_url=service, gateway_signing_key=new) as second,
    ):
        front.gateways = [first]
        assert await first.status_of(first.forge.token()) == 200
        assert await second.status_of(second.forge.token()) == 401
    figure(f"an unpublished signing key is refused after {front.asked} key fetches")
