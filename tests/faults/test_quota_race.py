"""One free user, three processes, two hundred requests at once: two are granted, whichever they are."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from common.internal_tokens import InternalTokenIssuer, public_keys_document
from common.signatures import private_key_from_pem
from embedded.kept_files import new_p256_key, private_pem
from tests.support.callers import Answer, Api, all_at_once
from tests.support.media import Media, draft, media, settings
from tests.support.worker_processes import WorkerProcesses, environment_of

PROCESSES, REQUESTS = 3, 200


@asynccontextmanager
async def processes(folder: Path, database_url: str, **more: Any) -> AsyncIterator[tuple[Media, list[Api]]]:
    """The service in this process, to arrange and to look; and what calls the others, all as one free user."""
    issuer = InternalTokenIssuer(private_key_from_pem(private_pem(new_p256_key())))
    configured = settings(database_url, gateway_jwks_url=None, gateway_public_keys=public_keys_document(issuer), **more)
    async with AsyncExitStack() as stack:
        [here] = await stack.enter_async_context(media(settings(database_url, **more)))
        started = WorkerProcesses("media", environment_of(configured), folder, command="api")
        await stack.enter_async_context(started)
        await asyncio.gather(*(started.start() for _ in range(PROCESSES)))
        token = issuer.mint(("media",), request_id="request-1", user_id="user_1").text
        unlimited = [aiohttp.TCPConnector(limit=0) for _ in started.urls]
        sessions = [
            await stack.enter_async_context(aiohttp.ClientSession(url, connector=connector))
            for url, connector in zip(started.urls, unlimited, strict=True)
        ]
        yield here, [Api(session, token) for session in sessions]


async def post_all(callers: list[Api], asked: Sequence[tuple[str, Any]]) -> list[Answer]:
    """What the processes, in turn, answer to each path and body."""
    posts = [partial(callers[place % PROCESSES].post, *one) for place, one in enumerate(asked)]
    return await all_at_once(*posts)


def outcomes(answers: list[Answer]) -> Counter[tuple[int, str]]:
    return Counter((answer.status, answer.json.get("code", "")) for answer in answers)


@pytest.mark.timeout(90)
async def test_of_two_hundred_starts_over_three_processes_two_succeed(tmp_path: Path, database_url: str) -> None:
    async with processes(tmp_path, database_url) as (here, callers):
        sessions = [await here.session() for _ in range(REQUESTS)]
        answers = await post_all(callers, [(f"/sessions/{one}/start", None) for one in sessions])
        assert outcomes(answers) == {(200, ""): 2, (403, "FREE_LIMIT_REACHED"): REQUESTS - 2}
        started = [answer.json["bundle"]["sessionId"] for answer in answers if answer.status == 200]
        repeats = await post_all(callers, [(f"/sessions/{one}/start", None) for one in started * 15])
        assert outcomes(repeats) == {(200, ""): 30}
        assert await here.rows("SELECT starts, creations FROM media.daily_use") == [{"starts": 2, "creations": 0}]
        assert len(await here.rows("SELECT 1 FROM media.session_start")) == 2


@pytest.mark.timeout(90)
async def test_of_two_hundred_creations_over_three_processes_two_succeed(tmp_path: Path, database_url: str) -> None:
    async with processes(tmp_path, database_url, media_free_tier="create") as (here, callers):
        bodies = [draft() for _ in range(REQUESTS)]
        answers = await post_all(callers, [("/sessions", body) for body in bodies])
        assert outcomes(answers) == {(201, ""): 2, (403, "FREE_LIMIT_REACHED"): REQUESTS - 2}
        [kept, _] = [place for place, answer in enumerate(answers) if answer.status == 201]
        again = await post_all(callers, [("/sessions", bodies[kept])] * 30)
        assert {(answer.status, answer.json["id"]) for answer in again} == {(201, answers[kept].json["id"])}
        assert await here.rows("SELECT starts, creations FROM media.daily_use") == [{"starts": 0, "creations": 2}]
        for table in ("session", "job"):
            assert await here.rows(f"SELECT count(*) FROM media.{table}") == [{"count": 2}]
