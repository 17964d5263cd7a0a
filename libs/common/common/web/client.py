"""Calls to the world outside over HTTP: pooled, bounded in time and size, and safe requests tried again.

Never call from inside an open transaction: the far side decides how long it would stay open.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
from prometheus_client import Histogram
from yarl import URL

from common.clock import Clock, utc_now
from common.tracing import Span, span

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FIRST_PAUSE = 0.2
"""Seconds before the second attempt at the longest; doubled for each further one, with full jitter."""
CALL_SECONDS = Histogram("upstream_call_duration_seconds", "Time of a call to the outside", ["upstream", "outcome"])


class CallFailed(Exception):
    """The upstream gave no usable answer. ``retry_after``: seconds it asked to be left alone, if it said so."""

    outcome = "failed"

    def __init__(self, upstream: str, problem: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{upstream}: {problem}")
        self.retry_after = retry_after


class Unreachable(CallFailed):
    """No answer: refused, cut off, or not in time."""

    outcome = "unreachable"


class ServerFailed(CallFailed):
    """Answered with a 5xx status."""

    outcome = "server_failed"


class Throttled(CallFailed):
    """Answered 429."""

    outcome = "throttled"


class BadAnswer(CallFailed):
    """Answered with something that is too large or not what it should be."""

    outcome = "bad_answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer below 500 and other than 429, whatever it says; redirects are not followed."""

    upstream: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises BadAnswer."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise BadAnswer(self.upstream, f"status {self.status} without a JSON body") from None


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait: for a socket, for the next bytes, and for the whole call with all its attempts."""

    connect: float = 3.0
    read: float = 10.0
    total: float = 20.0


class HttpClient:
    """A pool of sockets to one upstream, opened by ``async with``. ``retries`` counts attempts after the first.

    ``ours`` says that the upstream is a service of ours, which is told the trace.
    """

    def __init__(
        self,
        upstream: str,
        *,
        patience: Patience | None = None,
        retries: int = 2,
        largest_answer: int = 4 * 1024 * 1024,
        sockets: int = 20,
        ours: bool = False,
        clock: Clock = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.upstream = upstream
        self._patience = patience or Patience()
        self._retries = retries
        self._largest = largest_answer
        self._sockets = sockets
        self._ours = ours
        self._clock = clock
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._patience.connect, sock_read=self._patience.read)
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            connector=aiohttp.TCPConnector(limit=self._sockets),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.call("GET", url, headers=headers)

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        repeatable: bool | None = None,
    ) -> Answer:
        """One call. ``url`` is sent as it is, so encode what you put into it.

        Only safe methods are tried again, or what the caller declares ``repeatable``. Raises a CallFailed.
        """
        again = repeatable if repeatable is not None else method in SAFE_METHODS
        attributes = {"http.request.method": method, "peer.service": self.upstream}
        with span(f"{method} {self.upstream}", "client", attributes) as step:
            told = {**(headers or {}), "traceparent": step.traceparent} if self._ours else headers or {}
            return await self._timed(step, method, url, told, body, 1 + self._retries * again)

    async def _timed(
        self, step: Span, method: str, url: str, headers: Mapping[str, str], body: bytes | None, attempts: int
    ) -> Answer:
        started = asyncio.get_running_loop().time()
        outcome = "answered"
        try:
            async with asyncio.timeout(self._patience.total):
                answer = await self._attempts(method, url, headers, body, attempts)
            tell_answer(step, answer.status)
            return answer
        except TimeoutError:
            outcome = Unreachable.outcome
            raise Unreachable(self.upstream, f"no answer within {self._patience.total} s") from None
        except CallFailed as error:
            outcome = error.outcome
            raise
        finally:
            seconds = asyncio.get_running_loop().time() - started
            CALL_SECONDS.labels(self.upstream, outcome).observe(seconds)

    async def _attempts(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, attempts: int
    ) -> Answer:
        deadline = asyncio.get_running_loop().time() + self._patience.total
        for attempt in range(1, attempts + 1):
            try:
                return await self._attempt(method, url, headers, body)
            except (Unreachable, ServerFailed, Throttled) as error:
                pause = _pause(attempt, error.retry_after)
                # a wait past the deadline could only end in a vaguer error than this one
                if attempt == attempts or asyncio.get_running_loop().time() + pause >= deadline:
                    raise
            await self._sleep(pause)
        raise AssertionError("at least one attempt is made")

    async def _attempt(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self._session is None:
            raise RuntimeError(f"the client of {self.upstream} is not open")
        try:
            async with self._session.request(
                method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
            ) as response:
                return self._judged(response, await self._bounded(response))
        except aiohttp.InvalidURL as error:
            raise BadAnswer(self.upstream, f"not an address: {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(self.upstream, f"{type(error).__name__}: {error}"[:200]) from error

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        read = bytearray()
        async for chunk in response.content.iter_any():
            read += chunk
            if len(read) > self._largest:
                raise BadAnswer(self.upstream, f"more than {self._largest} bytes")
        return bytes(read)

    def _judged(self, response: aiohttp.ClientResponse, body: bytes) -> Answer:
        wait = retry_after(response.headers.get("Retry-After"), self._clock())
        if response.status == 429:
            raise Throttled(self.upstream, "asked us to slow down", retry_after=wait)
        if response.status >= 500:
            raise ServerFailed(self.upstream, f"status {response.status}", retry_after=wait)
        return Answer(self.upstream, response.status, response.headers, body)


def tell_answer(step: Span, status: int) -> None:
    """Says of a call what was answered; to a caller every status from 400 on is an error."""
    step.note("http.response.status_code", status)
    if status >= 400:
        step.failed(str(status))


def retry_after(header: str | None, now: datetime) -> float | None:
    """The header as seconds from ``now``, given as seconds or as a date; None when absent or unreadable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())


def _pause(attempt: int, asked: float | None) -> float:
    return asked if asked is not None else random.uniform(0, FIRST_PAUSE * 2 ** (attempt - 1))
