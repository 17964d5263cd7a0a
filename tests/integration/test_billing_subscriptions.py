"""A person's access follows what RevenueCat says, through purchases, time, outages and lost webhooks."""

from collections.abc import AsyncIterator

import pytest

from tests.support.billing import Billing, billing


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Billing]:
    async with billing(database_url) as running:
        yield running


async def test_a_purchase_makes_pro_and_says_so_once(world: Billing) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    (event,) = await world.announced()
    assert (event.plan, event.status, event.sequence, event.will_renew) == ("pro", "active", 1, True)
    assert "INITIAL_PURCHASE" in event.cause
    view = await world.subscription()
    assert view["plan"] == "pro"
    assert view["renewsAt"] == view["expiresAt"] == "2026-10-01T10:00:00.000Z"
