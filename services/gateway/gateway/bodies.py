"""A request's body on its way through: counted, never held back, and the client's leaving noticed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive

from common.errors import DomainError, InvalidInput, PayloadTooLarge
from gateway.headers import RawHeaders, values

LARGEST_KEPT = 64 * 1024
"""Bytes of a body that are remembered so that it can be sent again."""
_WATCHED_AFTER = 0.05
"""Seconds. Most requests are answered by then, and spared a task each."""


class ClientGone(Exception):
    """The client went away before it had its answer."""


class ClientTooSlow(DomainError):
    status, code = 408, "REQUEST_TIMEOUT"


class RequestBody:
    """Iterates over the body's chunks as they come. After it is read, ``client_gone`` waits for the client to leave."""

    def __init__(self, headers: RawHeaders, receive: Receive, limit: int, *, keep: bool = False) -> None:
        """``keep`` remembers a small body on its way through, so that it can be iterated over again.

        Raises PayloadTooLarge for a declared length over ``limit`` bytes, InvalidInput for one that is no number.
        """
        self._receive = receive
        self._limit = limit
        self._taken = 0
        self._kept: list[bytes] | None = [] if keep else None
        self._complete = asyncio.Event()
        self.fault: ClientGone | PayloadTooLarge | None = None
        """Why the body ended before its end, which the HTTP client reports as an error of its own."""
        declared = values(headers, b"content-length")
        if len(declared) > 1 or any(not length.isdigit() for length in declared):
            raise InvalidInput("Send one Content-Length, a number.")
        if declared and int(declared[0]) > limit:
            raise _too_large(limit)
        self.expected = bool(values(headers, b"transfer-encoding")) or (bool(declared) and int(declared[0]) > 0)
        if not self.expected:
            self._complete.set()

    @property
    def arrived(self) -> bool:
        """Whether the client has sent all of it."""
        return self._complete.is_set()

    @property
    def repeatable(self) -> bool:
        """Whether everything that was passed on is still known, or nothing was."""
        return not self.expected or self._kept is not None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        for chunk in list(self._kept or ()):
            yield chunk
        while not self._complete.is_set():
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.fault = ClientGone()
                raise self.fault
            chunk = message.get("body", b"")
            self._count(chunk)
            if not message.get("more_body"):
                self._complete.set()
            if chunk:
                yield chunk

    def _count(self, chunk: bytes) -> None:
        self._taken += len(chunk)
        if self._taken > self._limit:
            self.fault = _too_large(self._limit)
            raise self.fault
        if self._taken > LARGEST_KEPT:
            self._kept = None
        elif self._kept is not None:
            self._kept.append(chunk)

    async def client_gone(self) -> None:
        """Returns when the client has left. Waits for the body's end first, since both come by the same channel."""
        await self._complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            continue


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"Send at most {limit} bytes.")


@asynccontextmanager
async def unless_client_leaves(body: RequestBody) -> AsyncIterator[None]:
    """Cancels what runs inside when the client leaves, and raises ClientGone then."""
    working = asyncio.current_task()
    assert working is not None
    left = False

    async def watch() -> None:
        nonlocal left
        await body.client_gone()
        left = True
        working.cancel()

    watcher: asyncio.Task[None] | None = None

    def begin() -> None:
        nonlocal watcher
        watcher = asyncio.create_task(watch())

    waiting = asyncio.get_running_loop().call_later(_WATCHED_AFTER, begin)
    try:
        yield
    except asyncio.CancelledError:
        if not left:
            raise
        working.uncancel()
        raise ClientGone from None
    finally:
        waiting.cancel()
        if watcher is not None:
            watcher.cancel()
