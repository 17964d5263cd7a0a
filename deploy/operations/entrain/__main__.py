"""``python -m entrain doctor | parked | outbox | jobs | user``: what an operator asks of a deployment."""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import NoReturn

from dotenv import dotenv_values

from common.observability import configure_logging
from entrain.commands import add_commands, run_command

EXIT_USAGE = 64
"""sysexits' EX_USAGE: the doctor's 2 says that something failed."""


class Parser(argparse.ArgumentParser):
    """One whose complaints are not taken for a finding."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}\n")


def parser() -> argparse.ArgumentParser:
    root: argparse.ArgumentParser = Parser(
        prog="python -m entrain",
        description="Asks a deployment how it is. Reads the variables that the services read; .env.example lists them.",
        epilog="beside `make run`: python -m entrain --env .data/run.env doctor",
    )
    root.add_argument("--env", type=Path, metavar="FILE", help="variables to add to the environment, NAME=value a line")
    add_commands(root.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    return root


def main() -> int:
    arguments = parser().parse_args()
    if arguments.env is not None:
        if not arguments.env.is_file():
            print(f"there is no file {arguments.env}: `make run` writes .data/run.env while it runs", file=sys.stderr)
            return EXIT_USAGE
        given = {name: value for name, value in dotenv_values(arguments.env).items() if value is not None}
        os.environ.update({name: value for name, value in given.items() if name not in os.environ})
    configure_logging("entrain", level="error", style="console", stream=sys.stderr)
    return asyncio.run(run_command(arguments))


if __name__ == "__main__":
    sys.exit(main())
