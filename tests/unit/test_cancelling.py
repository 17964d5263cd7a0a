"""A cancellation meets the broker's client while it closes a channel: the client answers it in ways of its own."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiormq.exceptions import ChannelInvalidStateError

from common.messaging.rabbit_consumption import answered_within, bounded


async def keeps_it() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return


async def makes_an_error_of_it() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ChannelInvalidStateError("Channel closed by RPC timeout") from None


async def reports_a_lost_session() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("client", [keeps_it, makes_an_error_of_it])
async def test_who_is_cancelled_ends(client: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.create_task(bounded(client()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_not_cancelled_goes_on() -> None:
    await bounded(reports_a_lost_session())
    with pytest.raises(ConnectionError):
        async with answered_within(5):
            await reports_a_lost_session()
    with pytest.raises(TimeoutError):
        async with answered_within(0):
            await asyncio.Event().wait()


async def test_who_tidies_up_after_a_cancellation_may_finish() -> None:
    tidied = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await bounded(asyncio.sleep(0))
            tidied.set()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tidied.is_set()
