"""The long form of the year test: ``python -m tests.year --seed 1..10``, or ``make year SEED=7``.

Starts a PostgreSQL of its own and plays a year for each seed; a person's year takes about 2 seconds, on a busy machine
more. Tells each month on standard error how far it is, and prints one JSON line a seed: what was compared, what went
wrong on the way, and the divergence, which is 0. When somebody has what they should not, it prints the seed and the
person's history, and the exit code is 1.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from common.service import run_process
from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from tests.year.playing import play


async def main(options: argparse.Namespace) -> int:
    """Plays the seeds, ``processes`` of them side by side, on one server."""
    postgres = PrivatePostgres()
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as data, ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        await postgres.start(Path(data) / "postgres", free_ports(1)[0], durable=False)
        try:
            years = [
                loop.run_in_executor(pool, play, postgres.url(), postgres.url(f"year_{seed}"), seed, options)
                for seed in options.seeds
            ]
            return max(await asyncio.gather(*years))
        finally:
            await postgres.stop()


def seeds(text: str) -> Iterable[int]:
    """``7``, or ``1..10`` with both ends."""
    first, _, last = text.partition("..")
    return range(int(first), int(last or first) + 1)


def arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m tests.year", description=__doc__.partition("\n")[2])
    parser.add_argument("--seed", type=seeds, nargs="+", default=[range(1, 2)], help="a year each: 7, or 1..10 (1)")
    parser.add_argument("--people", type=int, default=500, help="(default: %(default)s)")
    parser.add_argument("--days", type=int, default=365, help="(default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="years played side by side (default: %(default)s)")
    options = parser.parse_args()
    options.seeds = [seed for given in options.seed for seed in given]
    return options


if __name__ == "__main__":
    sys.exit(run_process(main(arguments())))
