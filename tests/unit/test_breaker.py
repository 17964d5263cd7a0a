"""When a service is asked no more, and when again."""

import pytest
from prometheus_client import REGISTRY

from common.errors import Unavailable
from gateway.breaker import Breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock) -> Breaker:
    return Breaker("test", failures=3, rest_seconds=2.0, now=clock)


def state() -> float | None:
    return REGISTRY.get_sample_value("upstream_breaker_state", {"upstream": "test"})


def spared(asked: Breaker) -> int | None:
    """Seconds to wait when the service is not to be asked."""
    try:
        asked.check()
    except Unavailable as error:
        return int(error.headers["Retry-After"])
    return None


def failing(clock: Clock, times: int = 3) -> Breaker:
    asked = breaker(clock)
    for _ in range(times):
        asked.failed()
    return asked


def test_it_opens_after_failures_in_a_row_only() -> None:
    clock = Clock()
    asked = failing(clock, times=2)
    asked.answered()
    asked.failed()
    asked.failed()
    assert (spared(asked), state()) == (None, 0)
    asked.failed()
    assert (spared(asked), state()) == (2, 2)


def test_while_open_one_request_in_every_rest_goes_through() -> None:
    clock = Clock()
    asked = failing(clock)
    clock.now += 1.5
    assert spared(asked) == 1
    clock.now += 0.5
    assert [spared(asked) for _ in range(3)] == [None, 2, 2]
    assert state() == 1
    asked.failed()
    assert (spared(asked), state()) == (2, 2)
    clock.now += 2
    assert [spared(asked) for _ in range(3)] == [None, 2, 2]


def test_a_probe_that_is_abandoned_keeps_nobody_out() -> None:
    clock = Clock()
    asked = failing(clock)
    clock.now += 2
    assert spared(asked) is None
    clock.now += 2
    assert spared(asked) is None


def test_an_answer_closes_it() -> None:
    clock = Clock()
    asked = failing(clock)
    clock.now += 2
    assert spared(asked) is None
    asked.answered()
    assert ([spared(asked) for _ in range(5)], state()) == ([None] * 5, 0)
    asked.failed()
    assert spared(asked) is None


def test_failures_of_requests_sent_before_do_not_lengthen_the_rest() -> None:
    clock = Clock()
    asked = failing(clock)
    for _ in range(4):
        clock.now += 0.5
        asked.failed()
    assert spared(asked) is None


def test_what_it_says_can_be_shown_to_a_user() -> None:
    with pytest.raises(Unavailable) as caught:
        failing(Clock()).check()
    assert "connection" not in caught.value.message
