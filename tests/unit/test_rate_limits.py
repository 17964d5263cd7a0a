"""Counting requests: windows, who shares them, and what the routes are given."""

import pytest

from common.errors import RateLimited
from gateway.allowances import CHANGING, GENERATING, GUESSING, NOTIFYING, Allowance
from gateway.clients import shared_by_one
from gateway.headers import RawHeaders
from gateway.rate_limits import BoundedMemory, Guesses, RateLimits
from gateway.routes import ROUTES


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


THREE = Allowance("three", 3, 60, "user")


async def admitted(limits: RateLimits, key: str, allowance: Allowance = THREE) -> bool:
    try:
        await limits.admit(allowance, key, [])
    except RateLimited:
        return False
    return True


async def test_a_window_begins_with_the_first_request_and_is_fixed() -> None:
    clock = Clock()
    limits = RateLimits(now=clock)
    passed = []
    for _ in range(5):
        passed.append(await admitted(limits, "ada"))
        clock.now += 10
    assert passed == [True, True, True, False, False]
    clock.now += 9.5
    assert not await admitted(limits, "ada")
    clock.now += 0.5
    assert await admitted(limits, "ada")


async def test_everybody_and_every_allowance_has_a_window_of_its_own() -> None:
    limits = RateLimits()
    for _ in range(3):
        await limits.admit(THREE, "ada", [])
    assert not await admitted(limits, "ada")
    assert await admitted(limits, "bob")
    assert await admitted(limits, "ada", Allowance("other", 3, 60, "user"))


async def test_a_refusal_says_when_to_come_back_and_the_answer_what_is_left() -> None:
    clock = Clock()
    limits = RateLimits(now=clock)
    headers: RawHeaders = []
    await limits.admit(THREE, "ada", headers)
    assert headers == [(b"ratelimit-policy", b'"three";q=3;w=60'), (b"ratelimit", b'"three";r=2;t=60')]
    clock.now += 12.4
    for _ in range(2):
        await limits.admit(THREE, "ada", [])
    refused: RawHeaders = []
    with pytest.raises(RateLimited) as caught:
        await limits.admit(THREE, "ada", refused)
    assert refused[-1] == (b"ratelimit", b'"three";r=0;t=48')
    assert caught.value.headers == {"Retry-After": "48"}
    assert caught.value.details == {"resetAt": int((clock.now + 47.6) * 1000)}
    assert "connection" not in caught.value.message


async def test_memory_is_bounded_however_many_come() -> None:
    memory = BoundedMemory(capacity=100)
    for number in range(1000):
        await memory.incr(f"key {number}", 60)
    assert len(memory) == 100
    assert (await memory.get("key 999"), await memory.get("key 0")) == (1, 0)


class Silent(BoundedMemory):
    """A storage that does not answer."""

    asked = 0

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        self.asked += 1
        raise TimeoutError


async def test_a_storage_that_does_not_answer_holds_up_one_request_a_second() -> None:
    clock, storage = Clock(), Silent()
    limits = RateLimits(storage, now=clock)
    assert [await limits.count(THREE, "ada") for _ in range(10)] == [None] * 10
    assert storage.asked == 1
    clock.now += 1
    assert await limits.count(THREE, "ada") is None
    assert storage.asked == 2


async def test_an_address_that_guessed_too_often_is_barred_until_its_window_ends() -> None:
    clock = Clock()
    guesses = Guesses(RateLimits(now=clock), Allowance("guessing", 2, 60, "address"), now=clock)
    for _ in range(2):
        await guesses.refused("6.6.6.6")
    assert not guesses.any_barred
    with pytest.raises(RateLimited):
        await guesses.refused("6.6.6.6")
    clock.now += 20
    assert (guesses.bars("6.6.6.6"), guesses.bars("7.7.7.7")) == (True, False)
    assert guesses.refusal("6.6.6.6").headers == {"Retry-After": "40"}
    clock.now += 40
    assert not guesses.bars("6.6.6.6")
    assert not guesses.any_barred


@pytest.mark.parametrize(
    "address, counted_as",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", "unknown"),
    ],
)
def test_an_address_stands_for_one_customer(address: str, counted_as: str) -> None:
    assert shared_by_one(address) == counted_as


def test_of_the_reads_of_signed_in_users_only_exports_are_counted() -> None:
    assert [route.path for route in ROUTES if route.reads and not route.public] == ["/me/export"]


def test_everything_that_writes_is_counted_per_user_or_if_public_per_address() -> None:
    for route in ROUTES:
        for method in route.methods - {"GET", "HEAD"}:
            allowance = route.allowance(method)
            assert allowance is not None, (method, route.path)
            assert allowance.per == ("address" if route.public else "user"), (method, route.path)


def test_the_numbers_keep_what_was_promised() -> None:
    by_path = {route.path: route for route in ROUTES}
    assert by_path["/affirmations/generate"].allowance("POST") is GENERATING
    assert (GENERATING.times, GENERATING.seconds, GENERATING.per) == (5, 60, "user")
    for path in ("/webhooks/revenuecat", "/webhooks/clerk"):
        assert by_path[path].allowance("POST") is NOTIFYING
    assert NOTIFYING.times / NOTIFYING.seconds >= 200
    assert GUESSING.times / GUESSING.seconds >= 50
    assert CHANGING.times / CHANGING.seconds >= 10
