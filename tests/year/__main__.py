"""The long form of the year test: ``python -m tests.year --seed 7``, or ``make year SEED=7``.

Starts a PostgreSQL of its own and plays a year for each seed; a person's year takes about 2 seconds, on a busy machine
more. Prints one JSON line a seed: what was compared, what went wrong on the way, and the divergence, which is 0.
When somebody has what they should not, it prints the seed and the person's history, and the exit code is 1.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import asyncpg
import uvloop

from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from tests.year.simulation import Diverged, simulate


async def main(options: argparse.Namespace) -> int:
    postgres = PrivatePostgres()
    with tempfile.TemporaryDirectory() as data:
        await postgres.start(Path(data) / "postgres", free_ports(1)[0], durable=False)
        try:
            return max([await _play(postgres, seed, options) for seed in options.seed])
        finally:
            await postgres.stop()


async def _play(postgres: PrivatePostgres, seed: int, options: argparse.Namespace) -> int:
    name = f"year_{seed}"
    session = await asyncpg.connect(postgres.url())
    await session.execute(f'CREATE DATABASE "{name}"')
    started = time.perf_counter()
    try:
        report = await simulate(postgres.url(name), seed, options.people, options.days, _tell)
    except Diverged as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        await session.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await session.close()
    print(json.dumps({**asdict(report), "seconds": round(time.perf_counter() - started)}), flush=True)
    return 0


def _tell(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m tests.year", description=__doc__.partition("\n")[2])
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one year each (default: 1)")
    parser.add_argument("--people", type=int, default=500, help="(default: %(default)s)")
    parser.add_argument("--days", type=int, default=365, help="(default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(main(arguments())))
