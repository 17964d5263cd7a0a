"""RevenueCat's webhooks at the door: proven, stored with their work in one transaction, answered exactly 200."""

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from billing.service import build
from common.service import HttpServer
from embedded.webhook_signatures import revenuecat_headers
from tests.support.billing import (
    AUTHORIZATION,
    NOWHERE,
    SIGNING_SECRET,
    WEBHOOK_BODIES,
    Billing,
    billing,
    event_body,
    settings,
)
from tests.support.callers import FixedCallers, all_at_once
from tests.support.servers import both_ways


@pytest.fixture
async def world(way: dict[str, Any]) -> AsyncIterator[Billing]:
    async with billing(**way) as running:
        yield running


async def test_every_known_body_is_stored_byte_by_byte(world: Billing) -> None:
    for path in WEBHOOK_BODIES:
        answer = await world.post_webhook(path.read_bytes())
        assert (answer.status, answer.json) == (200, {"ok": True, "duplicate": False}), path.name
    stored = await world.rows("SELECT id, type, body FROM billing.webhook_event")
    assert {row["body"] for row in stored} == {path.read_bytes() for path in WEBHOOK_BODIES}
    assert len(stored) == len(WEBHOOK_BODIES) == 31


@both_ways
async def test_the_people_a_body_names_are_read(world: Billing) -> None:
    for path in WEBHOOK_BODIES:
        event = json.loads(path.read_bytes())["event"]
        named = {event.get("app_user_id"), event.get("original_app_user_id"), *event.get("aliases", ())}
        named |= {*event.get("transferred_from", ()), *event.get("transferred_to", ())}
        await world.post_webhook(path.read_bytes())
        query = "SELECT app_user_id FROM billing.mention WHERE event_id = $1"
        mentioned = {row["app_user_id"] for row in await world.rows(query, event["id"])}
        assert mentioned == {one for one in named if one}, path.name
        await world.rows("DELETE FROM billing.alias")
        asked = {row["user_id"] for row in await world.rows("DELETE FROM billing.refresh RETURNING user_id")}
        assert asked == {one for one in mentioned if not one.startswith("$RCAnonymousID:")}, path.name


@both_ways
async def test_the_same_event_many_times_at_once_is_stored_once(world: Billing) -> None:
    body = event_body(app_user_id="user_1")
    answers = await all_at_once(*[partial(world.post_webhook, body)] * 20)
    assert {answer.status for answer in answers} == {200}
    assert sum(not answer.json["duplicate"] for answer in answers) == 1
    assert [await world.count(table) for table in ("webhook_event", "mention", "refresh")] == [1, 1, 1]


@both_ways
async def test_many_events_about_a_person_make_one_reading(world: Billing) -> None:
    for number in range(10):
        await world.post_webhook(event_body(id=f"E{number}", app_user_id="user_1", aliases=["user_1"]))
    assert await world.work() == 1
    assert world.store.faults.calls == {"/v1/subscribers/user_1": 1}


async def test_events_that_cannot_touch_access_are_only_stored(world: Billing) -> None:
    kinds = ["TEST", "EXPERIMENT_ENROLLMENT", "VIRTUAL_CURRENCY_TRANSACTION", "INVOICE_ISSUANCE", "PAYWALL_CLOSE"]
    for kind in kinds:
        assert (await world.post_webhook(event_body(id=kind, type=kind, app_user_id="user_1"))).status == 200
    assert [await world.count(table) for table in ("webhook_event", "refresh")] == [len(kinds), 0]


ODD: list[dict[str, object]] = [
    {"type": "SOMETHING_NEW", "new_field": {"deep": [1, None]}},
    {"event_timestamp_ms": 78789789798798},
    {"event_timestamp_ms": 10**40},
    {"event_timestamp_ms": -(10**40)},
    {"event_timestamp_ms": 1788256800000.5},
    {"price": 9, "price_in_purchased_currency": -9.99, "renewal_number": "one"},
    {"app_user_id": None, "aliases": None, "entitlement_ids": None, "expiration_at_ms": None},
    {"app_user_id": 17, "aliases": "user_1", "entitlement_ids": {"pro": 1}, "product_id": []},
    {"app_user_id": "nul\0inside", "aliases": ["\ud83d", "", "x" * 257]},
    {"expiration_at_ms": 1e300, "grace_period_expiration_at_ms": "soon", "environment": 3},
    {"transferred_from": [None, 5, "user_1"], "transferred_to": [[]]},
]


async def test_whatever_else_a_body_holds_is_stored_and_read_without_a_stumble(world: Billing) -> None:
    for number, odd in enumerate(ODD):
        assert (await world.post_webhook(event_body(id=f"odd {number}", **odd))).status == 200, odd
    assert await world.count("webhook_event") == len(ODD)
    await world.work()
    assert await world.plan("user_1") == "free"


@pytest.mark.parametrize("kind", ["SOMETHING_NEW", "REFUND", "something_new"])
async def test_a_type_that_nobody_knows_yet_has_the_person_read(world: Billing, kind: str) -> None:
    world.store.webhooks.lose()
    world.store.purchase("user_1")
    await world.post_webhook(event_body(type=kind, app_user_id="user_1"))
    await world.work()
    assert await world.plan() == "pro"


async def test_events_of_one_transaction_are_events_of_their_own(world: Billing) -> None:
    """Stripe names its subscription's item in every event of every period."""
    item = {"app_user_id": "user_1", "store": "STRIPE", "transaction_id": "si_1", "original_transaction_id": "si_1"}
    for event_id in ("E1", "E2"):
        assert (await world.post_webhook(event_body(id=event_id, **item))).json["duplicate"] is False
        assert await world.work() == 1


async def test_an_event_from_the_future_does_not_stand_after_every_later_one(world: Billing) -> None:
    await world.post_webhook(event_body(event_timestamp_ms=78789789798798))
    (row,) = await world.rows("SELECT happened_at, received_at FROM billing.webhook_event")
    assert row["happened_at"] == row["received_at"] == world.clock()


NO_EVENTS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe\x00",
    b'{"event": null}',
    b'{"event": {"type": "RENEWAL", "id": "E1"}}',
    event_body(id=None),
    event_body(id=7),
    event_body(id=""),
    event_body(id="x" * 257),
    event_body(id="nul\0inside"),
    event_body(type=None),
    event_body(event_timestamp_ms="1788256800000"),
    event_body(event_timestamp_ms=True),
    b'{"event": {"type": "RENEWAL", "id": "E1", "event_timestamp_ms": NaN}}',
    b"[" * 100_000,
]


async def test_what_is_no_event_is_refused_and_not_stored(world: Billing) -> None:
    for body in NO_EVENTS:
        answer = await world.post_webhook(body)
        assert (answer.status, answer.json["code"]) == (400, "VALIDATION_ERROR"), body[:80]
    assert await world.count("webhook_event") == 0


async def test_a_body_over_a_mebibyte_is_too_large_declared_or_not(world: Billing) -> None:
    body = event_body(padding="x" * 1024 * 1024)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    assert (await world.post_webhook(body)).status == 413
    signed = revenuecat_headers(body, int(world.clock().timestamp()), AUTHORIZATION, SIGNING_SECRET)
    answer = await world.api.signed_in_as(None).post("/webhooks/revenuecat", raw=chunks(), headers=signed)
    assert (answer.status, answer.json["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert await world.count("webhook_event") == 0


async def test_what_does_not_prove_its_origin_is_refused_and_not_stored(world: Billing) -> None:
    body, now = event_body(), int(world.clock().timestamp())
    good = revenuecat_headers(body, now, AUTHORIZATION, SIGNING_SECRET)
    signature = good["X-RevenueCat-Webhook-Signature"]
    for headers in (
        {},
        {"Authorization": AUTHORIZATION},
        {"X-RevenueCat-Webhook-Signature": signature},
        {**good, "Authorization": "Bearer wrong"},
        {**good, "X-Webhook-Authorization": "Bearer wrong"},
        revenuecat_headers(body, now, AUTHORIZATION, "whsec_another_long_secret"),
        revenuecat_headers(body, now - 301, AUTHORIZATION, SIGNING_SECRET),
        revenuecat_headers(body + b" ", now, AUTHORIZATION, SIGNING_SECRET),
        {**good, "X-RevenueCat-Webhook-Signature": "t=,v1"},
    ):
        answer = await world.post_webhook(body, {**headers, "X-Attempt": "1"})
        assert (answer.status, answer.json["code"]) == (401, "UNAUTHORIZED"), headers
    assert await world.count("webhook_event") == 0


async def test_through_the_gateway_the_senders_authorization_has_another_name(world: Billing) -> None:
    body = event_body()
    signed = dict(revenuecat_headers(body, int(world.clock().timestamp()), AUTHORIZATION, SIGNING_SECRET))
    signed |= {"X-Webhook-Authorization": signed.pop("Authorization"), "Authorization": "Bearer an.internal.token"}
    assert (await world.post_webhook(body, signed)).status == 200


async def test_while_the_database_is_down_the_provider_is_told_to_come_back_and_its_retry_succeeds(
    world: Billing,
) -> None:
    unreachable = build(settings("postgresql://nobody@127.0.0.1:1/none"), clock=world.clock, verifier=FixedCallers())
    world.store.purchase("user_1")
    alive = world.store.webhooks.url
    async with unreachable.opened(), HttpServer(unreachable.app, "127.0.0.1", 0) as server:
        world.store.webhooks.url = f"http://127.0.0.1:{server.port}/webhooks/revenuecat"
        assert await world.hear() == [503]
    world.store.webhooks.url = alive
    world.clock.forward(minutes=5)
    assert await world.hear() == [200]
    await world.work()
    assert await world.plan() == "pro"


async def test_a_service_that_accepts_any_sender_does_not_start() -> None:
    with pytest.raises(ValueError, match="REVENUECAT_WEBHOOK_AUTHORIZATION or REVENUECAT_WEBHOOK_SECRETS"):
        settings(NOWHERE, revenuecat_webhook_authorization=(), revenuecat_webhook_secrets=())


async def test_a_webhook_is_kept_as_it_came_for_the_set_time_and_not_longer(database_url: str) -> None:
    async with billing(database_url, revenuecat_raw_retention_days=30) as world:
        world.store.purchase("user_1")
        await world.hear_and_work()
        world.clock.forward(days=1)
        await world.post_webhook(event_body(id="younger", app_user_id="user_1"))
        world.clock.forward(days=29)
        assert await world.service.forgetting.once() == {}
        world.clock.forward(seconds=1)
        assert await world.service.forgetting.once() == {"webhook_event": 1}
        assert await world.rows("SELECT event_id FROM billing.mention") == [{"event_id": "younger"}]
        assert [row["id"] for row in await world.rows("SELECT id FROM billing.webhook_event")] == ["younger"]
        assert (await world.causes())[0] == ("pro", "active", "webhook")


async def test_much_that_is_old_goes_bit_by_bit(world: Billing) -> None:
    old = "INSERT INTO billing.webhook_event SELECT 'E' || n, 'RENEWAL', $1, $1, '' FROM generate_series(1, 2500) AS n"
    await world.rows(old, world.clock())
    world.clock.forward(days=91)
    assert await world.service.forgetting.once() == {"webhook_event": 2500}


async def test_what_is_logged_of_a_webhook_tells_nothing_about_the_person(
    world: Billing, capsys: pytest.CaptureFixture[str]
) -> None:
    body = event_body(
        id=7,
        app_user_id="user_secret",
        product_id="monthly",
        subscriber_attributes={"$email": {"value": "ada@example.org"}},
    )
    assert (await world.post_webhook(body)).status == 400
    shown = capsys.readouterr().out
    assert "webhook_not_understood" in shown
    assert "monthly" in shown
    assert "ada@example.org" not in shown
    assert "user_secret" not in shown
