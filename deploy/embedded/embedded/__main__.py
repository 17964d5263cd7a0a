"""``python -m embedded``: the whole product on this machine; with a command, a part in it."""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from common.observability import configure_logging
from common.service import PortTaken, bind, stop_requested
from embedded.commands import DEFAULT_DATA, DEFAULT_PORT, add_commands, run_command
from embedded.composition import HOST, Product
from embedded.journey import Journey, JourneyFailed
from embedded.processes import ServerFailed
from embedded.store_ledger import StoreRefusal

TOKEN_SECONDS = 3600
FREE_USER, PRO_USER, TRAVELLER = "user_free", "user_pro", "user_first"


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m embedded",
        description="Starts the whole product on private servers and leaves it serving; Ctrl-C stops it.",
    )
    root.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="data folder (default: %(default)s)"
    )
    root.add_argument("--port", type=int, default=DEFAULT_PORT, help="the gateway's port (default: %(default)s)")
    root.add_argument("--reset", action="store_true", help="empty the data folder first")
    add_commands(root.add_subparsers(dest="command", metavar="COMMAND"))
    return root


def main() -> int:
    arguments = parser().parse_args()
    if arguments.command:
        return asyncio.run(run_command(arguments))
    started = time.perf_counter()
    # rendering threads share this process with every server: hand over more often than after the usual 5 ms
    sys.setswitchinterval(0.0005)
    try:
        return asyncio.run(serve(arguments.data, arguments.port, reset=arguments.reset, started=started))
    except PortTaken:
        print(f'port {arguments.port} is in use: stop what runs there, or choose another: make run ARGS="--port 8790"')
    except (ServerFailed, JourneyFailed) as problem:
        print(f"not started: {problem}\nlogs: {arguments.data}", file=sys.stderr)
    return 1


async def serve(data: Path, port: int, *, reset: bool, started: float) -> int:
    for each in (port, port + 100):
        bind(HOST, each).close()
    if reset:
        shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True, exist_ok=True)
    log = (data / "entrain.log").open("a")
    configure_logging("entrain", level=os.environ.get("LOG_LEVEL", "info").lower(), stream=log)
    asked = stop_requested()

    def tell(line: str) -> None:
        print(f"[{time.perf_counter() - started:5.1f} s] {line}", flush=True)

    async with Product(data, port, tell=tell) as product:
        first = data / "journey" / "first-session.m4a"
        if not first.exists():
            await Journey(product.url, Traveller(product), tell=tell).play(TRAVELLER, first)
        await Traveller(product).subscribe(PRO_USER)
        print(farewell(product, data, first), flush=True)
        tell("serving; Ctrl-C stops")
        await asked.wait()
    tell("stopped")
    return 0


class Traveller:
    """Acts on the stand-ins in a person's name."""

    def __init__(self, product: Product) -> None:
        self._product = product

    def token(self, user_id: str, seconds: int = 60) -> str:
        return self._product.clerk.session_token(user_id, seconds)

    async def purchase(self, user_id: str) -> None:
        self._product.store.purchase(user_id)

    async def refund(self, user_id: str) -> None:
        self._product.store.refund(user_id)

    async def subscribe(self, user_id: str) -> None:
        """Buys, unless the purchase of an earlier run still holds."""
        with suppress(StoreRefusal):
            await self.purchase(user_id)


def farewell(product: Product, data: Path, audio: Path) -> str:
    traveller = Traveller(product)
    free, pro = (traveller.token(user, TOKEN_SECONDS) for user in (FREE_USER, PRO_USER))
    place = "" if data == DEFAULT_DATA else f" --data {data}"
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
"""


if __name__ == "__main__":
    # a second Ctrl-C while stopping ends the process at once
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
