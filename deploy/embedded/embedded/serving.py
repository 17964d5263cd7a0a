"""One run of the product: start it, play the first journey once, say what to try, serve until told to stop."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

from common.observability import configure_logging
from common.service import PortTaken, bind, stop_requested
from embedded.commands import DEFAULT_DATA, DEFAULT_PORT
from embedded.composition import HOST, Product
from embedded.journey import Journey, JourneyFailed
from embedded.processes import ServerFailed
from embedded.run_settings import SETTINGS_FILE
from embedded.store_ledger import StoreRefusal

TOKEN_SECONDS = 3600
FREE_USER, PRO_USER, TRAVELLER = "user_free", "user_pro", "user_first"

Tell = Callable[[str], object]


async def serve(data: Path, port: int, *, reset: bool, started: float) -> int:
    """Runs until SIGINT or SIGTERM, at whatever point they come; the exit code. ``started`` is of `perf_counter`."""

    def tell(line: str) -> None:
        print(f"[{time.perf_counter() - started:5.1f} s] {line}", flush=True)

    try:
        for each in (port, port + 100):
            bind(HOST, each).close()
        _prepare(data, reset=reset)
        await _until_asked(_live(data, port, tell))
    except PortTaken:
        print(f'port {port} is in use: stop what runs there, or choose another: make run ARGS="--port {port + 3}"')
        return 1
    except (ServerFailed, JourneyFailed) as problem:
        print(f"not started: {problem}\nlogs: {data}", file=sys.stderr)
        return 1
    tell("stopped")
    return 0


def _prepare(data: Path, *, reset: bool) -> None:
    if reset:
        shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True, exist_ok=True)
    log = (data / "entrain.log").open("a")
    configure_logging("entrain", level=os.environ.get("LOG_LEVEL", "info").lower(), stream=log)


async def _until_asked(life: Coroutine[None, None, None]) -> None:
    """Lives until told to stop, then lets go in order. What ends a life by itself is raised."""
    asked = stop_requested()
    living = asyncio.create_task(life)
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait({living, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    living.cancel()
    with suppress(asyncio.CancelledError):
        await living


async def _live(data: Path, port: int, tell: Tell) -> None:
    async with Product(data, port, tell=tell) as product:
        first = data / "journey" / "first-session.m4a"
        if not first.exists():
            await Journey(product.url, Traveller(product), tell=tell).play(TRAVELLER, first)
        await Traveller(product).subscribe(PRO_USER)
        print(farewell(product, data, port, first), flush=True)
        tell("serving; Ctrl-C stops")
        await asyncio.Event().wait()


class Traveller:
    """Acts on the stand-ins in a person's name."""

    def __init__(self, product: Product) -> None:
        self._product = product

    def token(self, user_id: str, seconds: int = 60) -> str:
        """Who is new signs up; who was deleted gets the token of a session that has outlived the account."""
        if user_id not in self._product.clerk.users.deleted:
            self._product.clerk.sign_up(user_id)
        return self._product.clerk.session_token(user_id, seconds)

    async def purchase(self, user_id: str) -> None:
        self._product.store.purchase(user_id)

    async def refund(self, user_id: str) -> None:
        self._product.store.refund(user_id)

    async def subscribe(self, user_id: str) -> None:
        """Buys, unless the purchase of an earlier run still holds."""
        with suppress(StoreRefusal):
            await self.purchase(user_id)


def farewell(product: Product, data: Path, port: int, audio: Path) -> str:
    traveller = Traveller(product)
    free, pro = (traveller.token(user, TOKEN_SECONDS) for user in (FREE_USER, PRO_USER))
    place = "" if data == DEFAULT_DATA else f" --data {data}"
    place += "" if port == DEFAULT_PORT else f" --port {port}"
    return f"""
Entrain is serving at {product.url}   (documentation: {product.url}/docs, log: {data}/entrain.log)
  audio of the first journey: {audio}

  free user, token good for an hour:
  {free}

  pro user, token good for an hour:
  {pro}

Try next, in another terminal (P=.venv/bin/python):
  TOKEN=$($P -m embedded token ada{place})
  curl -s -H "Authorization: Bearer $TOKEN" {product.url}/me/entitlement
  curl -s -H "Authorization: Bearer $TOKEN" {product.url}/sessions
  $P -m embedded store purchase ada{place}      then ask for the entitlement again
  $P -m embedded store refund ada{place}
  $P -m embedded leave zoe{place}      a whole life, up to the deletion of the account
  $P -m entrain --env {data}/{SETTINGS_FILE} doctor      looks whether all of this is well
"""
