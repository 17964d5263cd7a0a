"""Plays a purchase and a creation as production runs them, and writes their traces into docs/tracing.md.

    python -m tests.trace_report [--page docs/tracing.md]

Starts PostgreSQL, RabbitMQ, an S3 server and seven processes of its own; takes about a minute.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from embedded.leaving import Leaving
from tests.support.event_ledger import until
from tests.support.pages import write_sections
from tests.support.servers_apart import servers_apart
from tests.support.trace_receiver import Seen, TraceReceiver, waterfall

USER = "user_2showsWhatTracesAre"
STORIES = {
    "From purchase to pro": ("POST /webhooks/revenuecat", "process media.entitlements"),
    "From create to audio": ("POST /sessions", "publish media.audio_generated.v1"),
}
COLUMNS = "Process, step, when it began and how long it took in milliseconds:"


def main() -> None:
    write_sections(__doc__, "docs/tracing.md", _sections)


async def _sections(folder: Path) -> Mapping[str, str]:
    told = {title: waterfall(trace) for title, trace in (await traces(folder)).items()}
    return {title: f"{COLUMNS}\n\n```\n{drawn}\n```" for title, drawn in told.items()}


async def traces(folder: Path) -> dict[str, list[Seen]]:
    """A trace of each story."""
    async with AsyncExitStack() as stack:
        collector = await stack.enter_async_context(TraceReceiver())
        servers = await stack.enter_async_context(servers_apart(folder))
        print("starting the product's processes")
        deployment = await stack.enter_async_context(servers.deployment(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url))
        deployment.clerk.sign_up(USER)
        await Leaving(deployment.url, deployment, tell=print).leave(USER)
        return {title: await _first(collector, *story) for title, story in STORIES.items()}


async def _first(collector: TraceReceiver, first: str, last: str) -> list[Seen]:
    async def arrived() -> list[list[Seen]]:
        return collector.beginning_with(first, last)

    found: list[list[Seen]] = await until(arrived)
    return found[0]


if __name__ == "__main__":
    main()
