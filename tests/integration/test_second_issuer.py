"""Users of a second issuer: their tokens, their keys, and who they are to us."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from embedded.clerk import ClerkStandIn
from embedded.processes import free_ports
from gateway.issuers import UnusableIssuer
from tests.support.attack_table import attack
from tests.support.event_ledger import until
from tests.support.fake_identity import FakeIdentity
from tests.support.running_gateway import KeyServer, RunningGateway, claims_of, envelope, running_gateway
from tests.support.token_forge import TokenForge

SUBJECT = "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e"


class Both:
    """A gateway that takes Clerk's tokens and a Supabase project's, before a fake identity."""

    def __init__(self, gateway: RunningGateway, project: ClerkStandIn, identity: FakeIdentity) -> None:
        self.gateway = gateway
        self.project = project
        self.identity = identity

    async def status(self, token: str, path: str = "/me") -> int:
        return await self.gateway.status_of(token, path)

    def seen(self) -> dict[str, Any]:
        """What identity was last told of the caller."""
        return claims_of(self.identity.last.header("Authorization"))


def refused(reason: str) -> float:
    """How many requests were refused for this reason, which only the metric tells."""
    return REGISTRY.get_sample_value("session_tokens_refused_total", {"reason": reason}) or 0.0


@asynccontextmanager
async def both(**settings: Any) -> AsyncIterator[Both]:
    async with (
        ClerkStandIn() as project,
        FakeIdentity() as identity,
        running_gateway(supabase_url=project.url, identity_url=identity.url, **settings) as gateway,
    ):
        yield Both(gateway, project, identity)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Both]:
    async with both() as world:
        yield world


async def test_a_linked_subject_is_its_user_and_any_other_is_a_user_of_its_own() -> None:
    async with both() as world:
        stranger, session = str(uuid.uuid4()), str(uuid.uuid4())
        world.identity.links[world.project.supabase_issuer, SUBJECT] = "user_2abc"

        assert await world.status(world.project.supabase_token(SUBJECT, session_id=session)) == 200
        known = world.seen()
        assert await world.status(world.project.supabase_token(stranger)) == 200

        issuer = world.project.supabase_issuer
        assert (known["sub"], known["sid"], known["ext"]) == ("user_2abc", session, issuer)
        assert world.seen()["sub"] == stranger
        assert await world.status(world.gateway.forge.token()) == 200
        assert (world.seen()["sub"], len(world.identity.looked_up)) == ("user_2abc", 2)


async def test_many_first_requests_of_one_subject_ask_identity_once() -> None:
    async with both() as world:
        world.identity.held.clear()
        token = world.project.supabase_token(SUBJECT)
        asking = [asyncio.create_task(world.status(token)) for _ in range(20)]
        await until(lambda: _nonempty(world.identity.looked_up))
        world.identity.held.set()
        assert await asyncio.gather(*asking) == [200] * 20
        assert world.identity.looked_up == [SUBJECT]


async def _nonempty(found: list[str]) -> bool:
    return bool(found)


async def test_while_identity_is_away_known_users_are_served_and_new_ones_asked_to_wait() -> None:
    async with both() as world:
        assert await world.status(world.project.supabase_token(SUBJECT)) == 200
        world.identity.down = True
        assert await world.status(world.project.supabase_token(SUBJECT), "/voices") == 200
        assert await world.status(world.gateway.forge.token(), "/voices") == 200
        headers = {"Authorization": f"Bearer {world.project.supabase_token(str(uuid.uuid4()))}"}
        async with world.gateway.http.get(f"{world.gateway.url}/voices", headers=headers) as answer:
            assert (answer.status, envelope(await answer.read())["code"]) == (503, "UNAVAILABLE")
            assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.attack("A5", "A14", "B13")
async def test_a_key_of_one_issuer_is_worth_nothing_to_another() -> None:
    async with both() as world:
        ours, project = world.gateway.forge, world.project
        crossed = [
            ours.token(iss=project.supabase_issuer, aud="authenticated", role="authenticated", sub=SUBJECT),
            ours.token({"kid": project.supabase_kid}, iss=project.supabase_issuer),
            project.supabase_token(SUBJECT, iss=ours.issuer, sid="sess_2abc", nbf=0, sub="user_2abc"),
            project.supabase_token(SUBJECT, header={"kid": ours.kid}, iss=ours.issuer, sub="user_2abc"),
            project.session_token("user_2abc", iss=project.supabase_issuer),
        ]
        before = refused("algorithm")
        assert [await world.status(token) for token in crossed] == [401] * 5
        assert refused("algorithm") == before + 2
        assert [await world.status(ours.token()), await world.status(project.supabase_token(SUBJECT))] == [200, 200]


@pytest.mark.parametrize(
    "changes, reason",
    [
        attack("C14", {"aud": None}, "audience"),
        attack("C14", {"aud": "anon"}, "audience"),
        attack("C14", {"aud": ["other"]}, "audience"),
        attack("C23", {"role": "anon"}, "role"),
        attack("C23", {"role": "service_role"}, "role"),
        attack("C23", {"role": None}, "role"),
        attack("C23", {"sub": None}, "sub"),
        attack("C23", {"sub": "00000000-0000-0000-0000-000000000000"}, "sub"),
        attack("C23", {"sub": SUBJECT.upper()}, "sub"),
        attack("C23", {"sub": f"{SUBJECT}\n"}, "sub"),
        attack("C23", {"sub": "user_2abc"}, "sub"),
        attack("C23", {"iss": "supabase"}, "issuer"),
        attack("C23", {"is_anonymous": True}, "anonymous_sign_in"),
        attack("C23", {"is_anonymous": "no"}, "anonymous_sign_in"),
        attack("C23", {"session_id": None}, "session_id"),
        attack("C23", {"client_id": "another-app"}, "oauth_client"),
        attack("C3", {"exp": 4_000_000_000}, "lifetime"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_no_users_session_is_refused(shared: Both, changes: dict[str, Any], reason: str) -> None:
    before, looked_up = refused(reason), len(shared.identity.looked_up)
    token = shared.project.supabase_token(SUBJECT, **changes)
    status, answer = await shared.gateway.get_raw("/me", f"Authorization: Bearer {token}")
    assert (status, envelope(answer)["code"]) == (401, "UNAUTHORIZED")
    assert (refused(reason), len(shared.identity.looked_up)) == (before + 1, looked_up)
    assert await shared.status(shared.project.supabase_token(SUBJECT)) == 200


async def test_a_project_that_does_not_answer_holds_up_its_own_users_only() -> None:
    (port,) = free_ports(1)
    async with FakeIdentity() as identity:
        url = f"http://127.0.0.1:{port}"
        async with running_gateway(supabase_url=url, identity_url=identity.url) as gateway:
            early = TokenForge(f"{url}/auth/v1").token()
            assert await gateway.status_of(early) == 503
            assert await gateway.status_of(gateway.forge.token()) == 200
            said = await gateway.health()
            assert (said["ok"], url in said["impaired"]["issuers"]) == (True, True)
            async with ClerkStandIn(port=port) as project:

                async def accepted() -> bool:
                    return await gateway.status_of(project.supabase_token(SUBJECT)) == 200

                assert await until(accepted)
                assert "impaired" not in await gateway.health()


@pytest.mark.parametrize(
    "document",
    [{"keys": []}, {"keys": [{"kty": "oct", "kid": "legacy", "alg": "HS256", "k": "AAAA"}]}],
    ids=["no keys", "a shared secret"],
)
async def test_a_project_that_signs_with_a_shared_secret_is_refused_at_start(document: dict[str, Any]) -> None:
    async with KeyServer(document) as project:
        with pytest.raises(UnusableIssuer, match="HS256"):
            async with running_gateway(supabase_url=project.url):
                raise AssertionError("it started")


async def test_a_withdrawn_key_of_one_issuer_leaves_the_other_alone() -> None:
    async with both() as world:
        clerk, supabase = world.gateway.forge.token(), world.project.supabase_token(SUBJECT)
        assert [await world.status(clerk), await world.status(supabase)] == [200, 200]
        rotated = TokenForge(world.gateway.forge.issuer)
        world.gateway.keys.document = rotated.key_set()
        assert await world.status(rotated.token()) == 200
        assert [await world.status(clerk), await world.status(supabase)] == [401, 200]
