"""The first journey: in the all-in-one run, and again through separate processes over RabbitMQ."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedded.journey import Journey
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from tests.support.deployment import Deployment


@pytest.fixture
async def deployment(
    tmp_path: Path, postgres: PrivatePostgres, object_store: PrivateObjectStore, bucket: str, rabbitmq_url: str
) -> AsyncIterator[Deployment]:
    async with Deployment(tmp_path, postgres, object_store, bucket, rabbitmq_url) as running:
        yield running


async def test_through_separate_processes_over_rabbitmq(deployment: Deployment) -> None:
    heard = await Journey(deployment.url, deployment, tell=print).play("user_traveller")
    assert heard.seconds > 20
