"""How fast RevenueCat may be called."""

import pytest

from billing.pacing import HeldOff, RequestBudget


class Stopwatch:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


def budget(watch: Stopwatch, per_second: float) -> RequestBudget:
    return RequestBudget(per_second, monotonic=watch, sleep=watch.sleep)


async def starts(paced: RequestBudget, watch: Stopwatch, count: int) -> list[float]:
    found = []
    for _ in range(count):
        await paced.take()
        found.append(round(watch.now - 100.0, 6))
    return found


async def test_a_second_s_worth_starts_at_once_and_the_rest_at_the_rate(watch: Stopwatch) -> None:
    assert await starts(budget(watch, 5), watch, 8) == [0, 0, 0, 0, 0, 0.2, 0.4, 0.6]


async def test_less_than_one_a_second_is_possible(watch: Stopwatch) -> None:
    assert await starts(budget(watch, 0.5), watch, 3) == [0, 2, 4]


async def test_rest_refills_no_more_than_a_second_s_worth(watch: Stopwatch) -> None:
    paced = budget(watch, 2)
    await starts(paced, watch, 4)
    watch.now += 60
    begun = watch.now - 100.0
    assert await starts(paced, watch, 3) == [begun, begun, begun + 0.5]


async def test_while_held_off_nobody_starts_and_the_impatient_are_told_when(watch: Stopwatch) -> None:
    paced = budget(watch, 5)
    paced.hold_off(30)
    with pytest.raises(HeldOff) as refusal:
        await paced.take(patience=10)
    assert refusal.value.retry_after == pytest.approx(30)
    watch.now += 25
    assert await starts(paced, watch, 1) == [30]
