"""Calls to the outside: bounded in time and size, tried again where that is safe, failing in words."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web

from common.web.client import BadAnswer, HttpClient, Patience, ServerFailed, Throttled, Unreachable, retry_after
from embedded.faults import FaultList
from embedded.local_server import LocalServer

NOW = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)


class Upstream(LocalServer):
    """Answers every path with the request's method and raw path, unless a fault says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = FaultList()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.faults.middleware])
        app.router.add_route("*", "/{path:.*}", self._echo)
        return app

    async def _echo(self, request: web.Request) -> web.Response:
        size = int(request.query.get("size", "0"))
        body = await request.text()
        return web.json_response({"method": request.method, "path": request.raw_path, "body": body, "pad": "x" * size})


class Pauses:
    """Stands in for sleeping and remembers for how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running
        running.faults.release()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def client(pauses: Pauses) -> AsyncIterator[HttpClient]:
    async with HttpClient("upstream", retries=2, sleep=pauses, clock=lambda: NOW) as opened:
        yield opened


async def test_an_encoded_address_is_sent_as_it_is(client: HttpClient, upstream: Upstream) -> None:
    answer = await client.get(f"{upstream.url}/v1/%24RCAnonymousID%3Aa%2Fb?x=%2F")
    assert (answer.status, answer.json()["path"]) == (200, "/v1/%24RCAnonymousID%3Aa%2Fb?x=%2F")


async def test_a_server_that_fails_for_a_moment_is_asked_again_with_growing_pauses(
    client: HttpClient, upstream: Upstream, pauses: Pauses
) -> None:
    upstream.faults.fail_next("unavailable", 2)
    assert (await client.get(f"{upstream.url}/")).status == 200
    assert len(pauses.seconds) == 2
    assert all(pause <= most for pause, most in zip(pauses.seconds, (0.2, 0.4), strict=True))


async def test_after_the_last_attempt_the_failure_is_told(client: HttpClient, upstream: Upstream) -> None:
    upstream.faults.fail_next("error", 3, status=502)
    with pytest.raises(ServerFailed, match="upstream: status 502"):
        await client.get(f"{upstream.url}/")
    assert upstream.faults.calls["/"] == 3


async def test_what_may_not_be_repeated_is_tried_once(client: HttpClient, upstream: Upstream) -> None:
    upstream.faults.fail_next("unavailable", 1)
    with pytest.raises(ServerFailed):
        await client.call("POST", f"{upstream.url}/", body=b"{}")
    assert upstream.faults.calls["/"] == 1
    upstream.faults.fail_next("unavailable", 1)
    answer = await client.call("POST", f"{upstream.url}/", body=b"{}", repeatable=True)
    assert answer.json()["body"] == "{}"


async def test_a_pause_that_is_asked_for_is_kept_if_there_is_time(
    client: HttpClient, upstream: Upstream, pauses: Pauses
) -> None:
    upstream.faults.fail_next("rate_limited", 1, retry_after=3)
    assert (await client.get(f"{upstream.url}/")).status == 200
    assert pauses.seconds == [3.0]
    upstream.faults.fail_next("rate_limited", 1, retry_after=3600)
    with pytest.raises(Throttled) as refusal:
        await client.get(f"{upstream.url}/")
    assert refusal.value.retry_after == 3600.0
    assert pauses.seconds == [3.0]


async def test_no_answer_in_time_is_an_unreachable_upstream(upstream: Upstream) -> None:
    upstream.faults.fail_next("slow", -1)
    async with HttpClient("upstream", patience=Patience(total=0.2)) as client:
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
            await client.get(f"{upstream.url}/")
    async with HttpClient("upstream", patience=Patience(read=0.1), retries=0) as client:
        with pytest.raises(Unreachable):
            await client.get(f"{upstream.url}/")


async def test_a_refused_or_cut_socket_is_an_unreachable_upstream(client: HttpClient, upstream: Upstream) -> None:
    upstream.faults.fail_next("cut", -1)
    with pytest.raises(Unreachable):
        await client.get(f"{upstream.url}/")
    with pytest.raises(Unreachable):
        await client.get("http://127.0.0.1:1/")


async def test_an_answer_that_is_too_large_or_no_json_is_bad(upstream: Upstream) -> None:
    async with HttpClient("upstream", largest_answer=1000) as client:
        with pytest.raises(BadAnswer, match="more than 1000 bytes"):
            await client.get(f"{upstream.url}/?size=2000")
        upstream.faults.fail_next("html")
        with pytest.raises(BadAnswer, match="without a JSON body"):
            (await client.get(f"{upstream.url}/")).json()


async def test_a_redirect_is_an_answer_and_not_followed(client: HttpClient, upstream: Upstream) -> None:
    upstream.faults.fail_next("redirect", location="/elsewhere")
    answer = await client.get(f"{upstream.url}/")
    assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")
    assert upstream.faults.calls == {"/": 1}


async def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await HttpClient("upstream").get("http://127.0.0.1:1/")


@pytest.mark.parametrize(
    "header, seconds",
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Tue, 01 Sep 2026 10:00:30 GMT", 30.0),
        ("Tue, 01 Sep 2026 09:00:00 GMT", 0.0),
        ("9" * 50, 999999999.0),
    ],
)
def test_both_forms_of_retry_after_are_read(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds
