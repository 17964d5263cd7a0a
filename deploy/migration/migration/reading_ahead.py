"""Reads the file in a thread while PostgreSQL works: neither waits for the other."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def ahead(items: Iterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """The items, one of them always being read already. When the block ends, nothing is read any more."""
    async with aclosing(_read(items)) as read:
        yield read


async def _read(items: Iterator[T]) -> AsyncGenerator[T, None]:
    reading = _next(items)
    try:
        while item := await reading:
            reading = _next(items)
            yield item[0]
    finally:
        await asyncio.wait([reading])


def _next(items: Iterator[T]) -> "asyncio.Task[tuple[T] | None]":
    def read() -> tuple[T] | None:
        return next(((item,) for item in items), None)

    return asyncio.create_task(asyncio.to_thread(read))
