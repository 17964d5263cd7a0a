"""The first journey through separate processes over RabbitMQ; `test_all_in_one` plays it in one process."""

from pathlib import Path

import pytest

from embedded.journey import Journey
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from tests.support.deployment import Deployment


@pytest.mark.timeout(240)
async def test_through_separate_processes_over_rabbitmq(
    tmp_path: Path, postgres: PrivatePostgres, object_store: PrivateObjectStore, bucket: str, rabbitmq_url: str
) -> None:
    async with Deployment(tmp_path, postgres, object_store, bucket, rabbitmq_url) as deployment:
        await deployment.seed()
        heard = await Journey(deployment.url, deployment, tell=print).play("user_traveller")
    assert heard.seconds > 20
