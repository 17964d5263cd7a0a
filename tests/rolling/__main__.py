"""An upgrade without downtime, played: ``python -m tests.rolling --from COMMIT``.

The services of an earlier commit run under traffic: people read and sign up through the gateway, the store sends
webhooks, events go from service to service. Then, as docs/upgrades.md says: `migrate` of this folder's code, its
processes beside the old ones on the same database, queues and addresses, and the old ones stopped one by one with
SIGTERM. Counts what was refused, which is 0, and looks that every event took effect once; else the exit code is 1.
"""

import argparse
import asyncio
import itertools
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg

from common.service import run_process
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from tests.rolling.side_by_side import SideBySide, source_of
from tests.support.event_ledger import until
from tests.support.fleet import Traffic
from tests.support.rabbitmq import PrivateRabbitMQ

BEFORE_THE_LAST_MIGRATIONS = "7a1502b"
READER = "user_2readsAllTheTime00000000"
PATHS = ["/me", "/me/subscription", "/sessions?limit=5", "/me/entitlement"]
_PAID_ONCE = """
    SELECT user_id, count(*) AS changes, max(sequence) AS last,
        (SELECT sequence FROM media.entitlement heard WHERE heard.user_id = billing.change.user_id) AS heard
    FROM billing.change WHERE user_id = ANY($1::text[]) GROUP BY user_id
"""
_WAITING = "SELECT count(*) FROM {schema}.outbox WHERE published_at IS NULL"


async def main(options: argparse.Namespace) -> int:
    started = time.monotonic()

    def tell(line: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {line}", file=sys.stderr, flush=True)

    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        product = await _product(stack, folder, options.commit, tell)
        traffic, buyers = Traffic(product, READER, PATHS), Buyers(product)
        async with traffic.flowing():
            buying = asyncio.create_task(buyers.buy_for_ever())
            tell(f"the services of {options.commit} take requests")
            await traffic.more(options.requests)
            await product.migrate("new")
            tell("migrated by the new code")
            await traffic.more(options.requests)
            await product.start_new()
            tell("both releases take requests and messages")
            await traffic.more(options.requests)
            codes = await product.stop_old()
            tell(f"the old release has stopped, exit codes {sorted(set(codes))}")
            await traffic.more(options.requests)
            buying.cancel()
            with suppress(asyncio.CancelledError):  # whatever else ended it is raised: then nobody bought any more
                await buying
        wrong = await _what_went_wrong(product, traffic, buyers.users)
        webhooks = Counter(attempt.status for attempt in product.store.webhooks.history)
    tell(f"{traffic.answers.total()} requests: {dict(traffic.answers)}")
    tell(f"{len(buyers.users)} people bought, webhooks answered {dict(webhooks)}")
    for line in wrong:
        tell(line)
    tell("something was lost" if wrong else "0 requests refused, every event took effect once")
    return 1 if wrong or any(codes) else 0


async def _product(stack: AsyncExitStack, folder: Path, commit: str, tell: Callable[[str], object]) -> SideBySide:
    old = source_of(commit, folder / "old")
    postgres, objects, rabbitmq = PrivatePostgres(), PrivateObjectStore(), PrivateRabbitMQ()
    for stop in (postgres.stop, rabbitmq.kill, objects.stop):
        stack.push_async_callback(stop)
    first, second = free_ports(2)
    await asyncio.gather(
        postgres.start(folder / "postgres", first, durable=False),
        objects.start(folder / "objects", second),
        rabbitmq.start(folder / "rabbitmq"),
    )
    tell("servers are up")
    await objects.create_bucket("rolling")
    url = await rabbitmq.create_vhost("rolling")
    return await stack.enter_async_context(SideBySide(folder, postgres, objects, "rolling", url, old))


class Buyers:
    """New people, one after the other: each signs up at the provider and buys."""

    def __init__(self, product: SideBySide) -> None:
        self._product = product
        self.users: list[str] = []

    async def buy_for_ever(self) -> None:
        for number in itertools.count():
            user = f"user_2rolling{number:04d}"
            self._product.clerk.sign_up(user)
            await self._product.purchase(user)
            self.users.append(user)
            await asyncio.sleep(0.3)


async def _what_went_wrong(product: SideBySide, traffic: Traffic, users: list[str]) -> list[str]:
    session = await asyncpg.connect(product.database_url)
    try:

        async def settled() -> bool:
            heard = await session.fetchval("SELECT count(*) FROM media.entitlement WHERE user_id = ANY($1)", users)
            waiting = [
                await session.fetchval(_WAITING.format(schema=name)) for name in ("identity", "billing", "media")
            ]
            return heard == len(users) and not any(waiting)

        await until(settled, 60)
        rows = await session.fetch(_PAID_ONCE, users)
    finally:
        await session.close()
    wrong = [f"refused: {answer}, {count} times" for answer, count in traffic.refused.items()]
    wrong += [
        f"{row['user_id']}: {dict(row)}" for row in rows if (row["changes"], row["last"], row["heard"]) != (1, 1, 1)
    ]
    statuses = {attempt.status for attempt in (*product.store.webhooks.history, *product.clerk.webhooks.history)}
    return wrong + [f"a webhook was answered {status}" for status in statuses - {200}]


def arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m tests.rolling", description=__doc__.partition("\n")[2])
    parser.add_argument(
        "--from", dest="commit", default=BEFORE_THE_LAST_MIGRATIONS, metavar="COMMIT", help="(%(default)s)"
    )
    parser.add_argument("--requests", type=int, default=200, help="in each phase, at least (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(run_process(main(arguments())))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}: is the commit here? `git fetch --unshallow` brings the history")
