"""The whole product in this process, with a free and a pro user and a full catalogue, for tests that play with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from embedded.composition import Product
from embedded.processes import free_ports
from media.catalogue import CATALOGUE

FREE, PRO = "user_playfree", "user_playpro"
READY_SECONDS = 90.0


@dataclass
class Playground:
    product: Product
    data: Path
    http: aiohttp.ClientSession
    grant: str = ""
    """What stands in a play link of the free user's. Once it is used, the user is given no other that day."""

    async def buy(self, user_id: str) -> None:
        """Returns when the purchase counts."""
        self.product.store.purchase(user_id)
        async with asyncio.timeout(READY_SECONDS):
            while await self._plan(user_id) != "pro":
                await asyncio.sleep(0.05)

    async def stocked(self) -> None:
        """Returns when the catalogue is complete."""
        async with asyncio.timeout(READY_SECONDS):
            while len((await self.get(FREE, "/sessions"))["sessions"]) < len(CATALOGUE):
                await asyncio.sleep(0.1)

    async def new_grant(self) -> str:
        """Returns when a session of the catalogue can be heard."""
        session = (await self.get(FREE, "/sessions"))["sessions"][-1]["id"]
        async with asyncio.timeout(READY_SECONDS):
            while "audio" not in (found := await self.get(FREE, f"/sessions/{session}")):
                await asyncio.sleep(0.1)
        grant: str = found["audio"]["affirmationsMergedUrl"].rpartition("/play/")[2]
        return grant

    async def get(self, user_id: str, path: str) -> dict[str, Any]:
        token = self.product.clerk.session_token(user_id)
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.get(self.product.url + path, headers=headers, raise_for_status=True) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def _plan(self, user_id: str) -> Any:
        return (await self.get(user_id, "/me/entitlement"))["plan"]


@asynccontextmanager
async def playground(data: Path) -> AsyncIterator[Playground]:
    """Starts the product in ``data``; ``PRO`` has bought."""
    (port,) = free_ports(1)
    async with Product(data, port, tell=print) as product, aiohttp.ClientSession() as http:
        ground = Playground(product, data, http)
        for user_id in (FREE, PRO):
            product.clerk.sign_up(user_id)
        await ground.buy(PRO)
        await ground.stocked()
        ground.grant = await ground.new_grant()
        yield ground
