"""What operators are shown is what happened."""

from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from billing.jobs import retell
from common.contracts.billing import SubscriptionChanged
from common.messaging.envelope import Envelope
from common.tracing import current_trace
from media.models import Job
from media.render_metrics import measure
from tests.support.billing import billing
from tests.support.event_ledger import ledger, relay_of, running, until
from tests.support.hand_clock import HandClock
from tests.support.media import Media, draft, media, settings


def shown(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


class Growth:
    """How much a counter has grown since it was first asked for."""

    def __init__(self, name: str, **labels: str) -> None:
        self._of = name, labels
        self._before = shown(name, **labels) or 0.0

    def now(self) -> float:
        name, labels = self._of
        return (shown(name, **labels) or 0.0) - self._before


async def test_only_the_relay_that_leads_tells_how_the_outbox_stands(database_url: str) -> None:
    class Nowhere:
        async def publish(self, _: Envelope) -> None: ...

    async def leads() -> bool:
        return shown("outbox_relay_leading", schema="ledger") == 1 and shown("outbox_pending", schema="ledger") == 0

    async with ledger(database_url) as database, running(relay_of(database, Nowhere())):
        assert await until(leads)
    assert shown("outbox_relay_leading", schema="ledger") == 0
    assert shown("outbox_oldest_seconds", schema="ledger") is None


async def test_webhooks_and_what_they_change_are_counted_and_the_change_says_when_it_was_heard(
    database_url: str,
) -> None:
    stored, refused = (Growth("billing_webhooks_total", outcome=outcome) for outcome in ("stored", "refused"))
    by_webhook, by_check = (Growth("billing_subscription_changes_total", cause=kind) for kind in ("webhook", "check"))
    async with billing(database_url) as world:
        heard_at = world.clock()
        world.store.purchase("user_1")
        await world.hear_and_work()
        [told] = await world.announced()
        assert (told.heard_at, told.repeated) == (heard_at, None)
        assert (stored.now(), by_webhook.now(), by_check.now()) == (1, 1, 0)

        world.store.webhooks.lose()
        world.store.refund("user_1")
        await world.later(days=1)
        assert (by_webhook.now(), by_check.now()) == (1, 1)
        assert (await world.announced())[-1].heard_at is None

        assert (await world.api.post("/webhooks/revenuecat", {"event": {}})).status == 401
        assert refused.now() == 1


async def test_everybody_is_told_again_in_turn_and_nothing_changes_by_it(database_url: str) -> None:
    async with billing(database_url) as world:
        for user in ("user_1", "user_2"):
            world.store.purchase(user)
        await world.hear_and_work()
        database = world.service.database
        assert await retell(database, "") == "user_2"
        assert len(await world.announced()) == 1  # what was told just now may be on its way
        world.clock.forward(minutes=6)
        assert await retell(database, "") == "user_2"
        assert await retell(database, "user_2") == ""
        first, again = await world.announced()
        assert again == first.model_copy(update={"cause": again.cause, "repeated": True, "heard_at": None})
        await world.later(hours=1)
        assert len(await world.announced()) == 2


async def told(world: Media, sequence: int = 1, **changes: object) -> None:
    event = SubscriptionChanged(user_id="user_1", plan="pro", status="active", cause="test", sequence=sequence)
    event = event.model_copy(update=changes)
    await world.deliver(Envelope.of(event, at=world.service.database.clock(), trace=current_trace()))


async def test_a_plan_that_is_not_as_billing_has_it_is_put_right_and_counted(database_url: str) -> None:
    differences = Growth("media_entitlement_differences_total")
    delays = Growth("media_entitlement_delay_seconds_count", plan="pro")
    async with media(settings(database_url)) as [world]:
        heard_at = world.service.database.clock() - timedelta(seconds=2)
        await told(world, heard_at=heard_at)
        assert delays.now() == 1
        await told(world, heard_at=heard_at)
        await told(world, repeated=True)
        assert (delays.now(), differences.now()) == (1, 0)

        await told(world, repeated=True, status="grace")
        assert differences.now() == 1
        await told(world, sequence=3, repeated=True)
        assert differences.now() == 2
        [row] = await world.rows("SELECT status, sequence FROM media.entitlement")
        assert (row["status"], row["sequence"]) == ("active", 3)
        await told(world, sequence=2, repeated=True, plan="free")
        assert differences.now() == 2


async def test_what_the_plan_refuses_and_what_waits_is_shown(database_url: str) -> None:
    own, daily = (Growth("media_quota_refusals_total", reason=reason) for reason in ("own_sessions", "daily_limit"))
    async with media(settings(database_url, media_free_daily_sessions=1), clock=HandClock()) as [world]:
        first, second = await world.session(), await world.session()
        assert (await world.api.post(f"/sessions/{first}/start", {})).status == 200
        assert (await world.api.post(f"/sessions/{second}/start", {})).status == 403
        assert (await world.api.post("/sessions", draft())).status == 403
        assert (own.now(), daily.now()) == (1, 1)

        await world.subscribe("user_1")
        assert (await world.api.post("/sessions", draft())).status == 201
        async with world.service.database.transaction() as uow:
            [waiting] = await uow.session.scalars(select(Job))
            waiting.created_at -= timedelta(seconds=90)
        await measure(world.service.database)
        assert shown("media_render_jobs", owner="user", status="pending") == 1
        assert shown("media_render_jobs", owner="catalogue", status="pending") == 0
        assert shown("media_render_oldest_waiting_seconds", owner="user") == pytest.approx(90, abs=30)
        assert shown("media_render_oldest_waiting_seconds", owner="catalogue") == 0
