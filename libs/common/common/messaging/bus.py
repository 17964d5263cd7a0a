"""The bus: two methods, two adapters, one contract.

A subscription's queue keeps a copy of every event it is bound to until a handler has taken it. What cannot be handled
is retried after a delay, then parked with its reason, where a person lists, shows, replays or drops it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from common.messaging.envelope import Envelope

Deliver = Callable[[Envelope], Awaitable[None]]
"""Handles one message. Raises PermanentError to park it at once, anything else to have it tried again."""

UNROUTED = "events.unrouted"
"""Keeps events that no queue is bound to, so that nothing published is silently dropped."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Which event types a queue takes. A broadcast queue belongs to one running instance and vanishes with it."""

    queue: str
    types: tuple[str, ...]
    broadcast: bool = False


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``attempts`` in all, ``delay`` seconds apart. An outage of our own database does not use up attempts."""

    attempts: int = 6
    delay: float = 10.0


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    id: str
    queue: str
    type: str
    reason: str
    attempts: int
    first_seen: str
    body: str


class Consumption(Protocol):
    """A running subscription."""

    def attached(self) -> bool:
        """Whether messages are being taken now; readiness depends on it."""
        ...

    async def stop(self) -> None:
        """Stops taking messages and waits for those in hand."""
        ...

    async def parked(self) -> int:
        """How many of the queue's messages wait for a person. Raises what an unreachable bus raises."""
        ...


class Bus(Protocol):
    async def publish(self, envelope: Envelope) -> None:
        """Returns once the message is durable for every queue bound to its type; raises otherwise. Safe in parallel."""
        ...

    async def consume(self, binding: Binding, deliver: Deliver, *, prefetch: int = 16) -> Consumption:
        """Declares the queue and starts handing its messages to ``deliver``, at most ``prefetch`` at once."""
        ...


class ParkedMessages(Protocol):
    """What a person does with parked messages, on either bus."""

    async def queues(self) -> dict[str, int]:
        """Parked messages by queue."""
        ...

    async def list(self, queue: str, limit: int = 100) -> Sequence[ParkedMessage]: ...

    async def replay(self, queue: str, ids: Sequence[str] | None = None) -> int:
        """Puts the named messages (None: all) back into their queue with fresh attempts. Returns how many."""
        ...

    async def drop(self, queue: str, ids: Sequence[str] | None = None) -> int: ...
