"""How a service runs: an API process answers HTTP, a worker runs consumers, the relay and the service's own loops."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
import uvloop
from fastapi import FastAPI
from sqlalchemy import MetaData

from common.db.driver import LOST
from common.db.engine import Database
from common.db.retention import Forgetting, Retention
from common.invariants import Invariant, Invariants, outbox_published
from common.messaging.bus import Bus, Consumption
from common.messaging.consumers import Subscription
from common.messaging.outbox import Outbox, Relay
from common.messaging.rabbit_consumption import REACHING_FAILED as BROKER_FAILED
from common.observability import CONSUMER_ATTACHED, MESSAGES_PARKED, logger
from common.process_metrics import event_loop_watched
from common.web.app import Check, create_app

Loop = Callable[[], Awaitable[None]]
"""Long-running work of a worker: runs until cancelled."""

Result = TypeVar("Result")

DRAIN_SECONDS = 20
LEAVE_SECONDS = 3.0
"""How long a process that was told to stop still takes requests, each answer asking its client to come no more."""
_LAST_SECONDS = 1.0
"""How long it waits, no longer listening, for a request on the sockets that are open."""
_QUIET_SECONDS = 0.25
MEASURE_SECONDS = 15.0
log = logger("service")


class PortTaken(OSError):
    """Another process listens there already."""


@dataclass(frozen=True)
class Service:
    """One service, wired and not yet started. Made by each service's ``service.py``."""

    name: str
    app: FastAPI
    database: Database
    outbox: Outbox
    metadata: MetaData
    migrations: Path
    subscriptions: Sequence[Subscription] = ()
    loops: Mapping[str, Loop] = field(default_factory=dict)
    retentions: Sequence[Retention] = ()
    resources: Sequence[AbstractAsyncContextManager[Any]] = ()
    """Opened before anything runs, closed in reverse order."""
    rules: Sequence[Invariant] = ()
    """What must hold of its data, beside that of every service's."""

    @property
    def invariants(self) -> Invariants:
        return Invariants(self.name, (outbox_published(self.database, self.outbox.schema), *self.rules))

    @property
    def forgetting(self) -> Forgetting:
        return Forgetting(self.database, self.outbox.schema, self.retentions)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Service"]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.database.close)
            for resource in self.resources:
                await stack.enter_async_context(resource)
            yield self


class Worker:
    """A service's consumers, relay and loops on a started bus. ``async with Worker(service, bus)``."""

    def __init__(self, service: Service, bus: Bus) -> None:
        self._service = service
        self._bus = bus
        self._consumptions: dict[str, Consumption] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._down: set[str] = set()

    async def __aenter__(self) -> "Worker":
        service = self._service
        for subscription in service.subscriptions:
            consumption = await subscription.start(self._bus, service.database, service.outbox.schema)
            self._consumptions[subscription.queue] = consumption
        relay = Relay(service.outbox, service.database.direct_url, self._bus)
        own = {
            "relay": relay.run,
            "measure_queues": self._measure_queues,
            "invariants": service.invariants.run,
            "forget": service.forgetting.run,
        }
        for name, loop in {**own, **service.loops}.items():
            self._tasks[name] = asyncio.create_task(self._supervise(name, loop), name=f"{service.name}.{name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Takes no more messages, finishes those in hand, then ends the loops."""
        try:
            await asyncio.gather(*(consumption.stop() for consumption in self._consumptions.values()))
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _measure_queues(self) -> None:
        while True:
            for queue, consumption in self._consumptions.items():
                CONSUMER_ATTACHED.labels(queue).set(consumption.attached())
                try:
                    MESSAGES_PARKED.labels(queue).set(await consumption.parked())
                except (*BROKER_FAILED, *LOST) as error:  # readiness and the consumer say that the bus is away
                    log.info("parked_not_counted", queue=queue, error=f"{type(error).__name__}: {error}"[:200])
            await asyncio.sleep(MEASURE_SECONDS)

    async def _supervise(self, name: str, loop: Loop) -> None:
        """Starts a loop again when it fails; while it is down the worker is not ready."""
        wait = 1.0
        while True:
            started = asyncio.get_running_loop().time()
            try:
                self._down.discard(name)
                await loop()
                raise RuntimeError(f"{name} ended by itself")
            except Exception as error:  # a loop's failure must neither pass unseen nor end the process's other work
                self._down.add(name)
                log.error("loop_failed", service=self._service.name, loop=name, exc_info=error)
            wait = 1.0 if asyncio.get_running_loop().time() - started > 60 else min(wait * 2, 30.0)
            await asyncio.sleep(wait)

    async def check(self) -> str | None:
        """Readiness: None when every consumer is attached and every loop runs."""
        detached = [queue for queue, consumption in self._consumptions.items() if not consumption.attached()]
        missing = [f"consumer of {queue} not attached" for queue in detached] + [
            f"{name} is down" for name in self._down
        ]
        return "; ".join(missing) or None


class HttpServer(uvicorn.Server):
    """A uvicorn server that leaves signals to the process and fails on a taken port before it says it started.

    Leaving ``async with`` finishes the requests in hand. With ``leave_seconds`` it first goes on taking requests for
    that long at most, and has every answer close its socket: a kept socket closed between two answers would lose the
    request that is on its way.
    """

    def __init__(
        self, app: Any, host: str, port: int, *, drain_seconds: int = DRAIN_SECONDS, leave_seconds: float = 0.0
    ) -> None:
        self._socket = bind(host, port)
        self._leave_seconds = leave_seconds
        self.port: int = self._socket.getsockname()[1]
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                proxy_headers=False,
                server_header=False,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=drain_seconds,
                timeout_keep_alive=75,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def __aenter__(self) -> "HttpServer":
        self._serving = asyncio.create_task(self.serve(sockets=[self._socket]))
        while not self.started:
            if self._serving.done():
                await self._serving
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._leave_seconds:
            await self._say_goodbye()
        self.should_exit = True
        await self._serving

    async def _say_goodbye(self) -> None:
        """Takes requests until every client has gone, or the time is over; then lets nobody new in."""
        goodbye = (b"connection", b"close")
        self.config.encoded_headers.append(goodbye)
        self.server_state.default_headers.append(goodbye)
        await self._until_nobody_is_here(self._leave_seconds, quiet=_QUIET_SECONDS)
        await self._close_the_door()
        await self._until_nobody_is_here(_LAST_SECONDS)

    async def _until_nobody_is_here(self, seconds: float, *, quiet: float = 0.0) -> None:
        """Returns when no socket has been open for ``quiet`` seconds, or after ``seconds``."""
        clock = asyncio.get_running_loop().time
        until, seen = clock() + seconds, clock()
        while clock() < until and (self.server_state.connections or clock() < seen + quiet):
            if self.server_state.connections:
                seen = clock()
            await asyncio.sleep(0.02)

    async def _close_the_door(self) -> None:
        """Stops listening, and lets in those whom the system has greeted already: it would hang up on them."""
        greeted: list[socket.socket] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                greeted.append(self._socket.accept()[0])
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for client in greeted:
            client.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, client)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortTaken with the way out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with the protocol named, asyncio sets TCP_NODELAY; without it each answer on a kept socket waits 40 ms
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise PortTaken(
            f"port {port} on {host} cannot be used ({error.strerror}): choose another with --port"
        ) from None
    listening.listen(2048)
    listening.setblocking(False)
    return listening


def run_process(main: Coroutine[Any, Any, Result]) -> Result:
    """``asyncio.run`` for the life of a process: on uvloop, and the collector leaves alone what was imported."""
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_watched(main))


async def _watched(main: Coroutine[Any, Any, Result]) -> Result:
    async with event_loop_watched():
        return await main


def stop_requested() -> asyncio.Event:
    """Set by SIGTERM or SIGINT."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


async def run_api(service: Service, host: str, port: int) -> None:
    """Answers HTTP until told to stop, then finishes the requests in hand."""
    asked = stop_requested()
    async with service.opened(), HttpServer(service.app, host, port, leave_seconds=LEAVE_SECONDS):
        log.info("api_started", service=service.name, host=host, port=port)
        await asked.wait()
        log.info("stopping", service=service.name)


async def run_worker(
    service: Service, bus: AbstractAsyncContextManager[Bus], checks: Mapping[str, Check], host: str, port: int
) -> None:
    """Consumes, relays and runs the loops until told to stop. Health and metrics on ``port``."""
    asked = stop_requested()
    async with service.opened(), bus as started, Worker(service, started) as worker:
        health = create_app(service.name, title="health", checks={**checks, "worker": worker.check})
        async with HttpServer(health, host, port):
            log.info("worker_started", service=service.name, host=host, port=port)
            await asked.wait()
            log.info("stopping", service=service.name)
