"""Users who keep calling, and attackers who keep trying, while keys change."""

import asyncio
import resource
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from embedded.session_tokens import base64url
from tests.support.running_gateway import RunningGateway
from tests.support.token_forge import TokenForge, as_json

BEHIND_A_PROXY: dict[str, Any] = {"trusted_proxies": ("127.0.0.0/8",)}
"""Settings of a gateway that believes where a request says it comes from."""


class Traffic:
    """Genuine requests without a pause, each with a token that the key in force signed when it was sent."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._gateway = gateway
        self.forge = gateway.forge
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0
        self.overtaken = 0
        """Requests under way whose key was withdrawn before their answer: those are nobody's any more."""

    async def send(self) -> None:
        while True:
            forge = self.forge
            started = time.monotonic()
            status = await self._gateway.status_of(forge.token())
            if forge is not self.forge and status != 200:
                self.overtaken += 1
                continue
            self.statuses[status] += 1
            self.slowest = max(self.slowest, time.monotonic() - started)

    async def more(self, requests: int) -> None:
        """Returns when so many more were answered."""
        goal = self.statuses.total() + requests
        while self.statuses.total() < goal:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def traffic(gateway: RunningGateway, senders: int = 8) -> AsyncIterator[Traffic]:
    users = Traffic(gateway)
    async with _at_work(users.send, senders):
        yield users


class Flood:
    """Tokens that nobody signed: everything in them is as in a genuine one, but the signature, and maybe the key id.

    Each comes from an address of its own, as from a botnet, which no limit per address stops: ``BEHIND_A_PROXY``.
    """

    def __init__(self, gateway: RunningGateway, *, random_kids: bool) -> None:
        self._gateway = gateway
        self._random_kids = random_kids
        self.statuses: Counter[int] = Counter()

    def token(self) -> str:
        forge = self._gateway.forge
        kid = f"ins_{secrets.token_hex(12)}" if self._random_kids else forge.kid
        content = f"{base64url(as_json(forge.header(kid=kid)))}.{base64url(as_json(forge.claims()))}"
        return f"{content}.{base64url(secrets.token_bytes(256))}"

    async def send(self, http: aiohttp.ClientSession) -> None:
        address = ".".join(str(secrets.randbelow(200) + 20) for _ in range(4))
        headers = {"Authorization": f"Bearer {self.token()}", "X-Forwarded-For": address}
        async with http.get(f"{self._gateway.url}/voices", headers=headers) as answer:
            await answer.read()
            self.statuses[answer.status] += 1


@asynccontextmanager
async def flood(gateway: RunningGateway, *, random_kids: bool = False, attackers: int = 200) -> AsyncIterator[Flood]:
    attack = Flood(gateway, random_kids=random_kids)
    async with many_sockets() as http:

        async def keep_sending() -> None:
            while True:
                await attack.send(http)

        async with _at_work(keep_sending, attackers):
            yield attack


@asynccontextmanager
async def many_sockets() -> AsyncIterator[aiohttp.ClientSession]:
    """A client without a limit to its sockets; both their ends are in this process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=jar) as http:
        yield http


@asynccontextmanager
async def _at_work(work: Callable[[], Coroutine[Any, Any, None]], hands: int) -> AsyncIterator[None]:
    """Ends with the block; an error in the work is raised there."""
    tasks = [asyncio.create_task(work()) for _ in range(hands)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def rotated(forge: TokenForge, *, same_kid: bool) -> TokenForge:
    """The issuer after a rotation."""
    return TokenForge(forge.issuer, kid=forge.kid if same_kid else f"ins_{secrets.token_hex(12)}")
