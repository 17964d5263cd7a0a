"""A second issuer's subjects and their users: fresh for a while, kept while identity is away, and bounded."""

import asyncio
from datetime import datetime

import pytest

from common.errors import Unavailable
from common.web.client import Unreachable
from gateway.directory import SignedOut
from gateway.links import ASK_AGAIN_SECONDS, FRESH_SECONDS, KEPT_SECONDS, LinkedUsers

ISSUER = "https://project.test/auth/v1"


class Identity:
    """A directory and the time, both under the test's thumb."""

    def __init__(self) -> None:
        self.links: dict[str, str] = {}
        self.asked: list[str] = []
        self.away = False
        self.seconds = 1000.0

    async def user_of(self, issuer: str, subject: str) -> str:
        assert issuer == ISSUER
        self.asked.append(subject)
        await asyncio.sleep(0)
        if self.away:
            raise Unreachable("identity", "refused")
        return self.links.get(subject, subject)

    async def signed_out(self, since: datetime) -> SignedOut:
        raise AssertionError("nobody asks for that here")

    def users(self, capacity: int = 100) -> LinkedUsers:
        return LinkedUsers(ISSUER, self, capacity=capacity, monotonic=lambda: self.seconds)


async def test_a_link_is_looked_up_again_after_a_minute() -> None:
    identity = Identity()
    users = identity.users()
    assert await users.user_of("a") == "a"
    identity.links["a"] = "user_a"
    identity.seconds += FRESH_SECONDS - 1
    assert await users.user_of("a") == "a"
    identity.seconds += 1
    assert await users.user_of("a") == "user_a"
    assert identity.asked == ["a", "a"]


async def test_many_at_a_time_ask_once_for_each_subject() -> None:
    identity = Identity()
    users = identity.users()
    found = await asyncio.gather(*(users.user_of(name) for name in "ab" * 20))
    assert found == list("ab" * 20)
    assert sorted(identity.asked) == ["a", "b"]


async def test_while_identity_is_away_the_last_link_counts_and_it_is_asked_now_and_then() -> None:
    identity = Identity()
    users = identity.users()
    await users.user_of("a")
    identity.away = True
    identity.seconds += FRESH_SECONDS
    assert [await users.user_of("a") for _ in range(10)] == ["a"] * 10
    assert len(identity.asked) == 2
    identity.seconds += ASK_AGAIN_SECONDS
    await users.user_of("a")
    assert len(identity.asked) == 3


async def test_a_link_that_cannot_be_confirmed_for_a_day_is_given_up() -> None:
    identity = Identity()
    users = identity.users()
    await users.user_of("a")
    identity.away = True
    identity.seconds += KEPT_SECONDS
    with pytest.raises(Unavailable):
        await users.user_of("a")


async def test_someone_never_seen_is_asked_to_come_back_and_then_found() -> None:
    identity = Identity()
    users = identity.users()
    identity.away = True
    with pytest.raises(Unavailable) as raised:
        await users.user_of("a")
    assert int(raised.value.headers["Retry-After"]) > 0
    identity.away = False
    assert await users.user_of("a") == "a"


async def test_the_memory_of_links_is_bounded_and_drops_the_least_used() -> None:
    identity = Identity()
    users = identity.users(capacity=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        await users.user_of(name)
    assert identity.asked == ["a", "b", "c", "b"]


async def test_a_caller_who_leaves_takes_the_look_up_from_nobody() -> None:
    identity = Identity()
    users = identity.users()
    leaving, staying = (asyncio.create_task(users.user_of("a")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == "a"
    assert identity.asked == ["a"]
