"""``python -m gateway api``: the only reader of the environment."""

import argparse
import json
import sys
from pathlib import Path

from common.observability import configure_logging, logger
from common.process_metrics import tell_build
from common.service import LEAVE_SECONDS, HttpServer, PortTaken, run_process, stop_requested
from common.settings import EXIT_BAD_SETTINGS
from common.trace_export import exported_traces
from gateway.docs import document_text, merge
from gateway.issuers import UnusableIssuer
from gateway.service import Gateway, build_gateway
from gateway.settings import GatewaySettings

INTERNAL_OFFSET = 100
"""Health, metrics and keys listen this far above the public port."""

log = logger("gateway")


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m gateway", description="Entrain's public door")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    text = f"answer HTTP; health, metrics and keys on the port + {INTERNAL_OFFSET}"
    api = commands.add_parser("api", help=text, description=text)
    api.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    api.add_argument("--port", type=int, default=8787, help="port to listen on (default: %(default)s)")
    text = "print the OpenAPI document of the public API, made from those of the services"
    openapi = commands.add_parser("openapi", help=text, description=text)
    openapi.add_argument("documents", nargs="+", type=Path, metavar="FILE", help="a service's OpenAPI document")
    return root


def main(arguments: list[str] | None = None) -> int:
    chosen = parser().parse_args(arguments)
    if chosen.command == "openapi":
        sys.stdout.write(document_text(merge(json.loads(path.read_bytes()) for path in chosen.documents)))
        return 0
    settings = GatewaySettings.load()
    configure_logging("gateway", level=settings.log_level, style=settings.log_format)
    tell_build(settings)
    try:
        with exported_traces(settings, "gateway", public=True):
            run_process(run_api(build_gateway(settings), chosen.host, chosen.port))
    except PortTaken as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    except UnusableIssuer as error:
        print(f"gateway: {error}", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    return 0


async def run_api(gateway: Gateway, host: str, port: int) -> None:
    """Answers until told to stop, then finishes the requests in hand. Operators can watch until the last of them."""
    asked = stop_requested()
    try:
        await gateway.start()
        async with (
            HttpServer(gateway.internal_app, host, port + INTERNAL_OFFSET),
            HttpServer(gateway.public_app, host, port, leave_seconds=LEAVE_SECONDS),
        ):
            log.info("api_started", host=host, port=port)
            await asked.wait()
            log.info("stopping")
    finally:
        await gateway.close()


if __name__ == "__main__":
    sys.exit(main())
