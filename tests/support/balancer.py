"""A TCP balancer before several instances of a service: what stands there while one release replaces another."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 65536


class Balancer:
    """``async with Balancer(port) as balancer``. New sockets go to ``backends`` in turn; open ones stay."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.backends: list[int] = []
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, LOOPBACK, self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError):
                await self._join(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await self._backend()
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.close()

    async def _backend(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A socket to the backend whose turn it is, else to the next that takes one."""
        for _ in range(len(self.backends)):
            self._turn += 1
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(LOOPBACK, self.backends[self._turn % len(self.backends)])
        raise ConnectionError("no instance takes requests")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carries one direction to its end, and closes the other side's."""
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
