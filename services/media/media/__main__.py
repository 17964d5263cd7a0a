"""``python -m media api | worker | migrate | seed-catalog | parked``."""

import argparse
import asyncio
import sys

from common.command_line import parser, run
from common.observability import configure_logging
from media.catalogue import seed
from media.service import build
from media.settings import MediaSettings


def main() -> int:
    root, commands = parser("media", port=8703, summary="Sessions, daily quota and rendered audio.")
    commands.choices["worker"].add_argument(
        "--render-slots",
        type=_at_least_one,
        default=1,
        metavar="N",
        help="sessions rendered at once (default: %(default)s)",
    )
    text = "upload the beds and put the catalogue's sessions in place; changes nothing that is there already"
    commands.add_parser("seed-catalog", help=text, description=text)
    arguments = root.parse_args()
    settings = MediaSettings.load()
    if arguments.command == "seed-catalog":
        configure_logging("media", level=settings.log_level, style=settings.log_format)
        return asyncio.run(_seed(settings))
    return run(arguments, settings, lambda: build(settings, render_slots=getattr(arguments, "render_slots", 1)))


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


async def _seed(settings: MediaSettings) -> int:
    async with build(settings).opened() as service:
        await seed(service.database, service.app.state.storage, tell=print)
    return 0


if __name__ == "__main__":
    sys.exit(main())
