"""What support and operators see on the command line, and the schema itself."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from billing.support import explain, reconcile
from common.db.migrations import upgrade
from tests.support.billing import Billing, billing
from tests.support.schemas import differences


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
        "next by time alone: 2026-10-01T10:00:00.000Z",
        "next reading: 2026-09-02T10:00:00.000Z (read at RevenueCat as planned)",
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
    due = await world.rows("SELECT user_id FROM billing.refresh ORDER BY due_at, user_id")
    assert [row["user_id"] for row in due] == ["user_1", "user_2", "user_0"]
    await world.later(seconds=1)
    assert await world.causes("user_1") == [("pro", "active", "webhook"), ("free", "expired", "reconcile")]


async def test_an_empty_database_becomes_exactly_what_the_models_say(world: Billing) -> None:
    again = [upgrade(world.database_url, world.service.metadata, world.service.migrations) for _ in range(3)]
    assert await asyncio.gather(*again) == ["0002"] * 3
    assert await differences(world.database_url, world.service.metadata) == []
