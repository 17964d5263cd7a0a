"""How the gateway learns of sign-outs: from events as they happen, and from identity what it may have missed."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from common.contracts.identity import SessionEnded, UserDeleted
from common.messaging.bus import Binding, Bus, Consumption
from common.messaging.consumers import handling
from common.messaging.envelope import Envelope
from common.observability import logger
from gateway.directory import Directory
from gateway.sign_outs import SignOuts

QUEUE = Binding("gateway.sign_outs", (SessionEnded.type, UserDeleted.type), broadcast=True)
LOOK_SECONDS = 0.5
ASK_AGAIN_SECONDS = 5.0
REATTACH_SECONDS = 15.0
"""How long a consumer may come back by itself before it is made anew."""

_LEAVE_SECONDS = 5.0
"""A broker that does not answer the goodbye must not hold up the process's end; the queue vanishes by itself."""

Connect = Callable[[], AbstractAsyncContextManager[Bus]]
"""A bus of the feed's own, started; or one that is running already."""

log = logger("sign_out_feed")


class SignOutFeed:
    """``async with`` keeps ``sign_outs`` up to date while inside. Nothing here fails or holds up a request.

    Every running gateway has a queue of its own. While it is not attached, identity is asked every few seconds instead,
    and once more after it was attached.
    """

    def __init__(self, sign_outs: SignOuts, directory: Directory, connect: Connect) -> None:
        self._sign_outs = sign_outs
        self._directory = directory
        self._connect = connect
        self._consumption: Consumption | None = None
        self._caught_up = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "SignOutFeed":
        self._tasks = [asyncio.create_task(work(), name=work.__name__) for work in (self._listen, self._keep_up)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=_LEAVE_SECONDS)

    async def impaired(self) -> str | None:
        """None while sign-outs arrive by event and none can be missing."""
        if not self._attached():
            return f"consumer of {QUEUE.queue} not attached: identity is asked every {ASK_AGAIN_SECONDS:.0f} s instead"
        return None if self._caught_up else "identity did not say yet who signed out before"

    def _attached(self) -> bool:
        return self._consumption is not None and self._consumption.attached()

    async def _listen(self) -> None:
        while True:
            try:
                async with self._connect() as bus:
                    self._consumption = await bus.consume(QUEUE, self._take)
                    try:
                        await self._detached_for_good()
                    finally:
                        consumption, self._consumption = self._consumption, None
                        await consumption.stop()
            except asyncio.CancelledError:  # the broker's client reports some lost sessions as if we had been cancelled
                if _really_cancelled():
                    raise
                log.warning("sign_outs_not_attached", error="the session with the broker ended")
            except Exception as error:  # whatever the bus is in trouble with, it is tried again
                log.warning("sign_outs_not_attached", error=f"{type(error).__name__}: {error}"[:200])
            await asyncio.sleep(LOOK_SECONDS)

    async def _detached_for_good(self) -> None:
        """Returns when the consumer has not come back by itself: the broker forgot its queue."""
        missed_since = time.monotonic()
        while time.monotonic() - missed_since < REATTACH_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            if self._attached():
                missed_since = time.monotonic()

    async def _take(self, envelope: Envelope) -> None:
        with handling(QUEUE.queue, envelope):
            self._note(envelope)

    def _note(self, envelope: Envelope) -> None:
        if envelope.type == SessionEnded.type:
            ended = SessionEnded.model_validate(envelope.data)
            self._sign_outs.end_session(ended.session_id, ended.ended_at.timestamp())
        else:
            deleted = UserDeleted.model_validate(envelope.data)
            self._sign_outs.delete_user(deleted.user_id, time.time())

    async def _keep_up(self) -> None:
        ask_at, was_attached = 0.0, False
        while True:
            attached = self._attached()
            self._caught_up = self._caught_up and attached
            newly_attached, was_attached = attached and not was_attached, attached
            if not self._caught_up and (newly_attached or time.monotonic() >= ask_at):
                self._caught_up = await self._catch_up() and attached
                ask_at = time.monotonic() + ASK_AGAIN_SECONDS
            await asyncio.sleep(LOOK_SECONDS)

    async def _catch_up(self) -> bool:
        """Asks for everyone who signed out recently enough to matter; whether identity answered."""
        since = datetime.fromtimestamp(self._sign_outs.horizon, UTC)
        try:
            found = await self._directory.signed_out(since)
        except Exception as error:  # whatever identity answers, it is asked again
            log.warning("sign_outs_not_caught_up", error=f"{type(error).__name__}: {error}"[:200])
            return False
        for session in found.sessions:
            self._sign_outs.end_session(session.session_id, session.ended_at.timestamp())
        for user in found.users:
            self._sign_outs.delete_user(user.user_id, user.deleted_at.timestamp())
        log.info("sign_outs_caught_up", sessions=len(found.sessions), users=len(found.users))
        return True


def _really_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
