"""Every secret is replaced under traffic, as docs/rotation.md says: nobody is refused, and the old ones open nothing.

How our own signing key rotates is in test_key_rotation.
"""

import asyncio
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest

from embedded.kept_files import new_rsa_key, private_pem, public_pem
from embedded.kept_secrets import CDN_KEY_ID
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from embedded.webhook_signatures import revenuecat_headers, svix_headers
from media.commands import add_session
from media.lines import hash_of_lines
from media.models import Session
from tests.support.deployment import SERVICES
from tests.support.event_ledger import until
from tests.support.figures import Tell
from tests.support.fleet import BUILD, Fleet, Traffic
from tests.support.granted_keys import GrantedKeys
from tests.support.media import draft, finished_audio
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.valkey import PrivateValkey

USER, SESSION = "user_2rotatingSecrets000000000", "5f0c8a52-7d3e-4b6a-9a4f-2f1f8f0f6d01"
PATHS = ["/me", "/me/subscription", "/sessions?limit=5", f"/sessions/{SESSION}/playback-bundle"]
NEW_CDN_KEY = new_rsa_key()


@pytest.mark.timeout(240)
async def test_every_secret_rotates_without_a_refused_request(
    tmp_path: Path,
    postgres: PrivatePostgres,
    object_store: PrivateObjectStore,
    bucket: str,
    rabbitmq: PrivateRabbitMQ,
    rabbitmq_url: str,
    valkey: PrivateValkey,
    figure: Tell,
) -> None:
    vhost = urlsplit(rabbitmq_url).path.strip("/")
    first_broker = await broker_user(rabbitmq, rabbitmq_url, vhost)
    async with (
        GrantedKeys(object_store, bucket, valkey) as keys,
        Fleet(tmp_path, postgres, object_store, bucket, first_broker, **keys.addresses, **await keys.grant()) as fleet,
    ):
        await something_to_hear(fleet, object_store, bucket)
        await fleet.purchase(USER)
        await until(partial(is_pro, fleet, USER))
        rotation = Rotation(fleet, postgres, rabbitmq, vhost, keys)
        author = Author(fleet, keys)
        traffic = Traffic(fleet, USER, PATHS)
        async with traffic.flowing():
            await traffic.more(100)
            await author.hears("speak calmly", during=fleet.deploy(**rotation.both()))
            await rotation.providers_use_the_new_ones()
            await fleet.purchase("user_2whileBothAreTaken")
            await traffic.more(100)
            changes = await rotation.the_new_ones(await broker_user(rabbitmq, rabbitmq_url, vhost))
            await author.hears("sleep deeply", during=fleet.deploy(**changes))
            await traffic.more(100)
            await rotation.withdraw_the_old_ones(first_broker)
            await fleet.purchase("user_2whenTheOldAreGone")
            fleet.clerk.sign_up("user_2whenTheOldAreGone")
            await traffic.more(100)
            await author.hears("walk slowly")
            await until(author.is_counted)
            for user in ("user_2whileBothAreTaken", "user_2whenTheOldAreGone"):
                await until(partial(is_pro, fleet, user))
        await rotation.tidy_up()

        delivered = [*fleet.store.webhooks.history, *fleet.clerk.webhooks.history]
        assert (traffic.refused, {attempt.status for attempt in delivered}) == ({}, {200})
        assert traffic.answers["200 audio"] > 0
    figure(f"{traffic.answers.total()} requests and {len(delivered)} webhooks through 2 releases, 0 refused")


class Rotation:
    """The new secrets, and the acts of docs/rotation.md with them."""

    def __init__(
        self, fleet: Fleet, postgres: PrivatePostgres, rabbitmq: PrivateRabbitMQ, vhost: str, keys: GrantedKeys
    ) -> None:
        self._fleet = fleet
        self._postgres = postgres
        self._rabbitmq = rabbitmq
        self._vhost = vhost
        self._keys = keys
        self._suffix = secrets.token_hex(4)
        self._old = dict(fleet.environment)
        self._new = {
            "REVENUECAT_WEBHOOK_AUTHORIZATION": f"Bearer {secrets.token_hex(16)}",
            "REVENUECAT_WEBHOOK_SECRETS": f"whsec_{secrets.token_hex(16)}",
            "CLERK_WEBHOOK_SIGNING_SECRETS": f"whsec_{b64encode(secrets.token_bytes(24)).decode()}",
        }
        self._api_keys = {"REVENUECAT_API_KEY": f"sk_{self._suffix}", "CLERK_SECRET_KEY": f"sk_test_{self._suffix}"}

    def both(self) -> dict[str, str]:
        """What takes several values gets the old and the new; elsewhere the old ones still hold."""
        return {name: f"{self._old[name]},{value}" for name, value in self._new.items()}

    async def providers_use_the_new_ones(self) -> None:
        """The dashboards: webhooks are signed anew, API keys and the CDN's key group have a second one."""
        value, secret = self._new["REVENUECAT_WEBHOOK_AUTHORIZATION"], self._new["REVENUECAT_WEBHOOK_SECRETS"]
        svix = self._new["CLERK_WEBHOOK_SIGNING_SECRETS"]
        self._fleet.store.webhooks.sign_by(lambda _, body, at: revenuecat_headers(body, at, value, secret))
        self._fleet.clerk.webhooks.sign_by(lambda message, body, at: svix_headers(message, body, at, svix))
        self._fleet.store.further_keys = {self._api_keys["REVENUECAT_API_KEY"]}
        self._fleet.clerk.further_keys = {self._api_keys["CLERK_SECRET_KEY"]}
        self._fleet.edge.trust({CDN_KEY_ID: self._fleet.cdn_public_key, "K2NEW": public_pem(NEW_CDN_KEY)})

    async def the_new_ones(self, broker: str) -> dict[str, str]:
        """The settings of the second release; a second login for each database role comes with it."""
        cdn = {"CLOUDFRONT_KEY_PAIR_ID": "K2NEW", "CLOUDFRONT_PRIVATE_KEY": private_pem(NEW_CDN_KEY)}
        logins = {name: url async for name, url in self._logins()}
        broker_and_keys = {"RABBITMQ_URL": broker, **await self._keys.grant()}
        return {**self._new, **self._api_keys, **cdn, **logins, **broker_and_keys}

    async def _logins(self) -> Any:
        for service in SERVICES:
            login, password = f"{service}_{self._suffix}", secrets.token_hex(12)
            await self._execute(
                f"CREATE ROLE {login} LOGIN PASSWORD '{password}' IN ROLE {service}",
                f"ALTER ROLE {login} SET role TO {service}",
            )
            for name in self._addresses(service):
                parts = urlsplit(self._old[name])
                yield name, urlunsplit(parts._replace(netloc=f"{login}:{password}@{parts.hostname}:{parts.port}"))

    def _addresses(self, service: str) -> list[str]:
        """The settings that hold the password of the service's role: two where there is a pooler."""
        own = (f"{service.upper()}_DATABASE_URL", f"{service.upper()}_DATABASE_DIRECT_URL")
        return [name for name in own if name in self._old]

    async def withdraw_the_old_ones(self, broker: str) -> None:
        for service in SERVICES:
            await self._execute(f"ALTER ROLE {service} PASSWORD '{secrets.token_hex(12)}'")
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(self._old[self._addresses(service)[-1]])
        await self._rabbitmq.api("DELETE", f"users/{urlsplit(broker).username}")
        self._fleet.store.api_key = self._api_keys["REVENUECAT_API_KEY"]
        self._fleet.clerk.secret_key = self._api_keys["CLERK_SECRET_KEY"]
        self._fleet.edge.trust({"K2NEW": public_pem(NEW_CDN_KEY)})
        await self._keys.revoke(self._old)

    async def tidy_up(self) -> None:
        """Roles belong to the server, not to the test's database."""
        await self._fleet.close_instances()
        for service in SERVICES:
            await self._execute(f"DROP ROLE {service}_{self._suffix}")

    async def _execute(self, *statements: str) -> None:
        session = await asyncpg.connect(self._postgres.url())
        try:
            for statement in statements:
                await session.execute(statement)
        finally:
            await session.close()


class Author:
    """Who has lines written, judged, spoken and stored: what the keys to providers and to the store are for."""

    def __init__(self, fleet: Fleet, keys: GrantedKeys) -> None:
        self._fleet = fleet
        self._keys = keys

    async def hears(self, goal: str, during: Coroutine[Any, Any, None] | None = None) -> None:
        """A new session, written by the model; none of it is made or judged without the providers."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._hears(goal))
            if during is not None:
                both.create_task(during)

    async def _hears(self, goal: str) -> None:
        written, spoken = len(self._keys.model.asked), len(self._keys.speech.asked)
        lines = (await self._ask("POST", "/affirmations/generate", {"goal": goal, "count": 2}))["affirmations"]
        created = await self._ask("POST", "/sessions", draft(affirmations=lines))
        await until(partial(self._made, created["_audioJobId"]), 60)
        bundle = (await self._ask("GET", f"/sessions/{created['id']}/playback-bundle"))["bundle"]
        async with aiohttp.ClientSession() as http, http.get(bundle["affirmationsMergedUrl"]) as heard:
            assert heard.status == 200
        assert len(self._keys.model.asked) > written
        assert set(lines) <= set(self._keys.model.judged)
        assert len(self._keys.speech.asked) > spoken

    async def is_counted(self) -> bool:
        """Whether the gateway knows how often the user asked; without its storage it lets everybody pass."""
        async with self._asked("PUT", "/me/struggle", {"struggle": None}) as answer:
            assert answer.status == 200, await answer.text()
            return "RateLimit" in answer.headers

    async def _made(self, job: str) -> bool:
        status = (await self._ask("GET", f"/jobs/{job}"))["job"]["status"]
        assert status != "failed"
        return bool(status == "completed")

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self._asked(method, path, body) as answer:
            assert answer.status in (200, 201), await answer.text()
            return await answer.json()

    @asynccontextmanager
    async def _asked(self, method: str, path: str, body: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Authorization": f"Bearer {self._fleet.token(USER)}"}
        async with (
            aiohttp.ClientSession(self._fleet.url, headers=headers) as http,
            http.request(method, path, json=body) as answer,
        ):
            yield answer


async def broker_user(rabbitmq: PrivateRabbitMQ, url: str, vhost: str) -> str:
    """A new user of the virtual host; the address with it."""
    name, password = f"services-{secrets.token_hex(4)}", secrets.token_hex(12)
    await rabbitmq.api("PUT", f"users/{name}", {"password": password, "tags": ""})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    await rabbitmq.api("PUT", f"permissions/{quote(vhost, safe='')}/{name}", everything)
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.hostname}:{parts.port}"))


async def something_to_hear(fleet: Fleet, store: PrivateObjectStore, bucket: str) -> None:
    """A session of the catalogue, with its file."""
    key, lines = "audio/session/rotating/file.m4a", ("I am calm.",)
    async with store.client() as s3:
        await s3.put_object(Bucket=bucket, Key=key, Body=b"sound")
    service = fleet.as_configured(BUILD["media"])
    async with service.opened(), service.database.transaction() as uow:
        session = Session(
            id=SESSION,
            source="catalog",
            title="Quiet Centre",
            goal_tag="meditate",
            voice_id="nova",
            frequency_hz=7,
            brainwave_state="Theta",
            lines_hash=hash_of_lines(lines),
            created_at=uow.now,
            updated_at=uow.now,
        )
        await add_session(uow, session, lines)
        uow.session.add(finished_audio(session, key, uow.now))


async def is_pro(fleet: Fleet, user: str) -> bool:
    return await Traffic(fleet, user, []).plan() == "pro"
