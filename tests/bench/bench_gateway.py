"""What the gateway costs, beside two compiled proxies: ``python -m tests.bench.bench_gateway --help``.

Starts HAProxy with jwt_verify, Envoy with jwt_authn and ``python -m gateway api``, one worker each, all of them before
the same upstream (another HAProxy, which answers 1 KB from memory) and given the same RS256 tokens. Every round goes
through all of them, so that noise hits all. Nothing is pinned to a core: load, proxy and upstream share the machine.

``saturation``: wrk asks on 64 connections as fast as answers come; CPU time of the proxy's process per request is in
microseconds and the steadiest of the figures. ``steady``: a fixed rate, timed from the instant a request was due;
what is *added* is the percentile through the proxy minus that of the upstream asked directly, in the same round.
Figures are [median, least, greatest] over the rounds, milliseconds if not said otherwise. Prints one JSON document.

With --soak the gateway alone is watched: steady load of users whose tokens live a minute, resident memory over time.
Exits with 3, naming what to install, when a program is missing.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.bench.load import percentile, request_bytes, saturate, steady
from tests.bench.proxies import ISSUER, REMEMBERED, TOOLS, Door, doors, missing_tools
from tests.support.token_forge import TokenForge

MISSING_TOOL = 3
PROXIES = ("haproxy", "envoy", "gateway")
TOKEN_SECONDS = 3600
SOAK_TOKEN_SECONDS = 60
SOAK_USERS = 1000
SOAK_FILL_SECONDS = 60.0
SOAK_SLICE_SECONDS = 5.0

Samples = dict[str, list[float]]


def user_token(forge: TokenForge, user: int, seconds: int) -> str:
    now = int(time.time())
    return forge.token(sub=f"user_{user:06}", sid=f"sess_{user:06}", iat=now, nbf=now - 10, exp=now + seconds)


def write_tokens(folder: Path, forge: TokenForge, users: int) -> Path:
    path = folder / f"tokens-{users}"
    path.write_text("".join(f"{user_token(forge, user, TOKEN_SECONDS)}\n" for user in range(users)))
    return path


def saturation_round(started: Mapping[str, Door], tokens: Path, samples: Samples, options: argparse.Namespace) -> None:
    for name, door in started.items():
        before = door.cpu_seconds(), time.perf_counter()
        found = saturate(options.wrk, door.port, tokens, connections=options.connections, seconds=options.seconds)
        cpu = door.cpu_seconds() - before[0]
        for what, value in (
            ("per_second", found.per_second),
            ("p50", found.p50),
            ("p99", found.p99),
            ("cpu_us", cpu * 1e6 / found.requests),
            ("cores", cpu / (time.perf_counter() - before[1])),
        ):
            samples.setdefault(f"{name}.{what}", []).append(value)


def steady_round(started: Mapping[str, Door], tokens: Path, samples: Samples, options: argparse.Namespace) -> None:
    requests = [request_bytes(token) for token in tokens.read_text().split()]
    times = {
        name: steady(door.port, itertools.cycle(requests), rate=options.rate, seconds=options.seconds)
        for name, door in started.items()
    }
    for percent in (50, 99):
        direct = percentile(times["direct"], percent)
        samples.setdefault(f"direct.p{percent}", []).append(direct)
        for name in PROXIES:
            samples.setdefault(f"{name}.added_p{percent}", []).append(percentile(times[name], percent) - direct)


def compare(folder: Path, forge: TokenForge, started: Mapping[str, Door], options: argparse.Namespace) -> Any:
    tokens = {users: write_tokens(folder, forge, users) for users in options.users}
    saturated: dict[int, Samples] = {users: {} for users in options.users}
    level: Samples = {}
    for number in range(options.rounds):
        for users in options.users:
            saturation_round(started, tokens[users], saturated[users], options)
        steady_round(started, tokens[max(options.users)], level, options)
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    return {
        "machine": {"python": sys.version.split()[0], "cores": os.cpu_count()},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": options.connections,
        "saturation": {f"{users} users": saturation_report(samples) for users, samples in saturated.items()},
        f"steady {options.rate:g}/s": grouped(level),
        "gateway_resident_megabytes": round(started["gateway"].resident_megabytes(), 1),
    }


def saturation_report(samples: Samples) -> dict[str, Any]:
    return grouped(samples) | {
        f"gateway_to_{other}": {
            "per_second": spread(ratios(samples, "gateway.per_second", f"{other}.per_second")),
            "per_core": spread(ratios(samples, f"{other}.cpu_us", "gateway.cpu_us")),
        }
        for other in ("haproxy", "envoy")
    }


def ratios(samples: Samples, ours: str, reference: str) -> list[float]:
    """Each round by itself: what slowed one down slowed both its halves."""
    return [mine / other for mine, other in zip(samples[ours], samples[reference], strict=True)]


def grouped(samples: Samples) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for name, values in samples.items():
        proxy, _, what = name.partition(".")
        report.setdefault(proxy, {})[what] = spread(values)
    return report


def spread(values: list[float]) -> list[float]:
    return [round(value, 3) for value in (statistics.median(values), min(values), max(values))]


def soak(folder: Path, forge: TokenForge, gateway: Door, options: argparse.Namespace) -> Any:
    """Resident memory once every bounded memory is full: more tokens than are remembered go through beforehand."""
    first = gateway.resident_megabytes()
    tokens = write_tokens(folder, forge, 2 * REMEMBERED)
    filled = saturate(options.wrk, gateway.port, tokens, connections=options.connections, seconds=SOAK_FILL_SECONDS)
    if filled.requests < REMEMBERED:
        raise RuntimeError(f"only {filled.requests} tokens went through beforehand")
    requests = renewed_requests(forge)
    times: list[float] = []
    memory: list[tuple[float, float]] = []
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < options.soak * 60:
        memory.append((elapsed / 60, gateway.resident_megabytes()))
        times += steady(gateway.port, requests, rate=options.rate, seconds=SOAK_SLICE_SECONDS)
    memory.append((elapsed / 60, gateway.resident_megabytes()))
    second_half = memory[len(memory) // 2 :]
    every = max(1, len(memory) // 20)
    return {
        "minutes": options.soak,
        "rate": options.rate,
        "users": SOAK_USERS,
        "requests": len(times),
        "p50": round(percentile(times, 50), 3),
        "p99": round(percentile(times, 99), 3),
        "megabytes_before_any_request": round(first, 1),
        "megabytes_first_and_last": [round(memory[0][1], 1), round(memory[-1][1], 1)],
        "megabytes_per_hour": slope(memory),
        "megabytes_per_hour_in_the_second_half": slope(second_half),
        "minute_and_megabytes": [[round(minute, 1), round(size, 1)] for minute, size in memory[::every]],
    }


def slope(memory: list[tuple[float, float]]) -> float:
    """Megabytes per hour, of minutes and megabytes."""
    return round(statistics.linear_regression(*zip(*memory, strict=True)).slope * 60, 2)


def renewed_requests(forge: TokenForge) -> Iterator[bytes]:
    """Of each user in turn, with a new token when the old one has 10 seconds left, as the app asks for one."""
    kept: list[tuple[float, bytes]] = [(0.0, b"")] * SOAK_USERS
    for user in itertools.cycle(range(SOAK_USERS)):
        until, request = kept[user]
        if time.time() > until:
            request = request_bytes(user_token(forge, user, SOAK_TOKEN_SECONDS))
            kept[user] = time.time() + SOAK_TOKEN_SECONDS - 10, request
        yield request


async def measure(options: argparse.Namespace) -> Any:
    forge = TokenForge(ISSUER)
    with tempfile.TemporaryDirectory() as folder:
        async with doors(Path(folder), forge, options) as started:
            if options.soak:
                return soak(Path(folder), forge, started["gateway"], options)
            return compare(Path(folder), forge, started, options)


def main() -> int:
    options = arguments()
    missing = list(missing_tools(options))
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return MISSING_TOOL
    print(as_text(asyncio.run(measure(options))))
    return 0


def as_text(report: Any) -> str:
    """JSON with each list of figures on one line."""
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), json.dumps(report, indent=2))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.bench_gateway",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds through all of them (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="seconds per measure (default: %(default)s)")
    parser.add_argument(
        "--users",
        type=int,
        nargs="+",
        default=[1, 1000, 2 * REMEMBERED],
        help=f"users in rotation, a token each; beyond {REMEMBERED} nobody's is remembered (default: %(default)s)",
    )
    parser.add_argument("--connections", type=int, default=64, help="of wrk (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=500, help="steady requests a second (default: %(default)s)")
    parser.add_argument(
        "--soak", type=float, nargs="?", const=10, metavar="MINUTES", help="watch memory for so long (10)"
    )
    for name, install in TOOLS.items():
        parser.add_argument(f"--{name}", default=name, metavar="PROGRAM", help=install)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
