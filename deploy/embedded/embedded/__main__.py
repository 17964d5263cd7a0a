"""``python -m embedded``: the whole product on this machine; with a command, a part in it."""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from embedded.commands import DEFAULT_DATA, DEFAULT_PORT, add_commands, run_command

HANDOVER_SECONDS = 0.0005


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m embedded",
        description="Starts the whole product on private servers and leaves it serving; Ctrl-C stops it.",
    )
    root.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="data folder (default: %(default)s)"
    )
    root.add_argument("--port", type=int, default=DEFAULT_PORT, help="the gateway's port (default: %(default)s)")
    root.add_argument("--reset", action="store_true", help="empty the data folder first")
    add_commands(root.add_subparsers(dest="command", metavar="COMMAND"))
    return root


def main() -> int:
    arguments = parser().parse_args()
    if arguments.command:
        return asyncio.run(run_command(arguments))
    started = time.perf_counter()
    # rendering threads share this process with every server: hand over more often than after the usual 5 ms
    sys.setswitchinterval(HANDOVER_SECONDS)
    # imported here: the commands above need none of it and answer at once
    from embedded.serving import serve

    return asyncio.run(serve(arguments.data, arguments.port, reset=arguments.reset, started=started))


if __name__ == "__main__":
    sys.exit(main())
