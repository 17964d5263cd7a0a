"""What users leave behind in the databases and in the bucket: ``python -m tests.bench.bench_growth --help``.

Plays each thing a user does many times through the whole running product, on real PostgreSQL and S3, and measures what
the schemas grew by. Multiplied by how often a thousand users do it in a month, that is the growth; rows that are kept
for some days only are named beside it. Prints one JSON document: bytes.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from embedded.composition import BUCKET
from embedded.databases import NAME
from tests.support.media import draft
from tests.support.playground import Playground, playground

SCHEMAS = ("identity", "billing", "media")
PASSING = ("outbox", "inbox", "webhook_seen", "ended_session", "session_start", "daily_use")
"""Tables whose rows go after days or weeks: their growth ends."""
MONTH = {
    "sign up, values, preferences": 1000 / 12,
    "purchase": 1000 * 0.10 / 12,
    "renewal": 1000 * 0.10,
    "session started, heard to the end": 1000 * 12,
    "own session of 6 lines": 1000 * 0.10 * 4,
}
"""How often 1,000 active users do it: as many as joined in a year, a tenth of them pro, monthly; three sessions a week;
a pro user writes one a week.
"""
HEARD = 8
"""Sessions of the catalogue that each buyer listens to."""
_SIZES = """
    SELECT relnamespace::regnamespace::text, relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace::regnamespace::text = ANY($1)
"""


class Growth:
    """Plays on one ground; ``users`` of them sign up, and the first ``buyers`` buy."""

    def __init__(self, ground: Playground, users: int, buyers: int, renders: int) -> None:
        self._ground = ground
        self._users = [f"user_grow{number:04d}" for number in range(users)]
        self._buyers = self._users[:buyers]
        self._renders = renders

    async def measure(self) -> dict[str, dict[str, Any]]:
        """By act: how often it was played, bytes it left in each table, and in the bucket."""
        catalogue = [one["id"] for one in (await self._ground.get(self._users[0], "/sessions"))["sessions"]]
        for session in catalogue:
            await self._audio(self._buyers[0], session)
        acts: Mapping[str, tuple[Sequence[Any], Callable[[Any], Awaitable[None]]]] = {
            "sign up, values, preferences": (self._users[1:], self._sign_up),
            "purchase": (self._buyers, self._ground.buy),
            "renewal": (self._buyers, self._renew),
            "session started, heard to the end": (
                [(user, session) for user in self._buyers for session in catalogue[:HEARD]],
                self._listen,
            ),
            "own session of 6 lines": (self._buyers[: self._renders], self._write),
        }
        return {name: await self._played(name, *act) for name, act in acts.items()}

    async def _played(
        self, name: str, subjects: Sequence[Any], act: Callable[[Any], Awaitable[None]]
    ) -> dict[str, Any]:
        print(f"{name}: {len(subjects)} times", file=sys.stderr)
        before, stored = await self._sizes(), await self._stored()
        for subject in subjects:
            await act(subject)
        await asyncio.sleep(3)  # what follows from it through the queues is part of it
        after, times = await self._sizes(), len(subjects)
        tables = {table: round((size - before.get(table, 0)) / times) for table, size in after.items()}
        return {
            "times": times,
            "tables": {table: size for table, size in sorted(tables.items()) if size > 0},
            "bucket": round((await self._stored() - stored) / times),
        }

    async def _sign_up(self, user: str) -> None:
        self._ground.product.clerk.sign_up(user)
        await self._ground.get(user, "/me")
        chosen = [{"valueId": f"v{number}", "valueText": f"A value of number {number}"} for number in range(5)]
        await self._send(user, "POST", "/me/values", {"values": chosen})
        await self._send(user, "POST", "/me/curation/preferences", {"primaryGoal": "Sleep"})

    async def _renew(self, user: str) -> None:
        self._ground.product.store.renew(user)

    async def _listen(self, both: tuple[str, str]) -> None:
        user, session = both
        await self._send(user, "POST", f"/sessions/{session}/start", {})
        for kind in ("start", "complete"):
            await self._send(user, "POST", f"/sessions/{session}/events", {"eventType": kind})

    async def _write(self, user: str) -> None:
        lines = [f"I take step {number} of {user[-4:]} in my own time, and it is enough" for number in range(6)]
        made = await self._send(user, "POST", "/sessions", draft(affirmations=lines))
        await self._audio(user, made["id"])

    async def _audio(self, user: str, session: str) -> None:
        """Returns when the session can be heard."""
        async with asyncio.timeout(300):
            while "audio" not in await self._ground.get(user, f"/sessions/{session}"):
                await asyncio.sleep(0.1)

    async def _send(self, user: str, method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._ground.product.clerk.session_token(user)}"}
        url = self._ground.product.url + path
        async with self._ground.http.request(method, url, json=body, headers=headers) as answer:
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")
            return await answer.json()

    async def _sizes(self) -> dict[str, int]:
        session = await asyncpg.connect(self._ground.product.postgres.url(NAME))
        try:
            found = await session.fetch(_SIZES, SCHEMAS)
            return {f"{schema}.{table}": size for schema, table, size in found}
        finally:
            await session.close()

    async def _stored(self) -> int:
        """Bytes of all objects."""
        async with self._ground.product.objects.client() as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
            return sum([one["Size"] async for page in pages for one in page.get("Contents", ())])


def in_a_month(acts: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Megabytes that 1,000 users add in a month: for as long as they stay, for a while, and in the bucket."""
    lasting = passing = bucket = 0.0
    for name, act in acts.items():
        for table, size in act["tables"].items():
            if table.partition(".")[2] in PASSING:
                passing += size * MONTH[name]
            else:
                lasting += size * MONTH[name]
        bucket += act["bucket"] * MONTH[name]
    return {"lasting": round(lasting / 1e6, 1), "passing": round(passing / 1e6, 1), "bucket": round(bucket / 1e6, 1)}


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    # what the product says of its start belongs beside the result, not into it
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        async with playground(Path(folder)) as ground:
            acts = await Growth(ground, arguments.users, arguments.buyers, arguments.renders).measure()
    return {"month_of_1000_users": MONTH, "acts": acts, "megabytes": in_a_month(acts)}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.bench_growth",
        description=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--users", type=int, default=400, help="who sign up (default: %(default)s)")
    parser.add_argument("--buyers", type=int, default=100, help="of them, who buy and listen (default: %(default)s)")
    parser.add_argument("--renders", type=int, default=20, help="sessions written (default: %(default)s)")
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())
    print(json.dumps(asyncio.run(run(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
