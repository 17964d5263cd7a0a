"""The published API document and the running product say the same, and keep two users apart."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from gateway.routes import ROUTES
from tests.fuzz.run import PHASES, fuzz
from tests.support.intrusion import ATTEMPTS, MARK, Answer, Person, attempt, call, operations_of, ordered, settle_in
from tests.support.playground import FREE, PRO, Playground, playground

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

SEED = 20260301
PUBLIC = {
    "GET /health",
    "GET /play/{grant}",  # the grant is the capability: a player sends no token
    "GET /me/deletions/{id}",  # so is the id: who asks has no account any more
}
SIGNED = {"POST /webhooks/revenuecat", "POST /webhooks/clerk"}
"""The sender's signature is the proof."""
OBSERVED = [operation for operation, planned in ATTEMPTS.items() if operation.startswith("GET ")]
UNOBSERVED = {"GET /health", "GET /me/export"}
_SIGNATURE = re.compile(r'\?[^"]*')


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Playground]:
    async with playground(tmp_path_factory.mktemp("published")) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operations(ground: Playground) -> Mapping[str, Mapping[str, Any]]:
    async with ground.http.get(f"{ground.product.url}/openapi.json") as answer:
        return operations_of(await answer.json())


async def test_nobody_gets_anywhere_without_a_token(
    ground: Playground, operations: Mapping[str, Mapping[str, Any]]
) -> None:
    assert {name for name, operation in operations.items() if operation.get("security") == []} <= PUBLIC | SIGNED
    for operation in operations.keys() - PUBLIC:
        answer = await call(ground.product.url, ground.http, operation, {}, path={"id": "x", "grant": "x"})
        assert answer.status in ({400, 401} if operation in SIGNED else {401}), (operation, answer)


async def test_every_operation_has_an_attempt_and_every_attempt_an_address(operations: Mapping[str, Any]) -> None:
    """A new operation must be thought about: what would another user try with it?"""
    addresses = {f"{method} {route.path}" for route in ROUTES for method in route.methods}
    assert operations.keys() - ATTEMPTS.keys() == set()
    assert ATTEMPTS.keys() - addresses == set()


@pytest.mark.parametrize("plan", ["free", "pro"])
async def test_a_user_gets_and_changes_nothing_of_another(
    ground: Playground, operations: Mapping[str, Any], plan: str
) -> None:
    owner = await _person(ground, f"user_owner{plan}", pro=True)
    intruder = await _person(ground, f"user_intruder{plan}", pro=plan == "pro")
    await settle_in(owner)
    await _until_heard(owner)
    before = await _seen_by(owner, operations)
    assert MARK in str(before)

    for operation in ordered(operations):
        answer = await attempt(intruder, owner, operation)
        planned = ATTEMPTS[operation]
        assert not planned.refused_with or answer.status in planned.refused_with, (operation, answer)
        assert answer.status < 500, (operation, answer)
        for secret in (MARK, *owner.things.values()):
            assert secret not in answer.text, (operation, answer)

    assert await _seen_by(owner, operations) == before
    for operation in _for_owners(operations):
        answer = await attempt(owner, owner, operation)
        assert answer.status == 200, ("refused to the owner too", operation, answer)


@pytest.mark.parametrize(
    "user_id, phases, least", [(PRO, PHASES, 500), (FREE, "examples,fuzzing,stateful", 60)], ids=["pro", "free"]
)
async def test_the_product_does_what_its_document_says(
    ground: Playground, user_id: str, phases: str, least: int
) -> None:
    """Every check of schemathesis; `make fuzz` is the long form."""
    outcome = await fuzz(ground, user_id, examples=3, seed=SEED, phases=phases)
    assert outcome.code == 0, outcome.text
    assert outcome.cases > least, outcome.text


async def _person(ground: Playground, user_id: str, *, pro: bool) -> Person:
    ground.product.clerk.sign_up(user_id)
    if pro:
        await ground.buy(user_id)
    return Person(ground.product, ground.http, user_id)


async def _until_heard(owner: Person) -> None:
    async with asyncio.timeout(120):
        while "completed" not in (await owner.call("GET /jobs/{id}", path={"id": owner.things["job"]})).text:
            await asyncio.sleep(0.1)


async def _seen_by(owner: Person, operations: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the owner can read, but for what differs each time: signatures and the moment of asking."""
    seen = {}
    for operation in sorted(operations.keys() & set(OBSERVED) - UNOBSERVED):
        if not ATTEMPTS[operation].capability:
            answer = await attempt(owner, owner, operation)
            assert answer.status == 200, (operation, answer)
            seen[operation] = _lasting(answer)
    return seen


def _lasting(answer: Answer) -> str:
    return re.sub(r'"asOf":"[^"]*"', "", _SIGNATURE.sub("", answer.text))


def _for_owners(operations: Mapping[str, Any]) -> list[str]:
    """Those on the owner's own things, deletion last."""
    theirs = [name for name in operations if ATTEMPTS[name].about and not ATTEMPTS[name].capability]
    return sorted(theirs, key=lambda name: name.startswith("DELETE"))
