"""What support and operators see on the command line, and the schema itself."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from billing.jobs import refresh_for_ever
from billing.support import announce, explain, reconcile, replay
from common.messaging.envelope import Envelope
from tests.support.billing import Billing, billing
from tests.support.media import Media, media
from tests.support.media import settings as media_settings


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Billing]:
    async with billing(database_url) as running:
        yield running


async def test_support_sees_why_a_plan_is_what_it_is_and_what_comes_next(
    world: Billing, capsys: pytest.CaptureFixture[str]
) -> None:
    (bought,) = world.store.purchase("user_1")
    await world.hear_and_work()
    assert await explain(world.process(), world.rules, "user_1") == 0
    shown = capsys.readouterr().out
    for expected in (
        '"plan":"pro"',
        "because entrain_pro_monthly is paid until 2026-10-01T10:00:00.000Z and renews then",
        "2026-10-01T10:00:00.000Z  access ends unless its renewal is known by then",
        "2026-09-02T10:00:00.000Z  RevenueCat is read again (read at RevenueCat as planned)",
        f"1  2026-09-01T10:00:00.000Z  pro, active until 2026-10-01T10:00:00.000Z: RevenueCat sent INITIAL_PURCHASE "
        f"(event {bought['id']})",
        f"2026-09-01T10:00:00.000Z  INITIAL_PURCHASE entrain_pro_monthly  {bought['id']}",
    ):
        assert expected in shown.replace('": "', '":"'), expected


async def test_of_a_stranger_nothing_is_shown(world: Billing, capsys: pytest.CaptureFixture[str]) -> None:
    assert await explain(world.process(), world.rules, "user_1") == 1
    assert "nothing is known" in capsys.readouterr().out


async def test_an_operator_has_one_user_read_at_once(world: Billing, capsys: pytest.CaptureFixture[str]) -> None:
    world.store.webhooks.lose()
    world.store.purchase("user_1")
    await world.hear()
    assert await reconcile(world.process(), world.rules, "user_1") == 0
    assert '"plan":"pro"' in capsys.readouterr().out.replace('": "', '":"')
    assert await world.causes() == [("pro", "active", "reconcile")]


async def test_an_operator_learns_when_a_user_cannot_be_read(
    world: Billing, capsys: pytest.CaptureFixture[str]
) -> None:
    world.store.faults.fail_next("unavailable")
    assert await reconcile(world.process(), world.rules, "user_1") == 1
    assert "the workers read again" in capsys.readouterr().out


async def test_an_operator_has_everybody_read_the_paying_ones_first(
    world: Billing, capsys: pytest.CaptureFixture[str]
) -> None:
    for user_id, product in (("user_1", "monthly"), ("user_2", "annual"), ("user_0", "credits")):
        world.store.purchase(user_id, product)
    await world.hear_and_work()
    world.clock.forward(hours=1)
    world.store.webhooks.lose(10)
    world.store.refund("user_1")
    await world.hear()
    assert await reconcile(world.process(), world.rules, None) == 0
    assert "3 users will be read" in capsys.readouterr().out
    due = await world.rows("SELECT user_id FROM billing.refresh ORDER BY rank, user_id")
    assert [row["user_id"] for row in due] == ["user_1", "user_2", "user_0"]
    await world.later(seconds=1)
    assert await world.causes("user_1") == [("pro", "active", "webhook"), ("free", "expired", "reconcile")]


async def test_an_operator_who_waits_sees_the_workers_get_on(
    world: Billing, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        world.store.purchase(f"user_{number}")
    await world.hear_and_work()
    world.clock.forward(hours=1)
    worker = asyncio.create_task(refresh_for_ever(world.refresher, world.service.database))
    assert await reconcile(world.process(), world.rules, None, wait=True, poll_seconds=0.05) == 0
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    assert "3 of 3 read" in capsys.readouterr().out


async def test_an_operator_who_waits_for_nobody_is_told(
    world: Billing, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    monkeypatch.setattr("billing.support.PATIENCE_SECONDS", 0.2)
    assert await reconcile(world.process(), world.rules, None, wait=True, poll_seconds=0.1) == 1
    assert "is a worker running" in capsys.readouterr().out


async def test_a_webhook_is_replayed_for_everybody_it_names_without_showing_who_they_are(
    world: Billing, capsys: pytest.CaptureFixture[str]
) -> None:
    world.store.purchase("user_1")
    await world.hear_and_work()
    world.clock.forward(hours=1)
    (moved,) = world.store.transfer("user_1", "user_2")
    await world.hear()
    await world.rows("DELETE FROM billing.refresh")
    assert await replay(world.process(), world.rules, moved["id"]) == 0
    assert (await world.plan("user_1"), await world.plan("user_2")) == ("free", "pro")
    assert "2 users to read: user_1, user_2" in capsys.readouterr().out
    assert (await world.causes("user_2"))[-1] == ("pro", "active", "reconcile")


async def test_a_webhook_nobody_knows_cannot_be_replayed(world: Billing, capsys: pytest.CaptureFixture[str]) -> None:
    assert await replay(world.process(), world.rules, "unknown") == 1
    assert "no such webhook" in capsys.readouterr().out


async def test_medias_projection_is_rebuilt_from_what_billing_knows(world: Billing) -> None:
    for number in range(4):
        world.store.purchase(f"user_{number}")
    world.store.refund("user_3")
    await world.hear_and_work()
    world.clock.forward(days=1)
    world.store.refund("user_0")
    await world.hear_and_work()
    entitlement = "SELECT user_id, plan, status, sequence, expires_at FROM media.entitlement ORDER BY user_id"
    async with media(media_settings(world.database_url), clock=world.clock) as [service]:
        await _deliver_all(world, service)
        before = await world.rows(entitlement)
        assert [(row["plan"], row["sequence"]) for row in before] == [("free", 2), ("pro", 1), ("pro", 1), ("free", 1)]
        await world.rows("DELETE FROM media.entitlement")
        await world.rows("DELETE FROM billing.outbox")
        assert await announce(world.process(), None) == 0
        assert await _deliver_all(world, service) == 4
        assert await world.rows(entitlement) == before
        await announce(world.process(), "user_1")
        await _deliver_all(world, service)
        assert await world.rows(entitlement) == before


async def _deliver_all(world: Billing, service: Media) -> int:
    found = await world.rows("SELECT body FROM billing.outbox ORDER BY id DESC")
    for row in found:
        await service.deliver(Envelope.from_json(row["body"]))
    return len(found)


async def test_telling_again_shows_how_far_it_is_and_who_cannot_be_told(
    world: Billing, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.support._ANNOUNCED_AT_ONCE", 2)
    for number in range(3):
        world.store.purchase(f"user_{number}")
    await world.hear_and_work()
    assert await announce(world.process(), None) == 0
    shown = capsys.readouterr().out
    assert "2 users told so far, up to user_1" in shown
    assert "3 users told" in shown
    assert await announce(world.process(), "user_new") == 1
