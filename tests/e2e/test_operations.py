"""What operators do with a product of separate processes: they watch it, lose it, and restore it.

The drill of docs/backups.md: the database and the broker are lost, and people go on.
"""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from billing.__main__ import main as billing
from common.clock import utc_now
from common.contracts.identity import SessionEnded
from common.messaging.envelope import Envelope
from common.messaging.rabbit import RabbitBus
from common.tracing import current_trace
from embedded.clerk_users import webhook_body
from embedded.journey import Journey
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from media.__main__ import main as media
from tests.support.ahead import Ahead
from tests.support.backup import create, new_database, restore
from tests.support.command_lines import called
from tests.support.deployment import Deployment
from tests.support.event_ledger import until
from tests.support.prometheus import PrivatePrometheus
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.schemas import rows
from tests.support.watched_product import everything_is_seen, jobs_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
LEAVING = "user_2leavingForGood0000000000"
PROJECTED = ("billing.customer", "media.entitlement")
VHOST = f"operations-{secrets.token_hex(4)}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PrivatePostgres,
    object_store: PrivateObjectStore,
    buckets: Ahead,
    rabbitmq: PrivateRabbitMQ,
) -> AsyncIterator[Deployment]:
    bucket, url = buckets.take(), await rabbitmq.create_vhost(VHOST)
    folder = tmp_path_factory.mktemp("deployment")
    async with Deployment(folder, postgres, object_store, bucket, url) as deployed:
        await deployed.seed()
        yield deployed
    buckets.give_back(bucket)
    await rabbitmq.delete_vhost(VHOST)


async def test_a_real_prometheus_sees_the_first_journey(
    deployment: Deployment, rabbitmq: PrivateRabbitMQ, tmp_path: Path
) -> None:
    async with PrivatePrometheus(tmp_path / "prometheus", jobs_of(deployment)) as prometheus:
        heard = await Journey(deployment.url, deployment, tell=print).play("user_traveller")
        await everything_is_seen(prometheus, deployment, "user_traveller")
    await _signed_out_is_out(deployment, rabbitmq.url(VHOST))
    assert heard.seconds > 20


async def _signed_out_is_out(deployment: Deployment, rabbitmq_url: str) -> None:
    """The gateway process hears of an ended session by the broker and refuses a token it let pass before."""
    token = deployment.clerk.session_token("user_traveller", sid="sess_2left")
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:

        async def answered(status: int) -> bool:
            async with http.get(f"{deployment.url}/me/entitlement") as answer:
                return answer.status == status

        assert await answered(200)
        async with RabbitBus(rabbitmq_url, name="test") as bus:
            ended = SessionEnded(session_id="sess_2left", user_id="user_traveller", ended_at=utc_now(), sequence=1)
            await bus.publish(Envelope.of(ended, at=utc_now(), trace=current_trace()))
        assert await until(lambda: answered(401))


async def test_people_go_on_from_a_backup_when_database_and_broker_are_lost(
    deployment: Deployment, postgres: PrivatePostgres, rabbitmq: PrivateRabbitMQ, tmp_path: Path
) -> None:
    """What was bought after the backup is RevenueCat's to say; what media had not heard of before it is billing's."""
    await buy(deployment, "user_faithful", seen_at="/me/entitlement")
    await ask(deployment, "user_late", "POST", "/me/subscription/sync")
    await ask(deployment, LEAVING, "GET", "/me")
    await deployment.stop("media worker")
    await buy(deployment, "user_unheard")
    await until(lambda: published(deployment, "user_unheard"))
    with timed("backup"):
        folder = await create(deployment.database_url, tmp_path)
    for user in ("user_late", "user_new"):
        await buy(deployment, user)
    await say_deleted(deployment)
    await lose_and_restore(deployment, postgres, rabbitmq, folder)

    assert not await is_gone(deployment)
    await say_deleted(deployment)
    lost = {"user_late": "/me/subscription", "user_unheard": "/me/entitlement", "user_new": "/me/subscription"}
    assert [await plan(deployment, user, path) for user, path in lost.items()] == ["free"] * 3

    with timed("announce and reconcile"):
        await command(billing, deployment, "announce", "--all")
        await command(billing, deployment, "reconcile", "--all", "--wait")
        assert (await ask(deployment, "user_new", "POST", "/me/subscription/sync"))["plan"] == "pro"
        for user in (*lost, "user_faithful"):
            await becomes(deployment, user, "/me/entitlement", "pro")
    await until(lambda: projection_is_what_was_announced(deployment))
    with timed("audit of the bucket"):
        await command(media, deployment, "audit-storage")
    with timed("first journey"):
        await Journey(deployment.url, deployment, tell=print).play("user_settler")


async def lose_and_restore(
    deployment: Deployment, postgres: PrivatePostgres, rabbitmq: PrivateRabbitMQ, folder: Path
) -> None:
    await deployment.stop_all()
    await rabbitmq.delete_vhost(VHOST)
    await rabbitmq.create_vhost(VHOST)
    url = await new_database(postgres, deployment.database)
    with timed("restore"):
        ended = await restore(url, folder, {**deployment.environment, **deployment.role_passwords})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    with timed("start"):
        await deployment.start_all()


async def command(main: Callable[[], int], deployment: Deployment, *arguments: str) -> None:
    ended = await called(main, "service", *arguments, **deployment.environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr


async def buy(deployment: Deployment, user: str, *, seen_at: str = "/me/subscription") -> None:
    await deployment.purchase(user)
    await becomes(deployment, user, seen_at, "pro")


@contextmanager
def timed(step: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    print(f"drill: {step} {time.perf_counter() - begun:.1f} s")


async def ask(deployment: Deployment, user: str, method: str, path: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {deployment.token(user)}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.request(method, deployment.url + path) as answer:
        assert answer.status == 200, await answer.text()
        body: dict[str, Any] = await answer.json()
        return body


async def plan(deployment: Deployment, user: str, path: str) -> str:
    return str((await ask(deployment, user, "GET", path))["plan"])


async def becomes(deployment: Deployment, user: str, path: str, due: str) -> None:
    async def is_due() -> bool:
        return await plan(deployment, user, path) == due

    await until(is_due)


async def say_deleted(deployment: Deployment) -> None:
    """Clerk's webhook, or a replay of it."""
    clerk = deployment.clerk
    body = webhook_body("user.deleted", {"id": LEAVING, "deleted": True}, clerk.instance_id, utc_now()).encode()
    assert (await clerk.webhooks.send_once("msg_2deleted", "user.deleted", body)).status == 200
    await until(lambda: is_gone(deployment))


async def is_gone(deployment: Deployment) -> bool:
    return not await rows(deployment.database_url, 'SELECT 1 FROM identity."user" WHERE id = $1', LEAVING)


async def published(deployment: Deployment, subject: str) -> bool:
    query = "SELECT bool_and(published_at IS NOT NULL) AS all FROM billing.outbox WHERE subject = $1"
    return bool((await rows(deployment.database_url, query, subject))[0]["all"])


async def projection_is_what_was_announced(deployment: Deployment) -> bool:
    query = "SELECT user_id, plan, sequence FROM {} WHERE sequence > 0 ORDER BY user_id"
    told, heard = [await rows(deployment.database_url, query.format(table)) for table in PROJECTED]
    return bool(told) and told == heard
