"""``python -m billing api | worker | migrate | parked | explain | reconcile``."""

import asyncio
import sys

from billing.service import build
from billing.settings import BillingSettings
from billing.support import explain, reconcile
from common.command_line import parser, run
from common.observability import configure_logging

PORT = 8702


def main() -> int:
    root, commands = parser("billing", port=PORT, summary="What a user has paid for, as RevenueCat knows it")
    text = "show why a user's plan is what it is, and what happens next"
    commands.add_parser("explain", help=text, description=text).add_argument("user", metavar="USER")
    text = "read one user at RevenueCat now, or have the workers read everybody"
    reading = commands.add_parser("reconcile", help=text, description=text)
    whom = reading.add_mutually_exclusive_group(required=True)
    whom.add_argument("user", nargs="?", metavar="USER")
    whom.add_argument("--all", action="store_true", help="every known user, the paying ones first")
    arguments = root.parse_args()
    settings = BillingSettings.load()
    if arguments.command not in ("explain", "reconcile"):
        return run(arguments, settings, lambda: build(settings))
    configure_logging(settings.service, level=settings.log_level, style=settings.log_format)
    if arguments.command == "explain":
        return asyncio.run(explain(build(settings), settings.rules, arguments.user))
    return asyncio.run(reconcile(build(settings), settings.rules, arguments.user))


if __name__ == "__main__":
    sys.exit(main())
