"""What people do with their subscriptions in a year. A life is a generator: it acts on the store, then yields.

It yields how long it waits, or a ``Sync``: the app asks billing to look at RevenueCat.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from embedded.store_ledger import StoreRefusal

APP_STORE, PLAY, STRIPE = "app_store", "play_store", "stripe"
PRODUCTS = {
    APP_STORE: ("pro_monthly", "pro_annual", "pro_weekly"),
    PLAY: ("app_pro:monthly", "app_premium:annual", "app_plus:weekly"),
    STRIPE: ("prod_monthly", "prod_annual"),
}


@dataclass(frozen=True)
class Sync:
    """The app of ``user_id`` asks for a fresh look; with ``claims`` it claims an anonymous id."""

    user_id: str
    claims: str | None = None


Act = timedelta | Sync
Life = Iterator[Act]


class Shop(Protocol):
    """The store as a person meets it: each act is announced as the store does."""

    def now(self) -> datetime: ...

    def act(self, name: str, *arguments: object, **more: object) -> None:
        """Raises StoreRefusal when the store cannot do that now."""
        ...


@dataclass
class Person:
    """``name`` is the account; ``chance`` decides everything the person does."""

    name: str
    shop: Shop
    chance: random.Random
    anonymous: int = 0
    did: set[str] = field(default_factory=set)

    def does(self, name: str, *arguments: object, **more: object) -> bool:
        """False when the store refuses: then nothing happened."""
        try:
            self.shop.act(name, *arguments, **more)
        except StoreRefusal:
            return False
        self.did.add(name)
        return True

    def maybe(self, share: float) -> bool:
        return self.chance.random() < share

    def wait(self, low: float, high: float) -> timedelta:
        """Some days, to the minute."""
        return timedelta(minutes=round(self.chance.uniform(low, high) * 1440))

    def new_anonymous_id(self) -> str:
        self.anonymous += 1
        return f"$RCAnonymousID:{self.chance.getrandbits(128):032x}"


def life(person: Person) -> Life:
    """One chapter after another, with pauses between them, until the year is over."""
    yield person.wait(0, 20)
    while True:
        yield from person.chance.choice(CHAPTERS)(person)
        yield person.wait(1, 50)


def buys(person: Person, store: str | None = None, **more: object) -> Iterator[Act]:
    """Buys in the app, which then asks billing to look."""
    store = store or person.chance.choice((APP_STORE, PLAY, STRIPE))
    person.does("purchase", person.name, person.chance.choice(PRODUCTS[store]), store=store, **more)
    yield from opens(person)


def opens(person: Person, user_id: str | None = None) -> Iterator[Act]:
    """The app looks at once; now and then the phone is without a network, and it looks when opened again."""
    yield person.wait(0, 0.002) if person.maybe(0.9) else person.wait(0.1, 0.9)
    yield Sync(user_id or person.name)


def tries_and_goes(person: Person) -> Life:
    yield from buys(person, trial=timedelta(days=7))
    yield person.wait(1, 6)
    person.does("cancel", person.name)
    if person.maybe(0.3):
        yield person.wait(0.1, 0.9)
        person.does("uncancel", person.name)
        yield person.wait(20, 60)
        person.does("cancel", person.name)


def tries_and_stays(person: Person) -> Life:
    yield from buys(person, trial=timedelta(days=person.chance.choice((3, 7, 14))))
    yield person.wait(60, 200)
    person.does("cancel", person.name)


def changes_their_mind(person: Person) -> Life:
    yield from buys(person)
    for _ in range(person.chance.randint(1, 4)):
        yield person.wait(1, 20)
        person.does(person.chance.choice(("cancel", "uncancel")), person.name)
    yield person.wait(5, 40)
    person.does("cancel", person.name)


def cannot_pay(person: Person) -> Life:
    """With grace and without; pays at last in the grace, after it, or never."""
    yield from buys(person)
    yield person.wait(0, 20)
    person.does("decline", person.name, person.chance.choice((None, timedelta(days=3), timedelta(days=16))))
    yield person.wait(20, 55)
    if person.maybe(0.7):
        person.does("renew", person.name)
        yield person.wait(10, 60)
    person.does("cancel", person.name)


def wants_the_money_back(person: Person) -> Life:
    yield from buys(person)
    yield person.wait(1, 25)
    person.does("refund", person.name)
    if person.maybe(0.4):
        yield person.wait(0.5, 6)
        person.does("reverse_refund", person.name)
    elif person.maybe(0.5):
        yield person.wait(1, 20)
        person.does("renew", person.name)
    yield person.wait(5, 40)
    person.does("cancel", person.name)


def changes_product(person: Person) -> Life:
    """On each store, now and at the end of the period."""
    for store in person.chance.sample((APP_STORE, PLAY, STRIPE), 2):
        yield from buys(person, store)
        for _ in range(person.chance.randint(1, 2)):
            yield person.wait(2, 25)
            product = person.chance.choice(PRODUCTS[store])
            person.does("change_product", person.name, product, deferred=person.maybe(0.5))
        yield person.wait(10, 40)
        person.does("cancel", person.name)


def pauses(person: Person) -> Life:
    yield from buys(person, PLAY)
    yield person.wait(1, 5)
    person.does("pause", person.name, person.shop.now() + person.wait(32, 90))
    yield person.wait(40, 120)
    person.does("cancel", person.name)


def moves_between_accounts(person: Person) -> Life:
    """A chain of restores: each account's app looks after the purchases came to it."""
    accounts = [person.name, f"{person.name}_second", f"{person.name}_third"]
    yield from buys(person)
    for _ in range(person.chance.randint(1, 4)):
        yield person.wait(0.1, 20)
        target = person.chance.choice(accounts[1:])
        if person.does("transfer", accounts[0], target):
            yield from opens(person, target)
            accounts.remove(target)
            accounts.insert(0, target)
    yield person.wait(1, 20)
    person.does("cancel", accounts[0])


def joins_a_family(person: Person) -> Life:
    yield from buys(person, APP_STORE, family_share=True)
    yield person.wait(5, 90)
    person.does("expire", person.name)


def is_given_something(person: Person) -> Life:
    """By support, who tell them to open the app."""
    person.does("grant", person.name, person.shop.now() + person.wait(2, 60))
    yield from opens(person)
    yield person.wait(1, 30)
    if person.maybe(0.5):
        person.does("revoke_grants", person.name)


def has_it_for_life(person: Person) -> Life:
    person.does("purchase", person.name, "pro_lifetime")
    yield from opens(person)
    yield person.wait(10, 200)
    if person.maybe(0.3):
        person.does("refund", person.name, "pro_lifetime")


def waits_for_the_store(person: Person) -> Life:
    """The store cannot confirm the purchase for a while, or never does."""
    person.does("grant_unconfirmed", person.name, "pro_monthly")
    yield from opens(person)
    yield person.wait(0.1, 0.9)
    if person.maybe(0.6) and person.does("confirm", person.name):
        yield person.wait(10, 60)
    person.does("cancel", person.name)


def gets_more_time(person: Person) -> Life:
    yield from buys(person)
    yield person.wait(1, 20)
    person.does("extend", person.name, timedelta(days=person.chance.randint(1, 20)))
    yield person.wait(5, 40)
    person.does("cancel", person.name)


def buys_before_signing_in(person: Person) -> Life:
    """Then signs in, which the store is told; or the app claims the anonymous id, which it is not told."""
    anonymous = person.new_anonymous_id()
    person.does("purchase", anonymous, person.chance.choice(PRODUCTS[APP_STORE]))
    yield person.wait(0.001, 3)
    if "log_in" not in person.did and person.maybe(0.7):
        person.does("log_in", anonymous, person.name)
        yield from opens(person)
    elif person.anonymous <= 3:
        yield Sync(person.name, claims=anonymous)
    yield person.wait(10, 60)
    person.does("cancel", anonymous)


CHAPTERS: tuple[Callable[[Person], Life], ...] = (
    tries_and_goes,
    tries_and_stays,
    changes_their_mind,
    cannot_pay,
    wants_the_money_back,
    changes_product,
    pauses,
    moves_between_accounts,
    joins_a_family,
    is_given_something,
    has_it_for_life,
    waits_for_the_store,
    gets_more_time,
    buys_before_signing_in,
)
