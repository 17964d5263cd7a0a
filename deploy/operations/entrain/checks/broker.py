"""The broker as each service's own user sees it, the queues, who takes from them, and what is parked."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ProbableAuthenticationError,
)
from aiormq.exceptions import ChannelAccessRefused

from billing import consumers as billing_queues
from common.messaging.bus import UNROUTED
from common.messaging.rabbit import PARKED, quorum, ready_in
from entrain.deployment import CLASSES, Deployment, is_inside
from entrain.findings import Check, Outcome, fail, ok, said, skip, warn
from identity import consumers as identity_queues
from media import consumers as media_queues

LONGEST_SECONDS = 30
"""Who asks usually allows less."""
UNROUTED_KEPT = 100_000
LOOKS, PAUSE_SECONDS = 4, 0.5
LOST = (AMQPError, OSError, RuntimeError, ssl.SSLError)
QUEUES: dict[str, str] = {
    subscription.queue: service
    for service, subscriptions in {
        "identity": (identity_queues.deletions,),
        "billing": (billing_queues.users,),
        "media": (media_queues.entitlements, media_queues.users),
    }.items()
    for subscription in subscriptions
}
"""Which service takes from each queue."""
NONE = "no RABBITMQ_URL: this deployment has no broker"


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[AbstractConnection]:
    """A session of our own. Raises one of LOST."""
    opened = await aio_pika.connect(url, timeout=LONGEST_SECONDS, client_properties={"connection_name": "doctor"})
    try:
        yield opened
    finally:
        await opened.close()


async def _reachable(service: str, deployment: Deployment) -> Outcome:
    url = deployment.broker_url(service)
    if url is None:
        return skip(NONE)
    try:
        async with connection(url) as opened:
            properties = opened.transport.connection.server_properties if opened.transport else {}
    except LOST as error:
        return _refused(error)
    seen = f"{_text(properties, 'product')} {_text(properties, 'version')}"
    if not is_inside(url) and not url.startswith("amqps:"):
        return warn(f"{seen}, not encrypted", "use amqps:// and port 5671")
    return ok(seen)


def _text(properties: Mapping[str, Any], name: str) -> str:
    told = properties.get(name, "")
    return told.decode() if isinstance(told, bytes) else str(told)


def _refused(error: BaseException) -> Outcome:
    if isinstance(error, AuthenticationError | ProbableAuthenticationError):
        return fail(said(error), "correct user, password and virtual host in RABBITMQ_URL, or set the user's password")
    return fail(f"cannot be reached: {said(error)}", "check host, port and firewall of RABBITMQ_URL, and that it runs")


async def _queue(queue: str, deployment: Deployment) -> Outcome:
    service = QUEUES[queue]
    url = deployment.broker_url(service)
    if url is None:
        return skip(NONE)
    try:
        async with connection(url) as opened:
            waiting, consumers = await _told(opened, queue)
            await _as_declared(opened, queue)
    except ChannelNotFoundEntity:
        return fail("there is no such queue", f"run `python -m {service} migrate`; what was published since misses it")
    except ChannelPreconditionFailed as error:
        advice = "a queue's arguments cannot change: stop its workers, empty and delete it, run migrate"
        return fail(f"made with other arguments: {said(error)}", advice)
    except ChannelAccessRefused as error:
        return fail(said(error), f"give the user of {service} its rights on `{service}.*` and the exchange `events`")
    except LOST as error:
        return fail(said(error), f"see broker.{service}")
    if consumers == 0:
        return fail(f"nobody takes from it, {waiting} waiting", f"start `python -m {service} worker`")
    return ok(f"{consumers} consumers, {waiting} waiting, limits as declared")


async def _told(opened: AbstractConnection, queue: str) -> tuple[int, int]:
    """Messages and consumers of a queue. The broker says that there are none where the queue does not answer it within
    a quarter of a second, so it is asked again before that is believed.
    """
    channel = await opened.channel()
    for look in range(LOOKS):
        await asyncio.sleep(PAUSE_SECONDS if look else 0)
        told = (await channel.declare_queue(queue, passive=True)).declaration_result
        if told.consumer_count:
            break
    return told.message_count or 0, told.consumer_count or 0


async def _as_declared(opened: AbstractConnection, queue: str) -> None:
    """That the queue and its neighbours have the delivery limit and dead-letter rules of this code.

    Declaring what is there changes nothing; the broker refuses other arguments.
    """
    channel = await opened.channel()
    structure: dict[str, dict[str, Any]] = {
        queue: quorum(queue, dead_letter_to=f"{queue}.parked"),
        f"{queue}.retry": quorum(f"{queue}.retry", dead_letter_to=queue),
        f"{queue}.parked": dict(PARKED),
    }
    for name, arguments in structure.items():
        await channel.declare_queue(name, passive=True)
        await channel.declare_queue(name, durable=True, arguments=arguments)


async def _parked(queue: str, deployment: Deployment) -> Outcome:
    url = deployment.broker_url(QUEUES[queue])
    if url is None:
        return skip(NONE)
    try:
        async with connection(url) as opened:
            count = await ready_in(await (await opened.channel()).declare_queue(f"{queue}.parked", passive=True))
    except LOST as error:
        return fail(said(error), f"see queue.{queue}")
    if count:
        advice = f"`python -m entrain parked show --queue {queue}` says why; then `parked replay` or `parked drop`"
        return warn(f"{count} parked", advice)
    return ok("nothing is parked")


async def _unrouted(deployment: Deployment) -> Outcome:
    url = deployment.broker_url("gateway") or deployment.broker_url("identity")
    if url is None:
        return skip(NONE)
    try:
        async with connection(url) as opened:
            found = await (await opened.channel()).declare_queue(UNROUTED, passive=True)
    except ChannelNotFoundEntity:
        return fail("there is no such queue", "run `python -m identity migrate`: it declares it")
    except LOST as error:
        return fail(said(error), "see broker.gateway")
    count = found.declaration_result.message_count or 0
    if count >= UNROUTED_KEPT:
        return warn(f"full with {count} events", "the oldest are dropped: purge it once nobody needs them")
    return ok(f"{count} events that nobody handles, of {UNROUTED_KEPT} kept")


CHECKS = (
    *(Check(f"broker.{service}", partial(_reachable, service)) for service in CLASSES),
    *(Check(f"queue.{queue}", partial(_queue, queue)) for queue in QUEUES),
    *(Check(f"parked.{queue}", partial(_parked, queue)) for queue in QUEUES),
    Check("unrouted", _unrouted),
)
