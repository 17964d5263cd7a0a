"""Plays a purchase and a creation as production runs them, and writes their traces into docs/tracing.md.

    python -m tests.trace_report [--page docs/tracing.md]

Starts PostgreSQL, RabbitMQ, an S3 server and seven processes of its own; takes about a minute.
"""

import argparse
import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from embedded.leaving import Leaving
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from tests.sound_report import with_section
from tests.support.deployment import Deployment
from tests.support.event_ledger import until
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.trace_receiver import Seen, TraceReceiver, waterfall

USER = "user_2showsWhatTracesAre"
STORIES = {
    "From purchase to pro": ("POST /webhooks/revenuecat", "process media.entitlements"),
    "From create to audio": ("POST /sessions", "publish media.audio_generated.v1"),
}
COLUMNS = "Process, step, when it began and how long it took in milliseconds:"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=Path("docs/tracing.md"), help="default: %(default)s")
    page: Path = parser.parse_args().page
    text = page.read_text()
    with tempfile.TemporaryDirectory() as folder:
        for title, trace in asyncio.run(traces(Path(folder))).items():
            text = with_section(text, title, f"{COLUMNS}\n\n```\n{waterfall(trace)}\n```")
    page.write_text(text)


async def traces(folder: Path) -> dict[str, list[Seen]]:
    """A trace of each story."""
    async with AsyncExitStack() as stack:
        collector = await stack.enter_async_context(TraceReceiver())
        deployment = await stack.enter_async_context(await _deployment(stack, folder, collector.url))
        deployment.clerk.sign_up(USER)
        await Leaving(deployment.url, deployment, tell=print).leave(USER)
        return {title: await _first(collector, *story) for title, story in STORIES.items()}


async def _deployment(stack: AsyncExitStack, folder: Path, collector: str) -> Deployment:
    postgres, objects, rabbitmq = PrivatePostgres(), PrivateObjectStore(), PrivateRabbitMQ()
    database_port, object_port = free_ports(2)
    print("starting PostgreSQL, RabbitMQ and an S3 server")
    stack.push_async_callback(rabbitmq.kill)
    stack.push_async_callback(objects.stop, at_once=True)
    stack.push_async_callback(postgres.stop)
    await postgres.start(folder / "postgres", database_port, durable=False)
    await objects.start(folder / "objects", object_port)
    await rabbitmq.start(folder / "rabbitmq")
    await objects.create_bucket("traces")
    (folder / "deployment").mkdir()
    print("starting the product's processes")
    vhost = await rabbitmq.create_vhost("traces")
    return Deployment(folder / "deployment", postgres, objects, "traces", vhost, OTEL_EXPORTER_OTLP_ENDPOINT=collector)


async def _first(collector: TraceReceiver, first: str, last: str) -> list[Seen]:
    async def arrived() -> list[list[Seen]]:
        return collector.beginning_with(first, last)

    found: list[list[Seen]] = await until(arrived)
    return found[0]


if __name__ == "__main__":
    main()
