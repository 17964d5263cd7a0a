"""Processes of a service: asked to stop they finish what is in hand; what fails shows in readiness, and comes back."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from common.db.engine import Database
from common.service import HttpServer, PortTaken
from common.web.app import create_app
from embedded.processes import LOOPBACK, Child, free_ports, spawn
from tests.support.event_ledger import change, effects, emit, ledger, until
from tests.support.ways import variables_to

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with ledger(database_url) as opened:
        yield opened


class Process:
    """The small service's process and its address; its working directory is where the test leaves its signs."""

    def __init__(self, child: Child, port: int, folder: Path) -> None:
        self.child = child
        self.url = f"http://{LOOPBACK}:{port}"
        self.folder = folder

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer. Raises aiohttp.ClientError when nobody takes the request."""
        async with aiohttp.ClientSession() as client, client.get(self.url + path) as answer:
            return answer.status, await answer.json()

    async def becomes(self, status: int) -> Any:
        """The body of the first readiness answer with that status."""

        async def answer() -> Any:
            try:
                found, body = await self.get("/health/ready")
            except aiohttp.ClientError:
                return None
            return body if found == status else None

        return await until(answer, 30)

    async def sees(self, sign: str) -> None:
        async def there() -> bool:
            return (self.folder / sign).exists()

        await until(there)

    async def ends(self) -> int:
        async def ended() -> bool:
            return not self.child.running

        await until(ended, 35)
        return int(self.child.process.returncode)


@asynccontextmanager
async def started(command: str, folder: Path, settings: dict[str, str], port: int = 0) -> AsyncIterator[Process]:
    port = port or free_ports(1)[0]
    keys = {"GATEWAY_JWKS_URL": f"http://{LOOPBACK}:1/keys"}  # an API wants some; no request here is signed
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **keys, **settings}
    argv = [sys.executable, "-m", "tests.support.small_service", command, "--port", str(port)]
    child = spawn("ledger", argv, cwd=folder, log=folder / f"{command}.log", env=env)
    try:
        yield Process(child, port, folder)
    finally:
        await child.stop(first=signal.SIGKILL)


async def test_an_api_told_to_stop_answers_the_request_in_hand_and_exits_0(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    async with started("api", tmp_path, variables_to(database_url)) as process:
        await process.becomes(200)
        asked = asyncio.create_task(process.get("/slow"))
        await process.sees("begun")
        process.child.process.send_signal(signal.SIGTERM)
        await until(lambda: refuses(process))
        (tmp_path / "go-on").touch()
        assert await asked == (200, {"answer": 42})
        assert await process.ends() == 0


async def refuses(process: Process) -> bool:
    """Whether the process takes no new requests."""
    try:
        await process.get("/health/ready")
    except aiohttp.ClientError:
        return True
    return False


@pytest.fixture
def settings(database_url: str, rabbitmq_url: str) -> dict[str, str]:
    return {**variables_to(database_url), "RABBITMQ_URL": rabbitmq_url}


async def test_a_worker_told_to_stop_finishes_the_message_in_hand_and_exits_0(
    database: Database, settings: dict[str, str], tmp_path: Path
) -> None:
    async with started("worker", tmp_path, settings) as process:
        await process.becomes(200)
        await emit(database, change("user_slow", 1))
        await process.sees("begun")
        process.child.process.send_signal(signal.SIGTERM)
        await until(lambda: refuses(process))
        assert process.child.running
        (tmp_path / "go-on").touch()
        assert await process.ends() == 0
    assert await effects(database) == [("user_slow", 1)]


async def test_a_message_of_a_killed_worker_is_handled_by_the_next(
    database: Database, settings: dict[str, str], tmp_path: Path
) -> None:
    async with started("worker", tmp_path, settings) as first:
        await first.becomes(200)
        await emit(database, change("user_slow", 1))
        await first.sees("begun")
        first.child.process.kill()
        await first.ends()
    (tmp_path / "go-on").touch()
    async with started("worker", tmp_path, settings) as second:
        await second.becomes(200)
        assert await until(lambda: effects(database)) == [("user_slow", 1)]


async def test_a_loop_that_fails_makes_the_worker_unready_until_it_runs_again(
    database: Database, settings: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "broken").touch()
    async with started("worker", tmp_path, settings) as process:
        unready = await process.becomes(503)
        assert unready["missing"] == {"worker": "mending is down"}
        await emit(database, change("user_1", 1))
        assert await until(lambda: effects(database)) == [("user_1", 1)]  # the rest of the worker goes on
        (tmp_path / "broken").unlink()
        await process.sees("mended")
        await process.becomes(200)
        process.child.process.send_signal(signal.SIGTERM)
        assert await process.ends() == 0


async def test_a_taken_port_is_one_line_that_names_the_way_out(database_url: str, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        holder.listen()
        port = holder.getsockname()[1]
        async with started("api", tmp_path, variables_to(database_url), port) as process:
            assert await process.ends() == 1
    lines = (tmp_path / "api.log").read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"ledger: port {port} on {LOOPBACK} cannot be used")
    assert lines[0].endswith("choose another with --port")


async def test_a_worker_without_a_broker_address_says_so_in_one_line(database_url: str, tmp_path: Path) -> None:
    async with started("worker", tmp_path, variables_to(database_url)) as process:
        assert await process.ends() == 78
    lines = (tmp_path / "worker.log").read_text().splitlines()
    assert lines == ["ledger: RABBITMQ_URL: needed by `worker`; see .env.example"]


async def test_two_servers_never_share_a_port() -> None:
    app = create_app("one", title="one")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(HttpServer(app, LOOPBACK, 0))
        with pytest.raises(PortTaken, match="choose another"):
            HttpServer(app, LOOPBACK, server.port)
        async with aiohttp.ClientSession() as client:
            answer = await client.get(f"http://{LOOPBACK}:{server.port}/health/live")
            assert await answer.json() == {"ok": True}
