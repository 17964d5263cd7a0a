"""From a message to a handler: one transaction, inbox first, dispatch on the event's type."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError

from common.contracts.event import Event
from common.db.engine import Database
from common.db.uow import UnitOfWork
from common.errors import PermanentError
from common.messaging.bus import Binding, Bus, Consumption, Deliver
from common.messaging.envelope import Envelope
from common.messaging.inbox import first_sight
from common.observability import logger
from common.tracing import TraceContext, enter_trace, span_under

E = TypeVar("E", bound=Event)
Handler = Callable[[UnitOfWork, E], Awaitable[None]]
log = logger("consumers")


@contextmanager
def handling(queue: str, envelope: Envelope) -> Iterator[None]:
    """The step of handling one message. Its trace stays bound to the task, for what is said of a failure."""
    attributes = {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": queue,
        "messaging.message.id": envelope.id,
        "cloudevents.event_type": envelope.type,
    }
    with span_under(envelope.traceparent, f"process {queue}", "consumer", attributes) as step:
        trace = TraceContext(step.traceparent, envelope.correlationid, envelope.id)
        enter_trace(trace, queue=queue, message_id=envelope.id)
        yield


class UnknownType(PermanentError):
    """No handler of this queue knows the message's type."""


class Subscription:
    """A queue and the handlers of the event types bound to it.

    >>> entitlements = Subscription("media.entitlements")
    >>> @entitlements.on(SubscriptionChanged)
    ... async def store_entitlement(uow, event): ...
    """

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self._handlers: dict[str, tuple[type[Event], Handler[Any]]] = {}

    def on(self, event: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        def register(handler: Handler[E]) -> Handler[E]:
            self._handlers[event.type] = (event, handler)
            return handler

        return register

    @property
    def binding(self) -> Binding:
        return Binding(self.queue, tuple(self._handlers))

    def deliver_to(self, database: Database, schema: str) -> Deliver:
        """The function a bus calls for each message of this queue."""

        async def deliver(envelope: Envelope) -> None:
            with handling(self.queue, envelope):
                event, handler = self._resolve(envelope)
                async with database.transaction() as uow:
                    if await first_sight(uow.session, schema, self.queue, envelope):
                        await handler(uow, event)

        return deliver

    def _resolve(self, envelope: Envelope) -> tuple[Event, Handler[Any]]:
        known = self._handlers.get(envelope.type)
        if known is None:
            raise UnknownType(f"no handler of {self.queue} takes {envelope.type}")
        kind, handler = known
        try:
            return kind.model_validate(envelope.data), handler
        except ValidationError as error:
            raise PermanentError(f"not a valid {envelope.type}: {error.errors(include_input=False)}") from None

    async def start(self, bus: Bus, database: Database, schema: str, *, prefetch: int = 16) -> Consumption:
        return await bus.consume(self.binding, self.deliver_to(database, schema), prefetch=prefetch)
