"""How often one may ask, over real HTTP: in one gateway's memory, and in a Valkey that two share."""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import structlog

from gateway import rate_limits
from gateway.allowances import BROWSING, CHANGING, GENERATING, GUESSING, NOTIFYING
from tests.support.running_gateway import RunningGateway, envelope, running_gateway
from tests.support.valkey import PrivateValkey


async def asked(
    gateway: RunningGateway, method: str, path: str, **options: Any
) -> tuple[int, Mapping[str, str], bytes]:
    async with gateway.http.request(method, gateway.url + path, **options) as answer:
        return answer.status, answer.headers, await answer.read()


async def statuses(gateway: RunningGateway, count: int, method: str, path: str, **options: Any) -> list[int]:
    """Of so many requests, some tens of them at a time."""
    gate = asyncio.Semaphore(32)

    async def one() -> int:
        async with gate:
            return (await asked(gateway, method, path, **options))[0]

    return await asyncio.gather(*(one() for _ in range(count)))


async def uncounted(gateway: RunningGateway) -> float:
    async with gateway.http.get(f"{gateway.internal_url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("rate_limit_uncounted_total ")))


async def test_the_sixth_generation_in_a_minute_waits_for_the_next_window() -> None:
    async with running_gateway() as gateway:
        ada = gateway.signed_in(sub="user_ada")
        before = time.time()
        for left in (4, 3, 2, 1, 0):
            status, headers, _ = await asked(gateway, "POST", "/affirmations/generate", headers=ada, data=b"{}")
            assert status == 200
            assert headers["RateLimit-Policy"] == '"generating";q=5;w=60'
            assert headers["RateLimit"].startswith(f'"generating";r={left};t=')
        status, headers, body = await asked(gateway, "POST", "/affirmations/generate", headers=ada, data=b"{}")
        assert status == 429
        refusal = envelope(body)
        assert refusal["code"] == "RATE_LIMITED"
        assert refusal.keys() == {"code", "message", "details"}
        assert refusal["details"].keys() == {"resetAt"}
        assert before * 1000 + 59_000 < refusal["details"]["resetAt"] < time.time() * 1000 + 60_001
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert headers["RateLimit"].startswith('"generating";r=0;t=')
        assert b"connection" not in body.lower()
        assert len(gateway.service.received) == GENERATING.times

        bob = gateway.signed_in(sub="user_bob")
        assert (await asked(gateway, "POST", "/affirmations/generate", headers=bob, data=b"{}"))[0] == 200
        assert (await asked(gateway, "PUT", "/me/struggle", headers=ada, data=b"{}"))[0] == 200


async def test_another_token_of_the_same_user_opens_no_new_window() -> None:
    async with running_gateway() as gateway:
        answers = [
            (await asked(gateway, "POST", "/affirmations/generate", headers=gateway.signed_in(jti=str(n)), data=b"{}"))[
                0
            ]
            for n in range(6)
        ]
    assert answers == [200] * 5 + [429]


async def test_a_request_that_is_not_let_in_uses_nothing_up() -> None:
    async with running_gateway() as gateway:
        forged = {"Authorization": "Bearer a.b.c"}
        for _ in range(10):
            assert (await asked(gateway, "POST", "/affirmations/generate", headers=forged, data=b"{}"))[0] == 401
        ada = gateway.signed_in()
        assert (await asked(gateway, "POST", "/affirmations/generate", headers=ada, data=b"{}"))[0] == 200


@pytest.mark.parametrize("path", ["/jobs/7", "/sessions", "/me/entitlement"])
async def test_five_minutes_of_polling_every_second_are_never_refused(path: str) -> None:
    async with running_gateway() as gateway:
        answers = await statuses(gateway, 300, "GET", path, headers=gateway.signed_in())
        status, headers, _ = await asked(gateway, "GET", path, headers=gateway.signed_in())
    assert {*answers, status} == {200}
    assert not [name for name in headers if name.lower().startswith("ratelimit")]


async def test_a_users_changes_have_an_end_and_reads_go_on() -> None:
    async with running_gateway() as gateway:
        ada = gateway.signed_in(sub="user_ada")
        answers = await statuses(gateway, CHANGING.times + 10, "PUT", "/me/struggle", headers=ada)
        assert (answers.count(200), answers.count(429)) == (CHANGING.times, 10)
        assert (await asked(gateway, "GET", "/me/struggle", headers=ada))[0] == 200


async def test_webhooks_at_two_hundred_a_second_are_never_refused() -> None:
    async with running_gateway() as gateway:
        ten_seconds = 200 * NOTIFYING.seconds
        answers = await statuses(gateway, ten_seconds, "POST", "/webhooks/revenuecat", data=b"{}")
        assert set(answers) == {200}
        assert len(gateway.service.received) == ten_seconds


async def test_pages_without_a_user_are_counted_by_address() -> None:
    async with running_gateway(trusted_proxies=("127.0.0.0/8",)) as gateway:
        here, there = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
        answers = await statuses(gateway, BROWSING.times + 5, "GET", "/docs", headers=here)
        assert answers.count(429) == 5
        assert (await asked(gateway, "GET", "/docs", headers=there))[0] == 200
        for _ in range(400):
            assert (await asked(gateway, "GET", "/health", headers=here))[0] == 200
        status, headers, _ = await asked(gateway, "GET", "/play/grant", headers=here)
        assert (status, headers["RateLimit-Policy"]) == (200, '"playing";q=1200;w=60')


async def test_guessing_tokens_comes_to_an_end_and_users_at_that_address_go_on() -> None:
    async with running_gateway(trusted_proxies=("127.0.0.0/8",)) as gateway:
        here, there = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
        user = gateway.signed_in() | here
        assert (await asked(gateway, "GET", "/voices", headers=user))[0] == 200
        assert set(await statuses(gateway, 200, "GET", "/voices", headers=here)) == {401}

        forged = {"Authorization": "Bearer a.b.c"} | here
        answers = await statuses(gateway, GUESSING.times + 20, "GET", "/voices", headers=forged)
        assert (answers.count(401), answers.count(429)) == (GUESSING.times, 20)

        status, headers, _ = await asked(gateway, "GET", "/voices", headers=gateway.signed_in(jti="new") | here)
        assert (status, int(headers["Retry-After"]) > 0) == (429, True)
        assert (await asked(gateway, "GET", "/voices", headers=user))[0] == 200
        assert (await asked(gateway, "GET", "/voices", headers=gateway.signed_in(jti="other") | there))[0] == 200
        assert (await asked(gateway, "GET", "/play/grant", headers=here))[0] == 200


async def test_an_address_that_is_only_claimed_opens_no_new_window() -> None:
    with structlog.testing.capture_logs() as logged:
        async with running_gateway() as gateway:
            answers = [
                (await asked(gateway, "GET", "/docs", headers={"X-Forwarded-For": f"192.0.2.{number % 250}"}))[0]
                for number in range(BROWSING.times + 5)
            ]
    assert answers.count(429) == 5
    assert [line["event"] for line in logged].count("forwarded_address_not_believed") == 1


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that a busy machine keeps waiting is not one that is away."""
    monkeypatch.setattr(rate_limits, "_STORAGE_SECONDS", 2.0)


@pytest.mark.usefixtures("patient")
async def test_two_gateways_count_together(valkey: PrivateValkey) -> None:
    async with AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(running_gateway(rate_limit_storage_url=valkey.url)) for _ in range(2)
        ]
        answers = []
        for turn in range(8):
            gateway = gateways[turn % 2]
            status, headers, body = await asked(
                gateway, "POST", "/affirmations/generate", headers=gateway.signed_in(), data=b"{}"
            )
            answers.append(status)
        assert answers == [200] * 5 + [429] * 3
        assert 0 < json.loads(body)["details"]["resetAt"] - time.time() * 1000 <= 60_000
        assert headers["RateLimit"].startswith('"generating";r=0;t=')


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("fault", ["killed", "stalled"])
async def test_without_its_storage_everybody_passes_and_a_metric_tells(valkey: PrivateValkey, fault: str) -> None:
    async with running_gateway(rate_limit_storage_url=valkey.url) as gateway:
        ada = gateway.signed_in()
        assert (await asked(gateway, "POST", "/affirmations/generate", headers=ada, data=b"{}"))[0] == 200
        before = await uncounted(gateway)
        if fault == "killed":
            await valkey.kill()
        else:
            valkey.stall()
        with structlog.testing.capture_logs() as logged:
            answers = await statuses(gateway, 50, "POST", "/affirmations/generate", headers=ada, data=b"{}")
        assert set(answers) == {200}
        assert await uncounted(gateway) - before == 50
        assert [line["event"] for line in logged].count("rate_limits_not_counted") == 1


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("fault", ["killed", "stalled"])
async def test_when_the_storage_is_back_it_counts_again(valkey: PrivateValkey, fault: str) -> None:
    if fault == "killed":
        await valkey.kill()
    else:
        valkey.stall()
    async with running_gateway(rate_limit_storage_url=valkey.url) as gateway, asyncio.timeout(30):
        ada = gateway.signed_in()
        assert (await asked(gateway, "POST", "/affirmations/generate", headers=ada, data=b"{}"))[0] == 200
        if fault == "killed":
            await valkey.start()
        else:
            valkey.go_on()
        while (await asked(gateway, "POST", "/affirmations/generate", headers=ada, data=b"{}"))[0] != 429:
            continue
