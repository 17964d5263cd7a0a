"""The private servers start, keep their data, die with their owner and come back after any crash."""

import asyncio
import json
import os
import select
import signal
import sys
import textwrap
from pathlib import Path

import aio_pika
import aiohttp
import asyncpg
import pytest
from botocore.exceptions import ClientError

from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres, find_binaries
from embedded.processes import ServerFailed, end_residents, free_ports, residents, spawn
from tests.support.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.direct("looks at the servers alone")


async def _value(url: str, query: str) -> object:
    session = await asyncpg.connect(url)
    try:
        return await session.fetchval(query)
    finally:
        await session.close()


async def test_postgres_keeps_its_data_and_password_over_a_restart(tmp_path: Path) -> None:
    server = PrivatePostgres()
    await server.start(tmp_path, free_ports(1)[0])
    try:
        await _value(server.url(), "CREATE TABLE kept AS SELECT 7 AS value")
    finally:
        await server.stop()
    await server.start(tmp_path, free_ports(1)[0])
    try:
        assert await _value(server.url(), "SELECT value FROM kept") == 7
        assert (tmp_path / "password").stat().st_mode & 0o077 == 0
    finally:
        await server.stop()


async def test_postgres_speaks_utf8_and_utc_and_refuses_a_wrong_password(postgres: PrivatePostgres) -> None:
    assert await _value(postgres.url(), "SHOW server_encoding") == "UTF8"
    assert await _value(postgres.url(), "SHOW timezone") == "UTC"
    assert await _value(postgres.url(), "SHOW listen_addresses") == "127.0.0.1"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.url(password="guess"))


async def test_postgres_comes_back_after_its_server_is_killed(tmp_path: Path) -> None:
    server = PrivatePostgres()
    await server.start(tmp_path, free_ports(1)[0])
    await _value(server.url(), "CREATE TABLE kept AS SELECT 7 AS value")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.stop()
    await server.start(tmp_path, free_ports(1)[0])
    try:
        assert await _value(server.url(), "SELECT value FROM kept") == 7
    finally:
        await server.stop()


async def test_a_first_start_cut_short_is_made_good_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "unfinished-1").mkdir()
    (tmp_path / "unfinished-1" / "PG_VERSION").write_text("18\n")
    (tmp_path / "password").write_text("of the run cut short")
    server = PrivatePostgres()
    await server.start(tmp_path, free_ports(1)[0])
    try:
        assert await _value(server.url(), "SELECT 1") == 1
        assert not (tmp_path / "unfinished-1").exists()
    finally:
        await server.stop()


async def test_a_second_run_on_the_same_directory_is_refused_and_the_first_is_left_alone(tmp_path: Path) -> None:
    first, second = PrivatePostgres(), PrivatePostgres()
    await first.start(tmp_path, free_ports(1)[0])
    try:
        with pytest.raises(ServerFailed, match="in use by another run"):
            await second.start(tmp_path, free_ports(1)[0])
        assert await _value(first.url(), "SELECT 1") == 1
    finally:
        await first.stop()


async def test_a_taken_port_is_an_error_that_names_it(postgres: PrivatePostgres, tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"port \d+ is taken"):
        await PrivatePostgres().start(tmp_path, postgres.port)


async def test_a_cluster_of_another_major_version_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "PG_VERSION").write_text("9\n")
    with pytest.raises(ServerFailed, match="made by PostgreSQL 9"):
        await PrivatePostgres().start(tmp_path, free_ports(1)[0])


def test_postgres_named_by_the_environment_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    with pytest.raises(ServerFailed, match="PG_BIN"):
        find_binaries()


LAUNCHER = textwrap.dedent(
    """
    import asyncio, json, sys
    from pathlib import Path
    from embedded.object_store import PrivateObjectStore
    from embedded.postgres import PrivatePostgres
    from embedded.processes import free_ports

    async def main(data):
        database, store = PrivatePostgres(), PrivateObjectStore()
        await database.start(data / "postgres", free_ports(1)[0])
        await store.start(data / "store", free_ports(1)[0])
        await store.create_bucket("kept")
        print(json.dumps([database.pid, store.pid]), flush=True)
        await asyncio.Event().wait()

    asyncio.run(main(Path(sys.argv[1])))
    """
)


async def test_servers_die_with_a_killed_owner_and_the_next_start_succeeds(tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LAUNCHER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    handles = [os.pidfd_open(pid) for pid in json.loads(await owner.stdout.readline())]
    owner.kill()
    await owner.wait()
    for handle in handles:
        assert select.select([handle], [], [], 20)[0], "a server outlived its owner"
        os.close(handle)
    database, store = PrivatePostgres(), PrivateObjectStore()
    await database.start(tmp_path / "postgres", free_ports(1)[0])
    try:
        await store.start(tmp_path / "store", free_ports(1)[0])
        assert residents(tmp_path / "store", "weed") == [store.pid]
        async with store.client() as s3:
            assert "kept" in [item["Name"] for item in (await s3.list_buckets())["Buckets"]]
    finally:
        await store.stop(at_once=True)
        await database.stop()


async def test_a_leftover_that_ignores_its_signal_is_killed_and_a_strangers_process_is_not(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    leftover = spawn("leftover", [sys.executable, "-c", deaf], cwd=tmp_path, log=tmp_path / "log")
    stranger = spawn("stranger", ["sleep", "600"], cwd=tmp_path, log=tmp_path / "stranger.log")
    try:

        async def up() -> bool:
            return "up" in leftover.log_tail()

        await leftover.until_ready(up, seconds=20)
        name = Path(f"/proc/{leftover.process.pid}/comm").read_text().strip()
        await end_residents(tmp_path, name, first=signal.SIGINT, patience=0.2)
        assert await leftover.stop() == -signal.SIGKILL
        assert stranger.running
    finally:
        await stranger.stop(first=signal.SIGKILL)
        await leftover.stop(first=signal.SIGKILL)


async def test_the_object_store_keeps_objects_and_keys_over_a_kill(tmp_path: Path) -> None:
    store = PrivateObjectStore()
    await store.start(tmp_path, free_ports(1)[0])
    keys = store.access_key, store.secret_key
    await store.create_bucket("media")
    await store.create_bucket("media")
    async with store.client() as s3:
        await s3.put_object(Bucket="media", Key="a/b.m4a", Body=b"sound", ServerSideEncryption="AES256")
    await store.stop(at_once=True)
    await store.start(tmp_path, free_ports(1)[0])
    try:
        assert (store.access_key, store.secret_key) == keys
        async with store.client() as s3:
            answer = await s3.get_object(Bucket="media", Key="a/b.m4a")
            assert await answer["Body"].read() == b"sound"
    finally:
        await store.stop()
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0


async def test_the_object_store_refuses_strangers(object_store: PrivateObjectStore, bucket: str) -> None:
    async with object_store.client() as s3:
        await s3.put_object(Bucket=bucket, Key="secret", Body=b"x")
    async with aiohttp.ClientSession() as http:
        for method, path in [
            ("GET", f"/{bucket}/secret"),
            ("PUT", f"/{bucket}/new"),
            ("GET", f"/{bucket}"),
            ("GET", "/"),
        ]:
            async with http.request(method, object_store.endpoint + path) as answer:
                assert answer.status == 403, (method, path)


async def test_the_object_store_makes_no_bucket_by_itself(object_store: PrivateObjectStore) -> None:
    async with object_store.client() as s3:
        with pytest.raises(ClientError) as refused:
            await s3.put_object(Bucket="never-made", Key="k", Body=b"x")
    assert refused.value.response["Error"]["Code"] == "NoSuchBucket"


async def test_virtual_hosts_of_the_broker_are_isolated(rabbitmq: PrivateRabbitMQ, rabbitmq_url: str) -> None:
    other_url = await rabbitmq.create_vhost("other")
    here, there = await aio_pika.connect(rabbitmq_url), await aio_pika.connect(other_url)
    async with here, there:
        await (await here.channel()).declare_queue("same-name", durable=True)
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await (await there.channel()).declare_queue("same-name", passive=True)
    await rabbitmq.delete_vhost("other")
    assert "other" not in [vhost["name"] for vhost in await rabbitmq.api("GET", "vhosts")]


async def test_the_broker_keeps_confirmed_messages_over_a_kill(tmp_path: Path) -> None:
    broker = PrivateRabbitMQ()
    await broker.start(tmp_path)
    try:
        async with await aio_pika.connect(broker.url()) as session:
            await (await session.channel()).declare_queue("kept", durable=True)
        # The broker writes a new queue down some seconds after its answer; a stop in order does not wait for that.
        await broker.stop()
        await broker.start(tmp_path)
        async with await aio_pika.connect(broker.url()) as session:
            message = aio_pika.Message(b"hello", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await (await session.channel()).default_exchange.publish(message, "kept")
        await broker.kill()
        await broker.start(tmp_path)
        async with await aio_pika.connect(broker.url()) as session:
            queue = await (await session.channel()).declare_queue("kept", passive=True)
            async with queue.iterator(timeout=30) as messages:
                assert (await anext(messages)).body == b"hello"
    finally:
        await broker.kill()


async def test_each_test_gets_an_empty_database(postgres: PrivatePostgres, database_url: str) -> None:
    assert await _value(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert await _value(database_url, "SELECT current_database()") != "postgres"
