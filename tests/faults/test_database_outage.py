"""The database goes away while a purchase arrives: nothing acknowledged is lost, and nobody has to repair anything."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from embedded.processes import free_ports
from tests.support.deployment import Deployment


async def plan_of(deployment: Deployment, user_id: str) -> tuple[int, str]:
    """Status of the answer, and the plan it says."""
    headers = {"Authorization": f"Bearer {deployment.token(user_id)}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(f"{deployment.url}/me/entitlement") as answer:
        body = await answer.json()
        return answer.status, body.get("plan") or body["code"]


async def until_plan(deployment: Deployment, user_id: str, plan: str) -> None:
    async with asyncio.timeout(30):
        while await plan_of(deployment, user_id) != (200, plan):
            await asyncio.sleep(0.1)


@pytest.mark.timeout(180)
async def test_a_webhook_refused_while_the_database_is_down_arrives_with_the_providers_retry(
    tmp_path: Path, object_store: PrivateObjectStore, bucket: str, rabbitmq_url: str
) -> None:
    own, (port,) = PrivatePostgres(), free_ports(1)
    await own.start(tmp_path / "postgres", port)
    try:
        async with Deployment(tmp_path, own, object_store, bucket, rabbitmq_url) as deployment:
            assert await plan_of(deployment, "user_ada") == (200, "free")

            await own.stop()
            await deployment.purchase("user_ada")
            async with asyncio.timeout(20):
                while not deployment.store.webhooks.history:
                    await asyncio.sleep(0.1)
            assert deployment.store.webhooks.history[0].status == 503
            assert await plan_of(deployment, "user_ada") == (503, "UNAVAILABLE")

            await own.start(tmp_path / "postgres", port)
            deployment.store.webhooks.retry_now()
            await until_plan(deployment, "user_ada", "pro")
            assert deployment.store.webhooks.history[-1].status == 200
    finally:
        await own.stop()
