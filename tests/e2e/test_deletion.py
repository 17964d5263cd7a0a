"""A user is deleted from the product as production runs it: a receipt of every store, and nothing left in any."""

import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.clock import utc_now
from embedded.clerk_users import webhook_body
from embedded.leaving import LINES, Leaving
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from tests.support.billing import event_body
from tests.support.deployment import SERVICES, Deployment
from tests.support.log_search import Search

USER = "user_2leavingForGood0000000000"
EMAIL = "leaving@example.com"
KEEP_THE_ID = {"identity.tombstone", "identity.deletion", "billing.erased_user", "media.erased_user"}
"""Who must remember that the user is gone. Outboxes do so too, for the week that they keep what was published."""


async def objects_in(store: PrivateObjectStore, bucket: str) -> set[str]:
    async with store.client() as s3:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"] async for page in pages for item in page.get("Contents", [])}


async def tables_with(deployment: Deployment, text: str) -> set[str]:
    """Every table of every service that holds the text anywhere."""
    session = await asyncpg.connect(deployment.database_url)
    try:
        query = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY($1::text[])"
        found = set()
        for schema, table in await session.fetch(query, list(SERVICES)):
            row = await session.fetchval(f'SELECT 1 FROM "{schema}"."{table}" t WHERE t::text LIKE $1 LIMIT 1', text)
            if row:
                found.add(f"{schema}.{table}")
        return found
    finally:
        await session.close()


@pytest.mark.timeout(300)
async def test_nothing_is_left_of_a_user_who_leaves(
    tmp_path: Path, postgres: PrivatePostgres, object_store: PrivateObjectStore, bucket: str, rabbitmq_url: str
) -> None:
    async with Deployment(tmp_path, postgres, object_store, bucket, rabbitmq_url) as deployment:
        before = await objects_in(object_store, bucket)
        deployment.clerk.sign_up(USER, EMAIL)
        left = await Leaving(deployment.url, deployment, tell=print).leave(USER)

        assert left.export["identity"]["user"]["email"] == EMAIL
        assert LINES[0] in json.dumps(left.export["media"])
        assert left.started["subscription"]["product"]
        statuses = {receipt["store"]: receipt["status"] for receipt in left.deletion["receipts"]}
        stores = ("identity", "billing", "revenuecat", "media", "storage", "clerk")
        assert statuses == dict.fromkeys(stores, "completed")
        await nothing_is_left(deployment, object_store, bucket, before)

        await tell_late(deployment)
        await nothing_is_left(deployment, object_store, bucket, before)
        search = Search(deployment, {"words": [*LINES, "letting go"], "address": [EMAIL], "user": [USER]})
        assert search.found() == []


async def nothing_is_left(
    deployment: Deployment, object_store: PrivateObjectStore, bucket: str, before: set[str]
) -> None:
    assert await objects_in(object_store, bucket) == before
    assert deployment.clerk.users.get(USER) is None
    assert not deployment.store.ledger.knows(USER)
    assert await tables_with(deployment, f"%{EMAIL}%") == set()
    for line in LINES:
        assert await tables_with(deployment, f"%{line}%") == set()
    named = await tables_with(deployment, f"%{USER}%")
    assert named - {f"{service}.outbox" for service in SERVICES} == KEEP_THE_ID


async def tell_late(deployment: Deployment) -> None:
    """What the providers may still send: the user as they were, a session's end, a renewal. All are taken with 200."""
    clerk, store = deployment.clerk, deployment.store
    late: dict[str, Any] = {"id": USER, "updated_at": 4_000_000_000_000, "email_addresses": []}
    for kind, data in (
        ("user.updated", late),
        ("session.ended", {"id": "sess_late", "user_id": USER}),
        ("user.deleted", {"id": USER, "deleted": True}),
    ):
        body = webhook_body(kind, data, clerk.instance_id, utc_now()).encode()
        assert (await clerk.webhooks.send_once(f"msg_{kind.replace('.', '_')}", kind, body)).status == 200
    renewal = event_body(app_user_id=USER, original_app_user_id=USER, aliases=[USER])
    assert (await store.send_body(renewal)).status == 200
