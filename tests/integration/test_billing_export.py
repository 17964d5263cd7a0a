"""A copy of everything billing holds about a user: whole, exact, always JSON, and about nobody else."""

import json
from collections.abc import AsyncIterator

import pytest

from tests.support.billing import ANONYMOUS, Billing, billing, event_body, eventful


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Billing]:
    async with billing(database_url) as running:
        yield running


async def test_a_copy_holds_everything_as_it_is_kept(world: Billing) -> None:
    await eventful(world)
    price = event_body(id="PRICE", app_user_id="user_1").replace(b'"type"', b'"price": 9.990, "type"')
    odd = event_body(id="ODD", app_user_id="user_1").replace(b'"type"', b'"price": NaN, "type"')
    moved = event_body(id="MOVED", type="TRANSFER", transferred_from=["user_1"], transferred_to=["user_9"])
    for body in (price, odd, moved):
        await world.post_webhook(body)
    answer = await world.api.get("/internal/export")
    assert answer.status == 200
    assert "user_9" not in answer.text
    assert '"price": 9.990,' in answer.text
    copy = json.loads(answer.text, parse_constant=pytest.fail)
    assert copy["subscription"]["plan"] == "pro"
    assert [each["id"] for each in copy["anonymousIds"]] == [ANONYMOUS]
    assert [each["plan"] for each in copy["changes"]] == ["pro", "pro"]
    assert [each["appUserId"] for each in copy["readings"]] == ["user_1"]
    bodies = {each["id"]: each["body"] for each in copy["webhooks"]}
    assert len(bodies) == 6
    assert bodies["ODD"] == odd.decode()
    assert bodies["PRICE"] == json.loads(price)
    assert bodies["MOVED"]["event"]["transferred_to"] == []
    (planned,) = copy["plannedReadings"]
    assert planned["cause"].startswith("RevenueCat sent")
    assert "user_1" not in (await world.api.signed_in_as("user_2").get("/internal/export")).text


async def test_a_copy_of_a_stranger_is_empty_and_of_a_long_history_whole(world: Billing) -> None:
    stranger = (await world.api.signed_in_as("user_7").get("/internal/export")).json
    assert [name for name, value in stranger.items() if value == []] == [
        "anonymousIds", "readings", "changes", "webhooks", "provisionalGrants", "plannedReadings",
    ]  # fmt: skip
    await world.rows(
        "INSERT INTO billing.change (user_id, sequence, changed_at, plan, status, will_renew, cause_kind, cause)"
        " SELECT 'user_1', n, now(), 'free', 'expired', false, 'time', 'because' FROM generate_series(1, 1001) n"
    )
    await world.rows(
        "INSERT INTO billing.webhook_event SELECT 'E' || number, 'T', now(), now(), convert_to("
        """'{"event":{"id":"E","type":"T","event_timestamp_ms":1}}', 'UTF8') FROM generate_series(1, 101) number"""
    )
    await world.rows("INSERT INTO billing.mention SELECT 'user_1', id FROM billing.webhook_event")
    copy = (await world.api.get("/internal/export")).json
    assert [change["sequence"] for change in copy["changes"]] == list(range(1, 1002))
    assert len({webhook["id"] for webhook in copy["webhooks"]}) == 101
