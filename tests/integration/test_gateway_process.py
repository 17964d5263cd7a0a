"""The gateway as operators run it: a process, its settings from the environment, its ports and its end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import aiohttp
import pytest

from tests.support.deployment import spaced_ports
from tests.support.running_gateway import EchoService, KeyServer
from tests.support.token_forge import TokenForge, new_p256_pem


def environment(**settings: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "GATEWAY_SIGNING_KEY": new_p256_pem(), **settings}


def api(port: int) -> list[str]:
    return [sys.executable, "-m", "gateway", "api", "--port", str(port)]


async def said(log: asyncio.StreamReader, event: str) -> None:
    """Reads the log until the event is in it."""
    while json.loads(await log.readline())["event"] != event:
        continue


async def test_it_serves_says_it_is_ready_and_leaves_when_told() -> None:
    async with KeyServer() as keys, aiohttp.ClientSession() as http, asyncio.timeout(60):
        forge = TokenForge("https://clerk.test")
        keys.document = forge.key_set()
        (port,) = spaced_ports(1)
        settings = environment(CLERK_ISSUERS=forge.issuer, CLERK_JWKS_URL=keys.jwks_url)
        process = await asyncio.create_subprocess_exec(*api(port), env=settings, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        await said(process.stderr, "api_started")
        async with http.get(f"http://127.0.0.1:{port}/health") as answer:
            assert await answer.json() == {"ok": True}
        async with http.get(f"http://127.0.0.1:{port + 100}/.well-known/jwks.json") as answer:
            assert len((await answer.json())["keys"]) == 1
        process.send_signal(signal.SIGTERM)
        await process.stderr.read()
        assert await process.wait() == 0


async def test_told_to_stop_it_finishes_what_is_in_hand() -> None:
    async with KeyServer() as keys, EchoService() as service, aiohttp.ClientSession() as http, asyncio.timeout(60):
        forge = TokenForge("https://clerk.test")
        keys.document = forge.key_set()
        (port,) = spaced_ports(1)
        settings = environment(
            CLERK_ISSUERS=forge.issuer, CLERK_JWKS_URL=keys.jwks_url, IDENTITY_URL=service.url, PUBLIC_URL=service.url
        )
        process = await asyncio.create_subprocess_exec(*api(port), env=settings, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        await said(process.stderr, "api_started")
        headers = {"Authorization": f"Bearer {forge.token()}"}
        async with http.get(f"http://127.0.0.1:{port}/me/export", headers=headers) as answer:
            assert await answer.content.readline() == b"data: first\n"
            process.send_signal(signal.SIGTERM)
            await said(process.stderr, "stopping")
            service.go_on.set()
            assert (await answer.content.read()).endswith(b"data: second\n\n")
        await process.stderr.read()
        assert await process.wait() == 0


async def test_every_request_is_one_line_in_the_log_and_no_secret_is(tmp_path: Path) -> None:
    async with KeyServer() as keys, EchoService() as service, aiohttp.ClientSession() as http, asyncio.timeout(60):
        forge = TokenForge("https://clerk.test")
        keys.document = forge.key_set()
        (port,) = spaced_ports(1)
        settings = environment(CLERK_ISSUERS=forge.issuer, CLERK_JWKS_URL=keys.jwks_url, MEDIA_URL=service.url)
        process = await asyncio.create_subprocess_exec(*api(port), env=settings, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        await said(process.stderr, "api_started")
        good, forged = forge.token(), TokenForge(forge.issuer).token()
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        for path, token in (("/sessions/s-1?access_token=hidden", good), ("/jobs/7", forged), ("/nowhere", good)):
            headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "request-1", "traceparent": trace}
            async with http.get(f"http://127.0.0.1:{port}{path}", headers=headers) as answer:
                await answer.read()
        process.send_signal(signal.SIGTERM)
        log = (await process.stderr.read()).decode()
        assert await process.wait() == 0
    lines = [line for line in map(json.loads, log.splitlines()) if line["event"] == "request"]
    assert [(line["route"], line["status"], line.get("refused")) for line in lines] == [
        ("/sessions/{id}", 200, None), ("/jobs/{id}", 401, "bad_signature"), ("unmatched", 404, None),
    ]  # fmt: skip
    for line in lines:
        assert (line["method"], line["service"], line["level"]) == ("GET", "gateway", "info")
        assert (line["request_id"], line["trace_id"]) == ("request-1", trace.split("-")[1])
        assert line["ms"] >= 0
        assert line["timestamp"].endswith("Z")
    for secret in (good, good.split(".")[2], forged.split(".")[2], "hidden", "s-1"):
        assert secret not in log


@dataclass
class Tally:
    """Requests that were written whole to an open socket, and those that were answered."""

    sent: int = 0
    answered: int = 0
    bidden_goodbye: int = 0
    """Answers that closed a socket which its caller would have kept."""


class Caller:
    """Asks over one kept socket after the other, or over a new one each time, until nobody listens any more."""

    def __init__(self, port: int, token: str, tally: Tally, *, keep: bool) -> None:
        self._port = port
        self._keep = keep
        closing = "" if keep else "Connection: close\r\n"
        self._request = f"GET /me HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{closing}\r\n".encode()
        self._tally = tally

    async def call_until_refused(self) -> None:
        with suppress(ConnectionRefusedError):
            while True:
                await self.open()
                while await self.ask():
                    continue

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self) -> bool:
        """Whether the socket may be used again. Counts nothing on a socket that was closed while it lay idle."""
        if self._reader.at_eof():
            return False
        self._writer.write(self._request)
        self._tally.sent += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            await self._reader.readexactly(length)
            self._tally.answered += head.startswith(b"http/1.1 200")
            if b"connection: close" not in head:
                return True
            self._tally.bidden_goodbye += self._keep
        self._writer.close()
        return False


async def test_told_to_stop_under_load_it_loses_no_request() -> None:
    async with KeyServer() as keys, EchoService() as service, asyncio.timeout(90):
        forge = TokenForge("https://clerk.test")
        keys.document = forge.key_set()
        (port,) = spaced_ports(1)
        settings = environment(CLERK_ISSUERS=forge.issuer, CLERK_JWKS_URL=keys.jwks_url, IDENTITY_URL=service.url)
        with TemporaryFile() as log:
            process = await asyncio.create_subprocess_exec(*api(port), env=settings, stderr=log)
            await until_it_answers(port)
            busy, idle, tally = [], [], Tally()
            for number in range(24):
                busy.append(Caller(port, forge.token(), tally, keep=number % 2 == 0))
                idle.append(Caller(port, forge.token(), tally, keep=True))
            for caller in idle:
                await caller.open()
                assert await caller.ask()
            calling = [asyncio.create_task(caller.call_until_refused()) for caller in busy]
            while tally.answered < 500:
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            before = tally.answered
            while not tally.bidden_goodbye:  # it takes requests for some seconds more, however few they are
                await asyncio.sleep(0.01)
            assert await asyncio.gather(*(caller.ask() for caller in idle)) == [False] * len(idle)
            await asyncio.gather(*calling)
            assert await process.wait() == 0
        assert tally.answered == tally.sent > before
        assert tally.bidden_goodbye >= len(idle) + 12


async def until_it_answers(port: int) -> None:
    async with aiohttp.ClientSession() as http:
        while True:
            with suppress(aiohttp.ClientConnectionError):
                async with http.get(f"http://127.0.0.1:{port}/health") as answer:
                    assert answer.status == 200
                    return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({}, "gateway: settings: set CLERK_PUBLISHABLE_KEY"),
        ({"GATEWAY_SIGNING_KEY": ""}, "gateway: GATEWAY_SIGNING_KEY: Field required"),
        (
            {"CLERK_ISSUERS": "https://a.test", "CLERK_JWKS_URL": "https://a.test/k", "GATEWAY_DEVELOPMENT_USER": "u"},
            "gateway: settings: GATEWAY_DEVELOPMENT_USER is refused",
        ),
    ],
    ids=["nobody to trust", "no key", "development user in production"],
)
def test_a_bad_set_of_settings_ends_it_with_the_reason(
    settings: dict[str, str], complaint: str, tmp_path: Path
) -> None:
    ran = subprocess.run(
        api(8787), env=environment(**settings), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (78, "")
    assert complaint in ran.stderr
    assert "Traceback" not in ran.stderr


async def test_a_second_issuer_that_signs_with_a_shared_secret_ends_it_with_the_reason(tmp_path: Path) -> None:
    async with KeyServer({"keys": []}) as keys:
        settings = environment(CLERK_ISSUERS="https://a.test", CLERK_JWKS_URL=keys.jwks_url, SUPABASE_URL=keys.url)
        process = await asyncio.create_subprocess_exec(
            *api(spaced_ports(1)[0]), env=settings, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(process.communicate(), 60)
    complaint = said.decode().strip().splitlines()[-1]
    assert process.returncode == 78
    assert complaint.startswith(f"gateway: SUPABASE_URL: {keys.url}/auth/v1/.well-known/jwks.json lists no ES256")
    assert "HS256" in complaint
    assert "Traceback" not in said.decode()


async def test_a_taken_port_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    async with KeyServer({}) as keys:
        settings = environment(CLERK_ISSUERS="https://a.test", CLERK_JWKS_URL=keys.jwks_url)
        process = await asyncio.create_subprocess_exec(
            *api(keys.port), env=settings, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(process.communicate(), 60)
    complaint = said.decode().strip().splitlines()[-1]
    assert process.returncode == 1
    assert complaint.startswith(f"gateway: port {keys.port} on 127.0.0.1 cannot be used")
    assert "--port" in complaint


def test_documents_of_services_become_one(tmp_path: Path) -> None:
    operation = {"responses": {"200": {"description": "ok"}}}
    document = tmp_path / "media.json"
    document.write_text(json.dumps({"paths": {"/voices": {"get": operation}, "/inside": {"get": operation}}}))
    ran = subprocess.run(
        [sys.executable, "-m", "gateway", "openapi", str(document)],
        env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(ran.stdout)["paths"].keys() == {"/health", "/voices"}
