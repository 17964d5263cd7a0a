"""A simulated year in which everything goes wrong that may: at each day's end everybody has what the store says."""

import pytest

from tests.year.simulation import simulate


@pytest.mark.timeout(900)
async def test_through_a_year_of_faults_everybody_has_what_the_store_says(database_url: str) -> None:
    """The short form of `make year`: the same lives and faults, fewer people."""
    report = await simulate(database_url, seed=1, people=14, days=100)
    assert report.divergence == 0
    assert report.compared > 900
    heard = ("webhooks lost", "webhooks doubled", "workers killed")
    read = ("calls down", "calls throttled", "calls error", "calls cut", "calls stale")
    assert [what for what in (*heard, *read) if not report.counts.get(what)] == []
