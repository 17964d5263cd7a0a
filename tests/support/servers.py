"""Fixtures: the real servers the suite runs against, each started once per run, when a test first asks for it.

A server that cannot be started fails the tests that need it, with the reason. The fixtures are synchronous and run
their own short event loops, so a server never belongs to the loop of one test.
"""

import asyncio
import secrets
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from tests.support.ahead import Ahead
from tests.support.pgbouncer import PrivatePgBouncer
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.valkey import PrivateValkey
from tests.support.ways import check_the_way, way_to

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` in a loop of its own, leaving the current event loop of the thread as it is."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivatePostgres]:
    """A PostgreSQL server for the whole run, quick rather than safe against a crash of the machine."""
    server = PrivatePostgres()
    (port,) = free_ports(1)
    run(server.start(tmp_path_factory.mktemp("postgres"), port, durable=False))
    yield server
    run(server.stop())


@pytest.fixture(scope="session")
def databases(postgres: PrivatePostgres) -> Iterator[Ahead]:
    def make() -> str:
        name = f"test_{secrets.token_hex(6)}"
        run(_execute(postgres.url(), f'CREATE DATABASE "{name}"'))
        return name

    def remove(name: str) -> None:
        run(_execute(postgres.url(), f'DROP DATABASE "{name}" WITH (FORCE)'))

    ahead = Ahead(make, remove)
    yield ahead
    ahead.close()


@pytest.fixture
def database_url(postgres: PrivatePostgres, databases: Ahead) -> Iterator[str]:
    """A direct `postgresql://` address of an empty database made for this test; the user is a superuser."""
    name = databases.take()
    yield postgres.url(name)
    databases.give_back(name)
    check_the_way(name)


@pytest.fixture(scope="session")
def pgbouncer(postgres: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivatePgBouncer]:
    """A pooler in transaction mode before the PostgreSQL server, for the whole run."""
    pooler = PrivatePgBouncer()
    run(pooler.start(tmp_path_factory.mktemp("pgbouncer"), postgres))
    yield pooler
    run(pooler.stop())


both_ways = pytest.mark.parametrize("way", ["direct", "pooled"], indirect=True)
"""Runs a test whose service goes by ``way`` once directly and once through a pooler in transaction mode."""


@pytest.fixture
def way(request: pytest.FixtureRequest, database_url: str) -> dict[str, Any]:
    """How a service gets to the test's database, as settings: by the way of the run, but for `both_ways`."""
    if getattr(request, "param", "direct") == "direct":
        return way_to(database_url)
    pooler: PrivatePgBouncer = request.getfixturevalue("pgbouncer")
    return pooler.way_to(database_url)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbitMQ]:
    """A RabbitMQ broker with its management API for the whole run; nothing is kept, so it is killed at the end."""
    broker = PrivateRabbitMQ()
    run(broker.start(tmp_path_factory.mktemp("rabbitmq")))
    yield broker
    run(broker.kill())


@pytest.fixture
def rabbitmq_url(rabbitmq: PrivateRabbitMQ) -> Iterator[str]:
    """The `amqp://` address of an empty virtual host made for this test."""
    name = f"test-{secrets.token_hex(6)}"
    yield run(rabbitmq.create_vhost(name))
    run(rabbitmq.delete_vhost(name))


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateObjectStore]:
    """An S3 server for the whole run; a client needs its `endpoint`, `region`, `access_key` and `secret_key`."""
    store = PrivateObjectStore()
    (port,) = free_ports(1)
    run(store.start(tmp_path_factory.mktemp("object-store"), port, iam=True))
    yield store
    run(store.stop(at_once=True))


@pytest.fixture(scope="session")
def buckets(object_store: PrivateObjectStore) -> Iterator[Ahead]:
    def make() -> str:
        name = f"test-{secrets.token_hex(6)}"
        run(object_store.create_bucket(name))
        return name

    ahead = Ahead(make, lambda name: run(_drop_bucket(object_store, name)))
    yield ahead
    ahead.close()


@pytest.fixture
def bucket(buckets: Ahead) -> Iterator[str]:
    """The name of an empty bucket made for this test."""
    name = buckets.take()
    yield name
    buckets.give_back(name)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[PrivateValkey]:
    """A Valkey server of this test's own, so that it may be stopped or stalled; it starts in no time."""
    server = PrivateValkey(tmp_path)
    run(server.start())
    yield server
    run(server.kill())


async def _execute(url: str, statement: str) -> None:
    session = await asyncpg.connect(url)
    try:
        await session.execute(statement)
    finally:
        await session.close()


async def _drop_bucket(store: PrivateObjectStore, name: str) -> None:
    """Each bucket holds a volume of the server's limited number, so what a test made is removed with it."""
    async with store.client() as s3:
        async for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            doomed = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
            if doomed:
                await s3.delete_objects(Bucket=name, Delete={"Objects": doomed, "Quiet": True})
        await s3.delete_bucket(Bucket=name)
