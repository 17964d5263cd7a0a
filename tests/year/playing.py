"""One year of the long form, in a process of its own."""

import argparse
import json
import sys
import time
from dataclasses import asdict

import asyncpg

from common.service import run_process
from tests.year.simulation import Diverged, simulate


def play(server_url: str, database_url: str, seed: int, options: argparse.Namespace) -> int:
    """Plays it on a database made for it and prints what came of it; the exit code."""
    return run_process(_play(server_url, database_url, seed, options))


async def _play(server_url: str, database_url: str, seed: int, options: argparse.Namespace) -> int:
    session = await asyncpg.connect(server_url)
    await session.execute(f'CREATE DATABASE "year_{seed}"')
    started = time.perf_counter()
    try:
        report = await simulate(database_url, seed, options.people, options.days, _tell)
    except Diverged as error:
        _tell(str(error))
        return 1
    finally:
        await session.execute(f'DROP DATABASE "year_{seed}" WITH (FORCE)')
        await session.close()
    print(json.dumps({**asdict(report), "seconds": round(time.perf_counter() - started)}), flush=True)
    return 0


def _tell(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)
