"""The first journey through separate processes over RabbitMQ; `test_all_in_one` plays it in one process."""

from pathlib import Path

import aiohttp
import pytest

from common.clock import utc_now
from common.contracts.identity import SessionEnded
from common.messaging.envelope import Envelope
from common.messaging.rabbit import RabbitBus
from common.tracing import current_trace
from embedded.journey import Journey
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from tests.support.deployment import Deployment
from tests.support.event_ledger import until


@pytest.mark.timeout(240)
async def test_through_separate_processes_over_rabbitmq(
    tmp_path: Path, postgres: PrivatePostgres, object_store: PrivateObjectStore, bucket: str, rabbitmq_url: str
) -> None:
    async with Deployment(tmp_path, postgres, object_store, bucket, rabbitmq_url) as deployment:
        await deployment.seed()
        heard = await Journey(deployment.url, deployment, tell=print).play("user_traveller")
        await _signed_out_is_out(deployment, rabbitmq_url)
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
