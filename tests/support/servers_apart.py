"""The servers a deployment needs, for what is no test: started for one run, and gone after it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from tests.support.deployment import Deployment
from tests.support.rabbitmq import PrivateRabbitMQ

BUCKET = "entrain"


@dataclass(frozen=True)
class ServersApart:
    """PostgreSQL, an S3 server with an empty bucket, and a broker whose own virtual host is at ``rabbitmq_url``."""

    folder: Path
    postgres: PrivatePostgres
    objects: PrivateObjectStore
    rabbitmq: PrivateRabbitMQ
    rabbitmq_url: str

    def deployment(self, **settings: str) -> Deployment:
        """The product's processes on them, not started."""
        return Deployment(self.folder, self.postgres, self.objects, BUCKET, self.rabbitmq_url, **settings)


@asynccontextmanager
async def servers_apart(folder: Path) -> AsyncIterator[ServersApart]:
    print("starting PostgreSQL, RabbitMQ and an S3 server", flush=True)
    postgres, objects, rabbitmq = PrivatePostgres(), PrivateObjectStore(), PrivateRabbitMQ()
    database_port, object_port = free_ports(2)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(postgres.stop)
        await postgres.start(folder / "postgres", database_port, durable=False)
        stack.push_async_callback(objects.stop, at_once=True)
        await objects.start(folder / "objects", object_port)
        stack.push_async_callback(rabbitmq.kill)
        await rabbitmq.start(folder / "rabbitmq")
        await objects.create_bucket(BUCKET)
        own = folder / "deployment"
        own.mkdir()
        yield ServersApart(own, postgres, objects, rabbitmq, await rabbitmq.create_vhost(BUCKET))
