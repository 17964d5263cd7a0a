"""``python -m media api | worker | migrate | seed-catalog | audit-storage | invariants | parked``."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from common.command_line import parser, run
from common.observability import configure_logging
from media.memory import share_one_heap
from media.seeding import seed
from media.service import build
from media.settings import MediaSettings
from media.storage import StorageUnavailable
from media.storage_audit import StorageAudit


def main() -> int:
    root, commands = parser("media", port=8703, summary="Sessions, daily quota and rendered audio.")
    commands.choices["worker"].add_argument(
        "--render-slots",
        type=_at_least_one,
        default=1,
        metavar="N",
        help="sessions rendered at once (default: %(default)s)",
    )
    text = (
        "put the catalogue's sessions in place, then make and upload the beds: some two minutes and 1.3 GB of memory"
        " the first time. May be repeated, cut off and run beside anything; only what is missing or has changed is made"
    )
    commands.add_parser("seed-catalog", help=text, description=text)
    _add_audit(commands.add_parser)
    arguments = root.parse_args()
    settings = MediaSettings.load()
    if arguments.command == "seed-catalog":
        configure_logging("media", level=settings.log_level, style=settings.log_format)
        return asyncio.run(_seed(settings))
    if arguments.command == "audit-storage":
        configure_logging("media", level="warning", style=settings.log_format)
        return asyncio.run(_audit(settings, arguments))
    if arguments.command == "worker":
        share_one_heap()
    return run(arguments, settings, lambda: build(settings, render_slots=getattr(arguments, "render_slots", 1)))


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _add_audit(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    text = "compare rows and objects, both ways; exit 0 when they agree or were put right, else 1"
    command = add_parser("audit-storage", help=text, description=text)
    for flag, effect in (
        ("--remove", "remove objects that no row has named for a day"),
        ("--repair", "render the sessions again whose object is missing or wrong"),
        ("--json", "print one JSON document"),
    ):
        command.add_argument(flag, action="store_true", help=effect)


async def _audit(settings: MediaSettings, arguments: argparse.Namespace) -> int:
    async with build(settings).opened() as service:
        audit = StorageAudit(service.database, service.app.state.storage)
        try:
            report = await audit.run(remove=arguments.remove, repair=arguments.repair, tell=_tell_progress)
        except StorageUnavailable as error:
            print(f"media: {error}", file=sys.stderr)
            return 1
    if arguments.json:
        print(json.dumps(asdict(report), indent=2))
    else:
        for line in report.lines():
            print(line)
    return 0 if report.agrees else 1


def _tell_progress(text: str) -> None:
    print(text, file=sys.stderr)


async def _seed(settings: MediaSettings) -> int:
    async with build(settings).opened() as service:
        await seed(service.database, service.app.state.storage, tell=partial(print, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
