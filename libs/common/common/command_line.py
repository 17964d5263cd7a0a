"""The command line every service shares: ``api``, ``worker``, ``migrate``, ``invariants`` and ``parked``."""

import argparse
import sys
from collections.abc import Callable

from common.db.engine import is_outage
from common.db.migrations import TablesInUse, upgrade
from common.messaging.parking import Commands, add_parked, manage_parked
from common.messaging.rabbit import RabbitBus
from common.messaging.replay import RabbitParked
from common.observability import configure_logging
from common.process_metrics import tell_build
from common.service import PortTaken, Service, run_api, run_process, run_worker
from common.settings import EXIT_BAD_SETTINGS, DatabaseSettings
from common.trace_export import exported_traces

INTERNAL_OFFSET = 100
"""A worker's health and metrics listen this far above the service's port."""


def parser(service: str, *, port: int, summary: str) -> tuple[argparse.ArgumentParser, Commands]:
    """The shared commands; a service adds its own to the second value."""
    root = argparse.ArgumentParser(prog=f"python -m {service}", description=summary)
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, default, text in (
        ("api", port, "answer HTTP"),
        ("worker", port + INTERNAL_OFFSET, "run consumers, relay and jobs; health and metrics on the port"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        command.add_argument("--port", type=int, default=default, help="port to listen on (default: %(default)s)")
    text = "bring the database schema and the broker's queues up to date; safe to run from every replica"
    commands.add_parser("migrate", help=text, description=text)
    text = "look once at what must hold of the stored data, and say what to do where it does not; exit 0 when all holds"
    commands.add_parser("invariants", help=text, description=text)
    add_parked(commands)
    return root, commands


def run(arguments: argparse.Namespace, settings: DatabaseSettings, build: Callable[[], Service]) -> int:
    """Runs one of the shared commands; returns the exit code."""
    configure_logging(settings.service, level=settings.log_level, style=settings.log_format)
    tell_build(settings)
    if arguments.command in ("worker", "parked") and settings.rabbitmq_url is None:
        print(f"{settings.service}: RABBITMQ_URL: needed by `{arguments.command}`; see .env.example", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    if arguments.command == "api" and not (settings.gateway_jwks_url or settings.gateway_public_keys):
        print(f"{settings.service}: set GATEWAY_JWKS_URL or GATEWAY_PUBLIC_KEYS; see .env.example", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    try:
        service = build()
    except ValueError as error:  # a setting that is well formed and yet cannot be used
        print(f"{settings.service}: {error}; see .env.example", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    try:
        with exported_traces(settings, f"{settings.service}-{arguments.command}"):
            return run_process(_run(arguments, settings, service))
    except PortTaken as error:
        print(f"{settings.service}: {error}", file=sys.stderr)
        return 1


async def _run(arguments: argparse.Namespace, settings: DatabaseSettings, service: Service) -> int:
    if arguments.command == "api":
        await run_api(service, arguments.host, arguments.port)
        return 0
    if arguments.command == "migrate":
        return await _migrate(settings, service)
    if arguments.command == "invariants":
        async with service.opened():
            return await service.invariants.report()
    bus = broker(settings)
    if arguments.command == "worker":
        checks = {"broker": bus.check, "database": service.database.check}
        await run_worker(service, bus, checks, arguments.host, arguments.port)
        return 0
    async with bus:
        for subscription in service.subscriptions:  # before the first worker there are none to look into
            await bus.declare(subscription.binding)
        queues = [subscription.queue for subscription in service.subscriptions]
        return await manage_parked(RabbitParked(bus, broker_url(settings), queues), queues, arguments)


async def _migrate(settings: DatabaseSettings, service: Service) -> int:
    try:
        revision = await upgrade(settings.direct_url, service.metadata, service.migrations)
    except TablesInUse:
        print(f"{service.name}: tables are in use: end long transactions, then migrate again", file=sys.stderr)
        return 1
    except Exception as error:
        if not is_outage(error):
            raise
        print(f"{service.name}: the database cannot be reached: {type(error).__name__}", file=sys.stderr)
        return 1
    print(f"{service.name}: schema at revision {revision}")
    if settings.rabbitmq_url is not None:
        async with broker(settings) as bus:
            for subscription in service.subscriptions:
                await bus.declare(subscription.binding)
                print(f"{service.name}: queue {subscription.queue} declared")
    return 0


def broker_url(settings: DatabaseSettings) -> str:
    assert settings.rabbitmq_url is not None
    return settings.rabbitmq_url.get_secret_value()


def broker(settings: DatabaseSettings) -> RabbitBus:
    return RabbitBus(broker_url(settings), name=settings.service)
