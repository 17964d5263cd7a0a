"""How quickly events travel: ``python -m tests.bench.bench_events --help``.

Starts private servers of its own, runs every measure in rounds beside its reference (so that noise hits both), and
prints one JSON document: medians over the rounds, in events per second or milliseconds.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from common.contracts.identity import UserChanged
from common.db.engine import Database
from common.messaging.bus import Binding, RetryPolicy
from common.messaging.envelope import Envelope
from common.messaging.postgres import PostgresBus
from common.messaging.rabbit import RabbitBus
from common.tracing import current_trace
from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from tests.bench.event_references import bare_commits, bare_consume, bare_publish
from tests.support.event_ledger import QUEUE, SCHEMA, change, count, emit, ledger, recorder, relay_of, running, until
from tests.support.rabbitmq import PrivateRabbitMQ

WINDOW = 256
BATCH = 100
TYPES = (UserChanged.type,)


@dataclass
class Figures:
    """Samples by name."""

    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, *values: float) -> None:
        self.samples.setdefault(name, []).extend(values)

    def median(self, name: str) -> float:
        return round(statistics.median(self.samples[name]), 2)

    def ratio(self, ours: str, reference: str) -> float:
        """The median of the rounds' own ratios: what slowed one round down slowed both its halves."""
        pairs = zip(self.samples[ours], self.samples[reference], strict=True)
        return round(statistics.median(mine / other for mine, other in pairs), 3)

    def percentile(self, name: str, percent: int) -> float:
        return round(statistics.quantiles(self.samples[name], n=100)[percent - 1], 2)


class Counted:
    """A deliver function that counts what has been handled and committed, and when the last one was."""

    def __init__(self, database: Database) -> None:
        self._deliver = recorder().deliver_to(database, SCHEMA)
        self._target, self._count = 0, 0
        self._reached = asyncio.Event()

    async def __call__(self, envelope: Envelope) -> None:
        await self._deliver(envelope)
        self._count += 1
        if self._count >= self._target:
            self._reached.set()

    def expect(self, more: int) -> Awaitable[Any]:
        """To be awaited: the next ``more`` messages."""
        self._target = self._count + more
        self._reached.clear()
        return self._reached.wait()


def resident_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)


async def commit_events(database: Database, number: int) -> None:
    for start in range(0, number, BATCH):
        size = min(BATCH, number - start)
        await emit(database, *(change(f"user_{place}", start + 1) for place in range(size)))


async def unpublished(database: Database) -> bool:
    return await count(database, "outbox WHERE published_at IS NULL") > 0


async def drain(database: Database, bus: Any, number: int) -> float:
    """Committed events confirmed by the bus, per second; the marking of the last window is not in the time."""
    await commit_events(database, number)
    empty, taken = asyncio.Event(), 0

    class Watched:
        async def publish(self, envelope: Envelope) -> None:
            nonlocal taken
            await bus.publish(envelope)
            taken += 1
            if taken == number:
                empty.set()

    relay = relay_of(database, Watched(), window=WINDOW, poll_seconds=1.0)
    started = time.perf_counter()
    async with running(relay):
        await empty.wait()
        seconds = time.perf_counter() - started

        async def marked() -> bool:
            return not await unpublished(database)

        await until(marked)
    return number / seconds


async def idle(database: Database, bus: Any, counted: Counted, number: int) -> list[float]:
    """Milliseconds from the start of the emitting transaction to the commit of the handler's, one at a time."""
    times = []
    relay = relay_of(database, bus, window=WINDOW, poll_seconds=1.0)
    async with running(relay):
        await emit_and_wait(database, counted, 0)
        for sequence in range(1, number + 1):
            started = time.perf_counter()
            await emit_and_wait(database, counted, sequence)
            times.append((time.perf_counter() - started) * 1000)
    return times


async def emit_and_wait(database: Database, counted: Counted, sequence: int) -> None:
    handled = counted.expect(1)
    await emit(database, change("user_idle", sequence))
    await handled


async def whole_way(database: Database, bus: Any, counted: Counted, number: int) -> float:
    """Events per second when one process emits one event a transaction, relays and handles, all at once."""
    waiting = iter(range(number))

    async def emit_on() -> None:
        for place in waiting:
            await emit(database, change(f"user_{place}", 1))

    async with running(relay_of(database, bus, window=WINDOW, poll_seconds=1.0)):
        handled, started = counted.expect(number), time.perf_counter()
        await asyncio.gather(*(emit_on() for _ in range(4)), handled)
        return number / (time.perf_counter() - started)


async def measure(name: str, bus: Any, database: Database, figures: Figures, options: argparse.Namespace) -> None:
    """One round of one transport."""
    binding = Binding(QUEUE, TYPES)
    await bus.declare(binding)
    figures.add(f"{name}.relay_per_second", await drain(database, bus, options.events))
    counted = Counted(database)
    handled, started = counted.expect(options.events), time.perf_counter()
    consumption = await bus.consume(binding, counted, prefetch=options.prefetch)
    await handled
    figures.add(f"{name}.handled_per_second", options.events / (time.perf_counter() - started))
    figures.add(f"{name}.whole_way_per_second", await whole_way(database, bus, counted, options.events))
    figures.add(f"{name}.idle_ms", *await idle(database, bus, counted, options.idle))
    await consumption.stop()


async def rounds(rabbit_url: str, database_url: str, options: argparse.Namespace) -> dict[str, Any]:
    figures = Figures()
    memory: list[float] = []
    ends = time.perf_counter() + options.seconds
    async with ledger(database_url) as database:
        body = Envelope.of(change("user_1", 1), at=database.clock(), trace=current_trace()).to_json().encode()
        bodies = [body] * options.events
        while len(memory) < options.rounds and (not memory or time.perf_counter() < ends):
            figures.add("bare.publish_per_second", await bare_publish(rabbit_url, bodies, WINDOW))
            figures.add("bare.consume_per_second", await bare_consume(rabbit_url, len(bodies), options.prefetch))
            figures.add("bare.commits_per_second", await bare_commits(database_url, bodies, 1))
            figures.add("bare.commits_side_by_side_per_second", await bare_commits(database_url, bodies, 10))
            buses: dict[str, Callable[[], Any]] = {
                "rabbitmq": lambda: RabbitBus(rabbit_url, name="bench", retry=RetryPolicy()),
                "postgres": lambda: PostgresBus(database_url),
            }
            for name, make in buses.items():
                async with make() as bus:
                    await measure(name, bus, database, figures, options)
            memory.append(resident_megabytes())
    return report(figures, memory, options)


def report(figures: Figures, memory: list[float], options: argparse.Namespace) -> dict[str, Any]:
    answer: dict[str, Any] = {"rounds": len(memory), "events": options.events, "prefetch": options.prefetch}
    answer["bare"] = {n.partition(".")[2]: figures.median(n) for n in figures.samples if n.startswith("bare.")}
    for name in ("rabbitmq", "postgres"):
        rates = [n for n in figures.samples if n.startswith(f"{name}.") and n.endswith("per_second")]
        answer[name] = {n.partition(".")[2]: figures.median(n) for n in rates} | {
            "idle_p50_ms": figures.percentile(f"{name}.idle_ms", 50),
            "idle_p99_ms": figures.percentile(f"{name}.idle_ms", 99),
            "relay_to_bare_publish": figures.ratio(f"{name}.relay_per_second", "bare.publish_per_second"),
            "handled_to_bare_consume": figures.ratio(f"{name}.handled_per_second", "bare.consume_per_second"),
            "handled_to_bare_commits": figures.ratio(f"{name}.handled_per_second", "bare.commits_per_second"),
            "whole_way_to_bare_commits": figures.ratio(f"{name}.whole_way_per_second", "bare.commits_per_second"),
        }
    answer["resident_megabytes_by_round"] = memory
    return answer


@asynccontextmanager
async def servers(data: Path) -> AsyncIterator[tuple[str, str]]:
    """A broker and a database of this run's own; PostgreSQL without fsync, so that the code and not the disk counts."""
    broker, postgres = PrivateRabbitMQ(), PrivatePostgres()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(broker.kill)
        stack.push_async_callback(postgres.stop)
        await broker.start(data / "rabbitmq")
        await postgres.start(data / "postgres", free_ports(1)[0], durable=False)
        yield broker.url(), postgres.url()


async def main(options: argparse.Namespace) -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()], logger_factory=_standard_error)
    with tempfile.TemporaryDirectory() as data:
        async with servers(Path(data)) as (rabbit_url, database_url):
            print(json.dumps(await rounds(rabbit_url, database_url, options), indent=2))


def _standard_error(*_: object) -> Any:
    return structlog.PrintLogger(sys.stderr)


def arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_events", description=__doc__.partition("\n")[2])
    parser.add_argument("--events", type=int, default=3000, help="events per measure and round (default: %(default)s)")
    parser.add_argument("--idle", type=int, default=100, help="events of the idle measure (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds at most (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=120, help="no new round after so long (default: %(default)s)")
    parser.add_argument("--prefetch", type=int, default=16, help="messages in hand at once (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
