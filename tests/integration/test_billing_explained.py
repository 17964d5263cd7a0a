"""What support is shown about an eventful person, as docs/money.md shows it."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count

import pytest

from billing.support import explain
from tests.money_table import PAPER
from tests.support.billing import Billing, billing


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Billing]:
    async with billing(database_url) as started:
        yield started


async def a_year_of_ada(world: Billing) -> None:
    """A trial that converts, a charge that fails and succeeds in the grace, another product, a refund that the store
    takes back, and a restore under another account.
    """
    store, ada = world.store, "user_ada"

    async def after(**time: float) -> None:
        world.clock.forward(**time)
        store.pass_time(ada)
        await world.hear_and_work()

    store.purchase(ada, "pro_monthly", trial=timedelta(days=7))
    await after(seconds=2)
    await after(days=7)
    store.decline(ada, timedelta(days=16))
    await after(days=30)
    await after(days=3)
    store.renew(ada)
    await after(seconds=2)
    world.clock.forward(days=5)
    store.change_product(ada, "pro_annual")
    await after(seconds=2)
    world.clock.forward(days=2)
    store.refund(ada)
    await after(seconds=2)
    world.clock.forward(days=4)
    store.reverse_refund(ada)
    await after(seconds=2)
    world.clock.forward(days=10)
    store.transfer(ada, "user_adas_other_account")
    await after(seconds=2)


async def test_the_paper_shows_what_support_is_told_about_an_eventful_person(
    world: Billing, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = count(1)
    monkeypatch.setattr("embedded.store_documents.new_event_id", lambda: f"EVENT-{next(numbers):02}")
    await a_year_of_ada(world)
    capsys.readouterr()
    assert await explain(world.process(), world.rules, "user_ada") == 0
    shown = re.search(r"^```text\n(.*?)^```$", PAPER.read_text(), re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert capsys.readouterr().out.splitlines() == shown[1].splitlines()
