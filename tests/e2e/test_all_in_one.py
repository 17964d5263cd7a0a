"""The all-in-one run as a person starts it: a process, what it prints, its commands, and its ends."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from embedded.processes import LOOPBACK, free_ports
from media import m4a
from tests.support.legacy_files import fill
from tests.support.tiny_voices import fill_voices

START_SECONDS = 90
STOP_SECONDS = 30  # one or two on a quiet machine
SERVING = "serving; Ctrl-C stops"
TOKEN = re.compile(r"^  (eyJ[\w.-]+)$", re.MULTILINE)


class Run:
    """A started ``python -m embedded`` and all it has printed."""

    def __init__(self, child: asyncio.subprocess.Process, port: int, data: Path) -> None:
        self.child = child
        self.port = port
        self.data = data
        self.printed = ""

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def until_serving(self) -> None:
        assert self.child.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            while SERVING not in self.printed:
                line = await self.child.stdout.readline()
                assert line, f"ended early:\n{self.printed}"
                self.printed += line.decode()

    async def command(self, *arguments: str) -> tuple[int, str]:
        child = await _python(*arguments, "--port", str(self.port), "--data", str(self.data))
        output, _ = await child.communicate()
        return child.returncode or 0, output.decode().strip()


async def _python(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "embedded",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


@asynccontextmanager
async def running(data: Path, port: int) -> AsyncIterator[Run]:
    child = await _python("--data", str(data), "--port", str(port))
    run = Run(child, port, data)
    try:
        await run.until_serving()
        yield run
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


async def entitlement(run: Run, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(f"{run.url}/me/entitlement") as answer:
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["plan"])


async def until_plan(run: Run, token: str, plan: str) -> None:
    async with asyncio.timeout(30):
        while await entitlement(run, token) != plan:
            await asyncio.sleep(0.05)


async def rehearsed(settings: Path, file: Path) -> int:
    """Moves the prototype's file into the running product, as a person would from a shell; the exit status."""
    moving = f'set -a; . "{settings}"; exec "{sys.executable}" -m migration run "{file}" --report "{file}.json"'
    shell = await asyncio.create_subprocess_exec("sh", "-c", moving, env={"PATH": os.defpath})
    return await shell.wait()


@pytest.mark.timeout(300)
async def test_a_first_run_plays_the_journey_and_serves_until_it_is_stopped(tmp_path: Path, port: int) -> None:
    async with running(tmp_path, port) as run:
        audio = next(tmp_path.glob("journey/*.m4a"))
        assert m4a.unwrap(audio.read_bytes()).samples > 0
        assert str(audio) in run.printed
        free, pro = TOKEN.findall(run.printed)
        assert await entitlement(run, free) == "free"
        await until_plan(run, pro, "pro")

        code, token = await run.command("token", "ada", "--seconds", "600")
        assert code == 0
        assert await entitlement(run, token) == "free"
        assert (await run.command("store", "purchase", "ada"))[0] == 0
        await until_plan(run, token, "pro")
        assert (await run.command("store", "refund", "ada"))[0] == 0
        await until_plan(run, token, "free")

        code, said = await run.command("leave", "zoe")
        assert code == 0, said
        for store in ("identity", "billing", "revenuecat", "media", "storage", "clerk"):
            assert f"receipt of {store:<10}  completed" in said
        assert (await run.command("clerk", "change-email", "ada", "new@example.com"))[1].endswith(": 200")

        assert await run.command("parked", "list") == (0, "0 parked")
        assert await rehearsed(tmp_path / "run.env", fill(tmp_path / "dev.db")) == 0

        run.child.send_signal(signal.SIGINT)
        async with asyncio.timeout(STOP_SECONDS):
            assert await run.child.wait() == 0

    async with running(tmp_path, port) as again:
        assert "signed in as" not in again.printed
        again.child.kill()
        await again.child.wait()

    async with running(tmp_path, port) as after_kill:
        (_, pro) = TOKEN.findall(after_kill.printed)
        assert await entitlement(after_kill, pro) == "pro"


async def test_a_first_run_plays_its_journey_where_free_users_create(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIA_FREE_TIER", "create")
    async with running(tmp_path, port) as run:
        assert "created a session on the free plan, 1 left today" in run.printed


@pytest.mark.timeout(300)
async def test_a_first_run_speaks_with_the_voices_of_its_own_folder(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`.cache/voices`, as `make voices` fills it: a path from where it was started, in every process of the run."""
    data, cache = tmp_path / "data", tmp_path / "voices"
    cache.mkdir()
    fill_voices(cache)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDIA_SPEECH", "kokoro")
    monkeypatch.setenv("MEDIA_KOKORO_PATH", "voices")
    async with running(data, port) as run:
        assert "rendered in" in run.printed
        assert "not complete" not in run.printed


async def test_a_busy_port_is_one_line_that_names_the_way_out(tmp_path: Path, port: int) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, port))
        taken.listen()
        child = await _python("--data", str(tmp_path), "--port", str(port))
        output, _ = await child.communicate()
    assert child.returncode == 1
    [line] = output.decode().splitlines()
    assert str(port) in line
    assert "--port" in line


async def test_commands_without_a_run_say_how_to_start_one(tmp_path: Path, port: int) -> None:
    child = await _python("token", "ada", "--port", str(port), "--data", str(tmp_path))
    output, _ = await child.communicate()
    assert child.returncode == 1
    assert "make run" in output.decode()
