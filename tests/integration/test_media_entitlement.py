"""Media's view of a subscription: the newest event wins, however the events arrive, and the clock has the last word."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from common.clock import utc_now
from common.contracts.identity import UserDeleted
from common.messaging.consumers import UnknownType
from common.messaging.envelope import Envelope
from common.tracing import current_trace
from tests.support.hand_clock import HandClock
from tests.support.media import Media, media, settings

UNLIMITED = 9007199254740991


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def service(database_url: str, clock: HandClock) -> AsyncIterator[Media]:
    async with media(settings(database_url), clock=clock) as [running]:
        yield running


async def entitlement(service: Media, user: str = "user_1") -> dict[str, Any]:
    answer = await service.api.signed_in_as(user).get("/me/entitlement")
    assert answer.status == 200
    return dict(answer.json)


async def test_who_billing_never_spoke_of_is_free(service: Media) -> None:
    assert await entitlement(service) == {
        "plan": "free",
        "status": "active",
        "source": "internal",
        "limits": {"dailyGenerations": 2, "maxSessionLengthSec": UNLIMITED, "offlineDownloads": False},
        "canCreateSession": False,
        "canGenerateAudio": True,
        "remainingFreeGenerationsToday": 2,
        "maxSessionLengthSecEffective": UNLIMITED,
    }


async def test_a_subscriber_on_the_wire(service: Media) -> None:
    await service.subscribe("user_1", lasts=timedelta(days=30), renews=True)
    assert await entitlement(service) == {
        "plan": "pro",
        "status": "active",
        "renewsAt": "2026-10-01T10:00:00.000Z",
        "source": "apple",
        "limits": {"dailyGenerations": UNLIMITED, "maxSessionLengthSec": UNLIMITED, "offlineDownloads": True},
        "canCreateSession": True,
        "canGenerateAudio": True,
        "remainingFreeGenerationsToday": UNLIMITED,
        "maxSessionLengthSecEffective": UNLIMITED,
    }
    assert (await entitlement(service, "user_2"))["plan"] == "free"


async def test_the_store_is_named_as_the_app_knows_it(service: Media) -> None:
    named = {
        "play_store": "google",
        "mac_app_store": "apple",
        "stripe": "stripe",
        "promotional": "revenuecat",
        None: "revenuecat",
    }
    for sequence, (store, source) in enumerate(named.items(), 1):
        await service.subscribe("user_1", store=store, sequence=sequence)
        shown = await entitlement(service)
        assert (shown["source"], "renewsAt" in shown) == (source, False)


async def test_grace_is_pro_and_says_so(service: Media) -> None:
    await service.subscribe("user_1", status="grace", lasts=timedelta(days=3))
    shown = await entitlement(service)
    assert (shown["plan"], shown["status"], shown["canCreateSession"]) == ("pro", "grace", True)


async def test_in_any_order_the_newest_wins(service: Media) -> None:
    """Bought, refunded, bought again."""
    for number, order in enumerate(permutations((1, 2, 3))):
        user = f"user_{number}"
        for sequence in order:
            await service.subscribe(user, "free" if sequence == 2 else "pro", sequence=sequence)
        assert (await entitlement(service, user))["plan"] == "pro", order
    assert await service.rows("SELECT DISTINCT sequence FROM media.entitlement") == [{"sequence": 3}]


async def test_a_late_copy_of_an_old_event_gives_nothing_back(service: Media) -> None:
    bought = await service.subscribe("user_1", sequence=1)
    await service.subscribe("user_1", "free", "expired", sequence=2)
    await service.deliver(bought)
    await service.deliver(bought.copy())
    shown = await entitlement(service)
    assert (shown["plan"], shown["status"]) == ("free", "expired")


async def test_events_arriving_at_once_leave_the_newest(service: Media) -> None:
    events = [service.subscribe("user_1", "pro" if number % 2 else "free", sequence=number) for number in range(1, 16)]
    await asyncio.gather(*events)
    assert (await entitlement(service))["plan"] == "pro"
    assert await service.rows("SELECT sequence FROM media.entitlement") == [{"sequence": 15}]
    assert await service.rows("SELECT count(*) FROM media.inbox") == [{"count": 15}]


async def test_the_clock_ends_a_subscription_that_nobody_says_is_over(service: Media, clock: HandClock) -> None:
    await service.subscribe("user_1", lasts=timedelta(minutes=5), renews=True)
    clock.forward(minutes=5)
    shown = await entitlement(service)
    assert (shown["plan"], shown["status"], shown["source"]) == ("free", "expired", "internal")
    assert "renewsAt" not in shown
    await service.subscribe("user_1", lasts=timedelta(days=30), renews=True, sequence=2)
    assert (await entitlement(service))["plan"] == "pro"


async def test_a_message_that_is_not_billings_is_not_swallowed(service: Media) -> None:
    event = UserDeleted(user_id="user_1", issuer="https://issuer", sequence=2)
    with pytest.raises(UnknownType):
        await service.deliver(Envelope.of(event, at=utc_now(), trace=current_trace()))
