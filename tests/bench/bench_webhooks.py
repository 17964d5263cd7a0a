"""How webhooks are taken in a renewal hour: ``python -m tests.bench.bench_webhooks --help``.

A process of billing's API takes an open-loop stream of signed webhooks: each is due at its own moment, however long the
ones before it take, and its time counts from that moment. In turns with that, it takes as many through a process of the
gateway, and a bare ASGI app that checks the HMAC and inserts the body takes some of the same stream. Afterwards the
readings that are due are made, and counted. Prints one JSON document: milliseconds, and the ratio of ours to the
reference's.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import structlog

from billing.pacing import RequestBudget
from billing.service import build
from common.clock import utc_now
from common.db.migrations import upgrade
from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from embedded.revenuecat import RevenueCatStandIn
from embedded.store_documents import webhook_body
from embedded.webhook_signatures import revenuecat_headers
from tests.bench.webhook_reference import SECRET
from tests.support.billing import API_KEY, AUTHORIZATION, NOWHERE, settings
from tests.support.token_forge import new_p256_pem

START_SECONDS = 60.0


class Taker:
    """A process that takes webhooks at ``url``, and the times it took."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.milliseconds: list[float] = []
        self.statuses: Counter[int | str] = Counter()
        self.cpu_seconds = 0.0

    async def take(self, http: aiohttp.ClientSession, bodies: Sequence[bytes], per_second: float) -> None:
        loop = asyncio.get_running_loop()
        begin, sending = loop.time() + 0.2, set()
        for number, body in enumerate(bodies):
            due = begin + number / per_second
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            task = asyncio.create_task(self._send(http, body, due))
            sending.add(task)
            task.add_done_callback(sending.discard)
        await asyncio.gather(*sending)

    async def _send(self, http: aiohttp.ClientSession, body: bytes, due: float) -> None:
        headers = revenuecat_headers(body, int(time.time()), AUTHORIZATION, SECRET.decode())
        try:
            async with http.post(self.url, data=body, headers=headers) as answer:
                await answer.read()
                self.statuses[answer.status] += 1
        except aiohttp.ClientError as error:
            self.statuses[type(error).__name__] += 1
        self.milliseconds.append((asyncio.get_running_loop().time() - due) * 1000)

    def percentile(self, percent: int) -> float:
        return round(statistics.quantiles(self.milliseconds, n=100)[percent - 1], 2)

    @property
    def cpu_each(self) -> float:
        """Milliseconds of the process's processor time for each webhook: what noise on the machine cannot change."""
        return self.cpu_seconds * 1000 / len(self.milliseconds)

    def report(self) -> dict[str, Any]:
        shown = {f"p{percent}_ms": self.percentile(percent) for percent in (50, 95, 99)}
        cpu = {"cpu_ms_each": round(self.cpu_each, 3)}
        return {**shown, "longest_ms": round(max(self.milliseconds), 2), **cpu, "answers": dict(self.statuses)}


class Ticking:
    """A clock on which no two events happen at once: of a person's webhooks one is the latest."""

    def __init__(self) -> None:
        # what ended five minutes or an hour ago is read again as planned, which is not what is measured
        self._now = utc_now() - timedelta(minutes=50)

    def __call__(self) -> datetime:
        self._now += timedelta(milliseconds=20)
        return self._now


def renewal_hour(store: RevenueCatStandIn, events: int, seed: int) -> list[bytes]:
    """Webhooks as the store sends them while many subscriptions renew at once; some come twice."""
    chance, people = random.Random(seed), 0
    bodies: list[bytes] = []
    while len(bodies) < events:
        people += 1
        user = f"user_{people:06d}"
        made = [*store.ledger.purchase(user, chance.choice(("pro_monthly", "pro_annual", "app_pro:monthly")))]
        kind = chance.random()
        if kind < 0.75:
            made += store.ledger.renew(user)
        elif kind < 0.9:
            made += store.ledger.billing_issue(user)
        elif kind < 0.97:
            made += [*store.ledger.cancel(user), *store.ledger.expire(user)]
        else:
            made += store.ledger.refund(user)
        for event in made:
            bodies += [webhook_body(event).encode()] * (2 if chance.random() < 0.02 else 1)
    bodies = bodies[:events]
    chance.shuffle(bodies)
    return bodies


@asynccontextmanager
async def process(taker: Taker, *arguments: str, health: str, **environment: str) -> AsyncIterator[None]:
    """A Python process on a port of its own, once it answers at all; notes the processor time it used from then on."""
    nowhere = asyncio.subprocess.DEVNULL
    given = {**os.environ, **environment}
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=given, stdout=nowhere, stderr=nowhere)
    try:
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as http:
            while not await _answers(http, health):
                await asyncio.sleep(0.05)
        before = _cpu_seconds(child.pid)
        yield
        taker.cpu_seconds = _cpu_seconds(child.pid) - before
    finally:
        child.terminate()
        await child.wait()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url):
            return True
    except aiohttp.ClientConnectorError:
        return False
    except aiohttp.ClientError:
        return True


def environment(database_url: str) -> dict[str, str]:
    chosen = settings(database_url)
    return {
        "DATABASE_URL": database_url,
        "GATEWAY_JWKS_URL": str(chosen.gateway_jwks_url),
        "REVENUECAT_API_KEY": API_KEY,
        "REVENUECAT_WEBHOOK_AUTHORIZATION": AUTHORIZATION,
        "REVENUECAT_WEBHOOK_SECRETS": SECRET.decode(),
    }


async def in_turns(ours: Taker, door: Taker, bare: Taker, bodies: list[bytes], options: argparse.Namespace) -> None:
    """A piece of the stream for each, a smaller one for the reference, so that noise meets all."""
    size = -(-options.events // options.rounds)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        for start in range(0, options.events, size):
            piece, through = (bodies[half + start : half + start + size] for half in (0, options.events))
            await bare.take(http, piece[: max(100, len(piece) // 3)], options.rate)
            await ours.take(http, piece, options.rate)
            await door.take(http, through, options.rate)


def gateway_environment(billing_port: int) -> dict[str, str]:
    """Nobody signs in, so that no key is ever asked for."""
    return {
        "CLERK_ISSUERS": "https://clerk.bench.test",
        "CLERK_JWKS_URL": f"{NOWHERE}/.well-known/jwks.json",
        "GATEWAY_SIGNING_KEY": new_p256_pem(),
        "BILLING_URL": f"http://127.0.0.1:{billing_port}",
    }


async def readings(store: RevenueCatStandIn, database_url: str) -> dict[str, Any]:
    """Works off what the webhooks asked for."""
    store.faults.calls.clear()
    chosen = settings(database_url, revenuecat_api_url=store.url)
    async with build(chosen, budget=RequestBudget(1_000_000)).opened() as service:
        started = time.perf_counter()
        made = await service.app.state.refresher.work_off()
        seconds = time.perf_counter() - started
    asked = Counter(store.faults.calls.values())
    return {"readings": made, "most_readings_of_one_person": max(asked), "readings_per_second": round(made / seconds)}


async def stored(database_url: str, bodies: Sequence[bytes]) -> dict[str, Any]:
    events = [json.loads(body)["event"] for body in set(bodies)]
    people = {event["app_user_id"] for event in events}
    session = await asyncpg.connect(database_url)
    count = "SELECT (SELECT count(*) FROM billing.webhook_event), (SELECT count(*) FROM billing.refresh)"
    kept, waiting = await session.fetchrow(count)
    await session.close()
    return {"distinct_events": len(events), "stored": kept, "people": len(people), "people_to_read": waiting}


async def main(options: argparse.Namespace) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    postgres = PrivatePostgres()
    store = RevenueCatStandIn(Ticking(), api_key=API_KEY)
    bodies = renewal_hour(store, 2 * options.events, options.seed)
    database_port, our_port, door_port, bare_port = free_ports(4)
    with tempfile.TemporaryDirectory() as data:
        await postgres.start(Path(data) / "postgres", database_port, durable=False)
        url = postgres.url()
        service = build(settings(url))
        await upgrade(url, service.metadata, service.migrations)
        await service.database.close()
        ours, door = (Taker(f"http://127.0.0.1:{port}/webhooks/revenuecat") for port in (our_port, door_port))
        bare = Taker(f"http://127.0.0.1:{bare_port}/")
        health = f"http://127.0.0.1:{our_port}/health/live"
        api = process(ours, "-m", "billing", "api", "--port", str(our_port), health=health, **environment(url))
        gateway = process(
            door,
            *("-m", "gateway", "api", "--port", str(door_port)),
            health=f"http://127.0.0.1:{door_port}/health/live",
            **gateway_environment(our_port),
        )
        reference = process(bare, "-m", "tests.bench.webhook_reference", str(bare_port), url, health=bare.url)
        async with api, gateway, reference:
            await in_turns(ours, door, bare, bodies, options)
        report: dict[str, Any] = {"events": options.events, "per_second": options.rate}
        report |= {"ours": ours.report(), "through_the_gateway": door.report(), "bare": bare.report()}
        report["cpu_to_bare"] = round(ours.cpu_each / bare.cpu_each, 2)
        report["p50_to_bare"] = round(ours.percentile(50) / bare.percentile(50), 2)
        report["p99_to_bare"] = round(ours.percentile(99) / bare.percentile(99), 2)
        report |= await stored(url, bodies)
        async with store:
            report |= await readings(store, url)
        await postgres.stop()
    print(json.dumps(report, indent=2))


def arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.bench_webhooks", description=__doc__.partition("\n")[2]
    )
    parser.add_argument("--events", type=int, default=10_000, help="webhooks each way (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=200.0, help="webhooks a second (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="turns with the reference (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the renewal hour (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
