"""How fast the prototype's file is moved and proved, beside pgloader copying the same file.

    python -m tests.bench.bench_migration [--rows 1000000] [--rounds 1] [--reference pgloader] [--json FILE]

Prints JSON. Both fill empty databases of the same private server, in turn, with its settings as they are: one that
does not wait for the disk, so a commit costs neither anything. Rows are those of the file, whatever is made of them.

Ours is a snapshot by the backup API, two hashes, a look at every value, the archive with its primary keys, the
services' tables under their keys and indexes, and the comparison of both ends ("proof"). "copy" is all of our process's
time but the proof, its start and end included. Not counted for ours: making the services' tables, which are there
before anybody migrates. There are no audio files, so nothing is brought to a store.

The reference's time is that of its process. It reads the file itself, makes the tables, copies them, then makes the
indexes, primary and foreign keys the file declares, as it does by itself. But it is told to take dates and booleans as
whole numbers: by itself it reads milliseconds as years and refuses the rows.

"processor seconds" are those of the process, of the server for it, and of all else on the machine meanwhile: a round in
which that is much says little. Figures are the best of the rounds. Exits with 3 when the reference is missing (ours is
still printed).
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from tests.support.legacy_files import Amounts, fill
from tests.support.migration import Target, prepare

MISSING_REFERENCE = 3
ROWS_A_USER = 157.8
AMOUNTS = {"sessions": 6, "lines": 12}
_LOAD = """
LOAD DATABASE FROM sqlite://{file} INTO {url}
WITH include drop, create tables, create indexes, reset sequences
CAST type datetime to bigint drop default, type boolean to bigint drop default;
"""


def main() -> int:
    options = _options()
    reference = shutil.which(options.reference)
    with tempfile.TemporaryDirectory(prefix="bench-migration-") as folder:
        file = Path(folder) / "dev.db"
        # apart, as a process's memory counts what its parent held when it began
        filling = multiprocessing.get_context("spawn").Process(target=_fill, args=(file, options.rows))
        filling.start()
        filling.join()
        rounds = asyncio.run(_rounds(Path(folder), file, reference, options.rounds))
        size = file.stat().st_size
    report = {
        "machine": {"python": platform.python_version(), "cores": os.cpu_count()},
        "file MB": round(size / 1e6),
        **_best(rounds),
        "rounds": rounds,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    if reference is None:
        print(f"the reference is missing: {options.reference!r} is not installed", file=sys.stderr)
        return MISSING_REFERENCE
    return 0


def _fill(file: Path, rows: int) -> None:
    fill(file, Amounts(users=round(rows / ROWS_A_USER), **AMOUNTS))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--reference", default="pgloader", help="command to compare with (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    return parser.parse_args()


async def _rounds(folder: Path, file: Path, reference: str | None, count: int) -> list[dict[str, Any]]:
    server = PrivatePostgres()
    (port,) = free_ports(1)
    await server.start(folder / "postgres", port, durable=False)
    try:
        found = []
        for number in range(count):
            found.append({"ours": await _ours(server, file, number)})
            if reference is not None:
                found[-1]["reference"] = await _theirs(server, file, reference, number)
        return found
    finally:
        await server.stop()


async def _ours(server: PrivatePostgres, file: Path, number: int) -> dict[str, Any]:
    target = await prepare(await _database(server, f"ours_{number}"))
    report = file.with_suffix(".json")
    command = [sys.executable, "-m", "migration", "run", str(file), "--report", str(report)]
    whole, memory, processor = await _run(command, target, server)
    await _drop(server, f"ours_{number}")
    certificate = json.loads(report.read_text())
    assert certificate["complete"]
    proof = sum(seconds for step, seconds in certificate["seconds"].items() if step.startswith("proving"))
    copy = whole - proof
    rows = certificate["rows"]
    return {
        "rows": rows,
        "copy seconds": round(copy, 2),
        "proof seconds": round(proof, 2),
        "seconds by step": certificate["seconds"],
        "copy rows/s": round(rows / copy),
        "copy and proof over copy": round((copy + proof) / copy, 2),
        "peak memory MB": round(memory / 1024),
        "processor seconds": processor,
    }


async def _theirs(server: PrivatePostgres, file: Path, reference: str, number: int) -> dict[str, Any]:
    url = await _database(server, f"theirs_{number}")
    commands = file.with_suffix(".load")
    commands.write_text(_LOAD.format(file=file, url=url))
    seconds, memory, processor = await _run([reference, "--quiet", str(commands)], None, server)
    rows = await _count(url)
    await _drop(server, f"theirs_{number}")
    return {
        "rows": rows,
        "seconds": round(seconds, 2),
        "rows/s": round(rows / seconds),
        "peak memory MB": round(memory / 1024),
        "processor seconds": processor,
    }


async def _run(
    command: list[str], target: Target | None, server: PrivatePostgres
) -> tuple[float, int, dict[str, float]]:
    """Runs it; how long it took, the most memory it held, in KiB, and who took how much of the processors' time."""
    of_server, of_all, begun = _server_seconds(server), _busy_seconds(), time.monotonic()
    environment = {**os.environ, **(target.environment if target else {})}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = await asyncio.to_thread(process.stderr.read) if process.stderr else b""
    _, status, usage = await asyncio.to_thread(os.wait4, process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {error.decode()[-2000:]}")
    seconds = time.monotonic() - begun
    tool, served = usage.ru_utime + usage.ru_stime, _server_seconds(server) - of_server
    parts = {"process": tool, "server": served, "all else": _busy_seconds() - of_all - tool - served}
    return seconds, usage.ru_maxrss, {name: round(part, 2) for name, part in parts.items()}


def _server_seconds(server: PrivatePostgres) -> float:
    """What the server has used of the processors, its ended sessions included."""
    pid = server.pid
    assert pid is not None, "the server runs"
    living = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own, ended = _ticks(pid, 11, 13), _ticks(pid, 13, 15)
    return (own + ended + sum(_ticks(int(child), 11, 13) for child in living)) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int, first: int, end: int) -> int:
    """Fields of a process's `stat`, counted after its name; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return sum(map(int, fields[first:end]))


def _busy_seconds() -> float:
    """What everybody has used of the processors."""
    user, nice, system, _idle, _waiting, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


async def _database(server: PrivatePostgres, name: str) -> str:
    session = await asyncpg.connect(server.url())
    await session.execute(f"CREATE DATABASE {name}")
    await session.close()
    return server.url(name)


async def _drop(server: PrivatePostgres, name: str) -> None:
    """So that nobody has to wait for what was written before them."""
    session = await asyncpg.connect(server.url())
    await session.execute(f"DROP DATABASE {name} (FORCE)")
    await session.execute("CHECKPOINT")
    await session.close()


async def _count(url: str) -> int:
    session = await asyncpg.connect(url)
    tables = await session.fetch(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'"
    )
    counts = [await session.fetchval(f"SELECT count(*) FROM {table[0]}") for table in tables]
    await session.close()
    return sum(counts)


def _best(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    ours = max((one["ours"] for one in rounds), key=lambda one: one["copy rows/s"])
    theirs = max(
        (one["reference"] for one in rounds if "reference" in one), key=lambda one: one["rows/s"], default=None
    )
    return {
        "ours": ours,
        "reference": theirs,
        "copy rows/s over the reference's": round(ours["copy rows/s"] / theirs["rows/s"], 2) if theirs else None,
    }


if __name__ == "__main__":
    sys.exit(main())
