"""``python -m billing api | worker | migrate | invariants | parked | explain | reconcile | replay | announce``."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from billing import support
from billing.service import build
from billing.settings import BillingSettings
from common.command_line import parser, run
from common.messaging.parking import Commands
from common.observability import configure_logging

PORT = 8702


def main() -> int:
    root, commands = parser("billing", port=PORT, summary="What a user has paid for, as RevenueCat knows it")
    _add_questions(commands)
    arguments = root.parse_args()
    settings = BillingSettings.load()
    ask: Callable[[argparse.Namespace, BillingSettings], Coroutine[Any, Any, int]] | None
    ask = getattr(arguments, "ask", None)
    if ask is None:
        return run(arguments, settings, lambda: build(settings))
    configure_logging(settings.service, level=settings.log_level, style=settings.log_format)
    code: int = asyncio.run(ask(arguments, settings))
    return code


def _add_questions(commands: Commands) -> None:
    text = "show why a user's plan is what it is, and what happens next"
    explain = commands.add_parser("explain", help=text, description=text)
    explain.add_argument("user", metavar="USER")
    explain.set_defaults(ask=lambda given, chosen: support.explain(build(chosen), chosen.rules, given.user))

    text = "read one user at RevenueCat now, or have the workers read everybody"
    reconcile = commands.add_parser("reconcile", help=text, description=text)
    _add_whom(reconcile, "every known user, the paying ones first")
    reconcile.add_argument("--wait", action="store_true", help="with --all: show the progress until all are read")
    reconcile.set_defaults(
        ask=lambda given, chosen: support.reconcile(build(chosen), chosen.rules, given.user, wait=given.wait)
    )

    text = "do again what a stored webhook asked for: read everybody it names"
    replay = commands.add_parser("replay", help=text, description=text)
    replay.add_argument("event", metavar="EVENT", help="the webhook's id, as `explain` and the history show it")
    replay.set_defaults(ask=lambda given, chosen: support.replay(build(chosen), chosen.rules, given.event))

    text = "tell the other services again what users have, so that they can rebuild what they keep of it"
    announce = commands.add_parser("announce", help=text, description=text)
    _add_whom(announce, "every user to whom something was ever announced")
    announce.set_defaults(ask=lambda given, chosen: support.announce(build(chosen), given.user))


def _add_whom(command: argparse.ArgumentParser, everybody: str) -> None:
    whom = command.add_mutually_exclusive_group(required=True)
    whom.add_argument("user", nargs="?", metavar="USER")
    whom.add_argument("--all", action="store_true", help=everybody)


if __name__ == "__main__":
    sys.exit(main())
