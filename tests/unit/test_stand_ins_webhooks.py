"""How the stand-ins deliver webhooks: signed as the recorded ones, retried as documented, badly when told to."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from embedded.revenuecat import RevenueCatStandIn
from embedded.webhook_sender import SVIX_RULES, WebhookSender
from embedded.webhook_signatures import revenuecat_headers
from tests.support.hand_clock import START, HandClock
from tests.support.webhook_receiver import WebhookReceiver

VECTORS = json.loads((Path(__file__).parent.parent / "fixtures" / "revenuecat" / "hmac_vectors.json").read_text())


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver() as running:
        yield running


@pytest.fixture
async def store(clock: HandClock, receiver: WebhookReceiver) -> AsyncIterator[RevenueCatStandIn]:
    async with RevenueCatStandIn(
        clock, webhook_url=receiver.address, webhook_authorization="Bearer abc", webhook_secret="whsec_1"
    ) as running:
        yield running


def types(receiver: WebhookReceiver) -> list[str]:
    return [one.event["type"] for one in receiver.received]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_signature_matches_the_recorded_vectors(vector: dict[str, Any]) -> None:
    headers = revenuecat_headers(vector["raw_body"].encode(), vector["t"], secret=vector["secret"])
    assert headers == {"X-RevenueCat-Webhook-Signature": vector["header"]}


async def test_a_delivery_carries_both_proofs_over_the_very_bytes(
    store: RevenueCatStandIn, receiver: WebhookReceiver, clock: HandClock
) -> None:
    (event,) = store.purchase("user_1", "app_é_monthly")
    (attempt,) = await store.deliver_due()
    (got,) = receiver.received
    expected = revenuecat_headers(got.body, int(clock().timestamp()), "Bearer abc", "whsec_1")
    assert {name: got.headers[name] for name in expected} == expected
    assert json.loads(got.body) == {"api_version": "1.0", "event": event}
    assert (attempt.message_id, attempt.status, attempt.accepted) == (event["id"], 200, True)
    assert store.webhooks.waiting == []


async def test_an_unreceived_event_is_sent_again_after_5_10_20_40_and_80_minutes_and_then_dropped(
    store: RevenueCatStandIn, receiver: WebhookReceiver, clock: HandClock
) -> None:
    receiver.statuses = [503, 201, 204, 302, 401, 500]
    store.purchase("user_1")
    at = []
    while (due := store.webhooks.next_due()) is not None:
        clock.now = due - timedelta(seconds=1)
        assert await store.deliver_due() == []
        clock.now = due
        await store.deliver_due()
        at.append((due - START).total_seconds() / 60)
    assert at == [0, 5, 15, 35, 75, 155]
    assert len({one.event["id"] for one in receiver.received}) == 1
    assert len({one.headers["X-RevenueCat-Webhook-Signature"] for one in receiver.received}) == 6


async def test_a_receiver_that_is_down_counts_as_a_failed_attempt(clock: HandClock) -> None:
    store = RevenueCatStandIn(clock, webhook_url="http://127.0.0.1:9/webhook", webhook_secret="s")
    store.purchase("user_1")
    (attempt,) = await store.deliver_due()
    assert (attempt.status, attempt.next_at) == (None, START + timedelta(minutes=5))
    assert attempt.problem
    await store.stop()


async def test_svix_takes_any_2xx_and_gives_up_after_eight_attempts(clock: HandClock) -> None:
    async with WebhookReceiver(204, *[500] * 8) as receiver:
        sender = WebhookSender(clock, lambda *_: {}, SVIX_RULES, receiver.address)
        sender.enqueue("msg_1", "user.created", "{}")
        assert [one.accepted for one in await sender.deliver_due()] == [True]
        sender.enqueue("msg_2", "user.created", "{}")
        while (due := sender.next_due()) is not None:
            clock.now = due
            await sender.deliver_due()
        assert len(receiver.received) == 9
        assert clock() - START == timedelta(hours=27, minutes=35, seconds=5)
        await sender.stop()


async def test_deliveries_can_be_lost_doubled_delayed_and_reordered(
    store: RevenueCatStandIn, receiver: WebhookReceiver, clock: HandClock
) -> None:
    store.webhooks.lose()
    store.purchase("user_1")
    store.webhooks.twice()
    store.cancel("user_1")
    store.webhooks.delay(timedelta(minutes=3))
    store.uncancel("user_1")
    await store.deliver_due()
    assert types(receiver) == ["CANCELLATION", "CANCELLATION"]
    assert receiver.received[0].body == receiver.received[1].body
    await store.deliver_due(clock.forward(minutes=3))
    assert types(receiver)[2:] == ["UNCANCELLATION"]
    store.webhooks.reverse()
    store.refund("user_1")
    await store.deliver_due()
    assert types(receiver)[3:] == ["EXPIRATION", "CANCELLATION"]


async def test_the_retry_button_sends_what_waits_at_once(
    store: RevenueCatStandIn, receiver: WebhookReceiver, clock: HandClock
) -> None:
    receiver.statuses = [503]
    store.purchase("user_1")
    await store.deliver_due()
    clock.forward(seconds=1)
    assert await store.deliver_due() == []
    assert store.webhooks.retry_now() == 1
    assert [one.accepted for one in await store.deliver_due()] == [True]


async def test_a_given_body_is_sent_as_it_is_and_never_again(
    store: RevenueCatStandIn, receiver: WebhookReceiver
) -> None:
    receiver.statuses = [400]
    attempt = await store.send_body(b'{"event": nonsense')
    assert (attempt.status, attempt.accepted, attempt.next_at) == (400, False, None)
    assert receiver.received[0].body == b'{"event": nonsense'
    assert "X-RevenueCat-Webhook-Signature" in receiver.received[0].headers
    assert store.webhooks.waiting == []


async def test_in_the_background_a_change_is_delivered_without_being_asked(receiver: WebhookReceiver) -> None:
    async with RevenueCatStandIn(webhook_url=receiver.address, webhook_secret="s", background=True) as store:
        store.purchase("user_1")
        store.cancel("user_1")
        await receiver.holds(2)
    assert types(receiver) == ["INITIAL_PURCHASE", "CANCELLATION"]


async def test_without_a_webhook_address_nothing_is_kept(clock: HandClock) -> None:
    store = RevenueCatStandIn(clock)
    store.purchase("user_1")
    assert store.webhooks.waiting == []
