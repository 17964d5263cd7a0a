"""The product as production runs it, in separate processes over RabbitMQ: the first journey, and what operators see.

One deployment serves the whole module. `test_all_in_one` plays the journey in one process.
"""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web

from common.clock import utc_now
from common.contracts.identity import SessionEnded
from common.messaging.envelope import Envelope
from common.messaging.rabbit import RabbitBus
from common.tracing import current_trace
from embedded.journey import Journey
from embedded.kept_files import new_rsa_key, private_pem
from embedded.local_server import LocalServer
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from entrain.__main__ import parser
from entrain.checks import CHECKS
from entrain.checks.policies import DEFINITIONS
from entrain.commands import run_command
from entrain.deployment import read_deployment
from entrain.examination import Patience, chosen, examine
from entrain.findings import Outcome
from tests.support.ahead import Ahead
from tests.support.deployment import Deployment
from tests.support.event_ledger import until
from tests.support.rabbitmq import PrivateRabbitMQ

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
TRAVELLER = "user_2firstJourney00000000000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PrivatePostgres,
    object_store: PrivateObjectStore,
    buckets: Ahead,
    rabbitmq: PrivateRabbitMQ,
) -> AsyncIterator[Deployment]:
    bucket, vhost = buckets.take(), f"test-{secrets.token_hex(6)}"
    url = await rabbitmq.create_vhost(vhost)
    folder = tmp_path_factory.mktemp("deployment")
    for policy in json.loads(DEFINITIONS.read_text())["policies"]:
        await rabbitmq.api("PUT", f"policies/{vhost}/{policy['name']}", {**policy, "vhost": vhost})
    async with Deployment(folder, postgres, object_store, bucket, url) as started:
        started.environment.update(rabbitmq.administrator)  # for the doctor alone
        await started.seed()
        yield started
    await rabbitmq.delete_vhost(vhost)
    buckets.give_back(bucket)


async def test_the_first_journey(deployment: Deployment) -> None:
    deployment.clerk.sign_up(TRAVELLER)
    heard = await Journey(deployment.url, deployment, tell=print).play(TRAVELLER)

    assert heard.seconds > 20


async def test_who_signed_out_is_out(deployment: Deployment) -> None:
    """The gateway process hears of an ended session by the broker and refuses a token it let pass before."""
    token = deployment.clerk.session_token(TRAVELLER, sid="sess_2left")
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:

        async def answered(status: int) -> bool:
            async with http.get(f"{deployment.url}/me/entitlement") as answer:
                return answer.status == status

        assert await answered(200)
        async with RabbitBus(deployment.environment["RABBITMQ_URL"], name="test") as bus:
            ended = SessionEnded(session_id="sess_2left", user_id=TRAVELLER, ended_at=utc_now(), sequence=1)
            await bus.publish(Envelope.of(ended, at=utc_now(), trace=current_trace()))
        assert await until(lambda: answered(401))


async def test_the_doctor_finds_a_healthy_deployment_healthy(deployment: Deployment) -> None:
    code, told = await entrain(deployment, "doctor", "--write", "--each", "90", "--within", "180")

    assert code == 0, told
    assert "0 to look at, 0 failed, 0 not applicable" in told


async def entrain(deployment: Deployment, *arguments: str) -> tuple[int | None, str]:
    """Exit code and standard output of an operator's command, as a process."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "entrain", *arguments, env=deployment.environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    return child.returncode, output.decode()


async def looked_at(deployment: Deployment, *names: str, **changes: str) -> dict[str, Outcome]:
    """What the named checks find with these settings in place of the right ones."""
    with patch.dict(os.environ, {**deployment.environment, **changes}, clear=True):
        examined = read_deployment()
    findings = await examine(examined, chosen(CHECKS, names, (), write=False), Patience(60, 90), tell=print)
    return {finding.name: finding.outcome for finding in findings}


async def failing(deployment: Deployment, name: str, **changes: str) -> str:
    """What a check that must fail has seen, and its advice."""
    outcome = (await looked_at(deployment, name, **changes))[name]
    assert outcome.verdict == "fail", outcome
    assert outcome.advice
    print(f"{name}: {outcome.seen}\n    → {outcome.advice}")
    return f"{outcome.seen} → {outcome.advice}"


SECRETS = ("no key", "WrongPassword", "sk_test_wrong", "sk_wrong_key", "whsec_another_secret")
WRONG_KEY = private_pem(new_rsa_key())


@pytest.mark.parametrize(
    "check,changes,words",
    [
        ("settings.gateway", {"CLERK_ISSUERS": "", "GATEWAY_SIGNING_KEY": "no key"}, "GATEWAY_SIGNING_KEY"),
        ("settings.media", {"AWS_S3_BUCKET_NAME": "", "MEDIA_FREE_TIER": "gold"}, "MEDIA_FREE_TIER"),
        ("settings.billing", {"RABBITMQ_URL": ""}, "no worker starts"),
        ("health.media-api", {"MEDIA_URL": "http://127.0.0.1:9"}, "python -m media api"),
        ("public.unauthorized", {"PUBLIC_URL": "http://127.0.0.1:9"}, "DNS"),
        ("public.tls", {"PUBLIC_URL": "http://api.example.com"}, "TLS"),
        ("database.media", {"MEDIA_DATABASE_URL": "wrong password"}, "MEDIA_DATABASE_URL"),
        ("broker.media", {"RABBITMQ_URL": "wrong password"}, "RABBITMQ_URL"),
        ("broker.policies", {"RABBITMQ_API_PASSWORD": "WrongPassword"}, "administrator"),
        ("storage.bucket", {"AWS_SECRET_ACCESS_KEY": "wrong" * 8}, "AWS_SECRET_ACCESS_KEY"),
        ("storage.bucket", {"AWS_S3_BUCKET_NAME": "no-such-bucket"}, "no bucket"),
        ("delivery.signature", {"CLOUDFRONT_PRIVATE_KEY": WRONG_KEY}, "403 with our signature"),
        ("clerk.secret-key", {"CLERK_SECRET_KEY": "sk_test_wrong"}, "refuses the key"),
        ("revenuecat.key", {"REVENUECAT_API_KEY": "sk_wrong_key"}, "refuses the key"),
        ("webhook.revenuecat", {"REVENUECAT_WEBHOOK_SECRETS": "whsec_another_secret"}, "does not know our secret"),
        ("webhook.clerk", {"CLERK_WEBHOOK_SIGNING_SECRETS": f"whsec_{'A' * 32}"}, "does not know our secret"),
    ],
    ids=[
        *("gateway-settings", "media-settings", "no-broker", "media-address", "public-address", "no-tls"),
        *("database-password", "broker-password", "broker-administrator", "s3-key", "bucket"),
        *("cdn-key", "clerk-key", "revenuecat-key"),
        *("revenuecat-webhook-secret", "clerk-webhook-secret"),
    ],
)
async def test_a_wrong_setting_is_found_by_its_own_check(
    deployment: Deployment, check: str, changes: Mapping[str, str], words: str
) -> None:
    wrong = {
        name: altered_password(deployment.environment[name]) if value == "wrong password" else value
        for name, value in changes.items()
    }

    told = await failing(deployment, check, **wrong)

    assert words in told
    assert not [secret for secret in (*changes.values(), "WrongPassword") if secret in SECRETS and secret in told]


def altered_password(url: str) -> str:
    before, _, host = url.rpartition("@")
    return f"{before.rpartition(':')[0]}:WrongPassword@{host}"


async def test_a_schema_behind_the_code_is_found(deployment: Deployment) -> None:
    async with superuser(deployment) as session:
        newest = await session.fetchval("SELECT version_num FROM media.alembic_version")
        await session.execute("UPDATE media.alembic_version SET version_num = '0001'")
        try:
            told = await failing(deployment, "revision.media")
        finally:
            await session.execute("UPDATE media.alembic_version SET version_num = $1", newest)

    assert "python -m media migrate" in told


async def test_a_role_that_may_use_other_schemas_is_found(deployment: Deployment) -> None:
    found = await looked_at(deployment, "rights.media", MEDIA_DATABASE_URL=deployment.database_url)

    assert found["rights.media"].verdict == "warn"
    assert "superuser" in found["rights.media"].seen


async def test_an_object_that_anybody_may_read_is_found(
    deployment: Deployment, object_store: PrivateObjectStore
) -> None:
    bucket = deployment.environment["AWS_S3_BUCKET_NAME"]
    everybody = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",'
        f'"Resource":"arn:aws:s3:::{bucket}/*"}}]}}'
    )
    async with object_store.client() as s3:
        await s3.put_bucket_policy(Bucket=bucket, Policy=everybody)
        try:
            told = await failing(deployment, "storage.private")
        finally:
            await s3.delete_bucket_policy(Bucket=bucket)

    assert "anybody may read audio/" in told


async def test_a_key_server_that_is_down_is_found(deployment: Deployment) -> None:
    deployment.clerk.faults.fail_next("unavailable", -1, where="jwks")  # the gateway asks too, whenever it likes
    try:
        told = await failing(deployment, "issuer.clerk")
    finally:
        deployment.clerk.faults.clear()

    assert "status 503" in told


class WrongClock(LocalServer):
    """A server that lives in the past."""

    def application(self) -> web.Application:
        async def answer(_: web.Request) -> web.Response:
            return web.json_response({}, headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"})

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        return app


async def test_a_clock_that_is_wrong_is_found(deployment: Deployment) -> None:
    async with WrongClock() as wrong:
        told = await failing(deployment, "clock.clerk", CLERK_JWKS_URL=f"{wrong.url}/keys")

    assert "behind ours" in told
    assert "NTP" in told


async def test_a_parked_message_is_found_shown_and_dropped(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    async with RabbitBus(deployment.environment["RABBITMQ_URL"], name="test") as bus:
        await bus.put("media.entitlements", b"not an event", {})

        async def parked() -> bool:
            return await bus.parked("media.entitlements") == 1

        await until(parked)
    found = await looked_at(deployment, "parked")

    assert {name for name, outcome in found.items() if outcome.verdict == "warn"} == {"parked.media.entitlements"}
    assert "python -m entrain parked show --queue media.entitlements" in found["parked.media.entitlements"].advice
    code, told = await operator(deployment, capsys, "parked", "show")
    assert code == 0
    assert "not an event" in told
    named = ("--queue", "media.entitlements", "--all")
    assert await operator(deployment, capsys, "parked", "replay", *named) == (0, "1 put back into media.entitlements\n")
    await dropped(deployment, capsys)
    assert {outcome.verdict for outcome in (await looked_at(deployment, "parked")).values()} == {"ok"}


async def test_a_policy_that_was_taken_away_is_found(deployment: Deployment, rabbitmq: PrivateRabbitMQ) -> None:
    vhost = urlsplit(deployment.environment["RABBITMQ_URL"]).path[1:]
    path = f"policies/{vhost}/waiting"
    kept = await rabbitmq.api("GET", path)
    await rabbitmq.api("DELETE", path)

    async def said() -> str:
        found = (await looked_at(deployment, "broker.policies"))["broker.policies"]
        return f"{found.seen} → {found.advice}"

    async def missed() -> bool:  # the management API tells of queues as they were some seconds ago
        return "media.users.retry has no policy, not waiting as defined" in await said()

    await until(missed)
    assert "apply_definitions.py" in await said()
    await rabbitmq.api("PUT", path, kept)


async def dropped(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """Drops the one parked message, as soon as it is parked again."""

    async def gone() -> bool:
        _, told = await operator(deployment, capsys, "parked", "drop", "--queue", "media.entitlements", "--all")
        return told.startswith("1 dropped")

    await until(gone)


async def test_an_outbox_that_is_stuck_is_found_and_named(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    async with superuser(deployment) as session:
        stuck = await session.fetchval(
            "INSERT INTO billing.outbox (message_id, type, subject, body, created_at) VALUES (gen_random_uuid(),"
            " 'billing.nonsense.v1', 'nobody', '{}', now() - interval '10 min') RETURNING message_id"
        )
        try:
            advice = await failing(deployment, "outbox.billing")
            code, told = await operator(deployment, capsys, "outbox", "--json")
        finally:
            await session.execute("DELETE FROM billing.outbox WHERE message_id = $1", stuck)

    assert "python -m entrain outbox" in advice
    waiting = json.loads(told)
    assert (code, waiting["billing"]["waiting"], waiting["billing"]["oldest"][0]["id"]) == (0, 1, str(stuck))
    assert waiting["billing"]["oldestSeconds"] >= 600
    assert all(waiting[schema]["publishedBy"] for schema in ("identity", "billing", "media"))


async def test_jobs_are_listed_and_only_those_that_wait_or_failed_can_be_tried_again(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    _, told = await operator(deployment, capsys, "jobs", "--status", "completed", "--json")
    listed = json.loads(told)

    assert listed["states"]["completed"]["count"] >= 1
    code, _ = await operator(deployment, capsys, "jobs", "retry", listed["jobs"][0]["id"])
    assert code == 1
    code, _ = await operator(deployment, capsys, "jobs", "cancel", "no-such-job")
    assert code == 1


async def test_a_user_is_known_by_id_and_address_without_what_they_wrote(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = await operator(deployment, capsys, "user", TRAVELLER, "--json")
    known = json.loads(told)

    assert code == 0
    email = known["identity"]["known"]["email"]
    assert (known["billing"]["plan"], known["media"]["plan"]["heard"]) == ("free", "free")
    assert known["billing"]["sequence"] == known["media"]["plan"]["sequence"] == 2
    assert any("because" in line for line in known["billing"]["why"])
    assert known["media"]["sessions"]
    assert {job["status"] for job in known["media"]["jobs"]} == {"completed"}
    assert {event["type"] for event in known["events"]} >= {"billing.subscription_changed.v1"}
    async with superuser(deployment) as session:
        written = await session.fetch(
            "SELECT title AS text FROM media.session WHERE owner_user_id = $1 UNION SELECT line.text FROM"
            " media.session_line line JOIN media.session own ON own.id = session_id WHERE owner_user_id = $1",
            TRAVELLER,
        )
    assert len(written) > 3
    assert not [row["text"] for row in written if row["text"] in told]
    assert (await operator(deployment, capsys, "user", email.upper()))[1].startswith(f"user: {TRAVELLER}\n")
    assert (await operator(deployment, capsys, "user", "nobody@example.com"))[0] == 1


async def operator(deployment: Deployment, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and standard output of an operator's command, run here."""
    capsys.readouterr()
    with patch.dict(os.environ, deployment.environment, clear=True):
        code = await run_command(parser().parse_args(arguments))
    return code, capsys.readouterr().out


async def test_a_missing_worker_is_found(deployment: Deployment) -> None:
    await deployment.kill("billing worker")

    async def noticed() -> bool:
        return (await looked_at(deployment, "queue.billing.users"))["queue.billing.users"].verdict == "fail"

    await until(noticed)
    assert "start `python -m billing worker`" in await failing(deployment, "queue.billing.users")
    assert "does not answer" in await failing(deployment, "health.billing-worker")


@asynccontextmanager
async def superuser(deployment: Deployment) -> AsyncIterator[Any]:
    session = await asyncpg.connect(deployment.database_url)
    try:
        yield session
    finally:
        await session.close()
