"""The first journey through separate processes over RabbitMQ, what a collector sees of it, and what the logs say.

`test_all_in_one` plays it in one process.
"""

import re
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from common.clock import utc_now
from common.contracts.identity import SessionEnded
from common.messaging.envelope import Envelope
from common.messaging.rabbit import RabbitBus
from common.observability import pseudonym
from common.tracing import current_trace
from embedded.journey import Heard, Journey
from embedded.object_store import PrivateObjectStore
from embedded.postgres import PrivatePostgres
from tests.support.deployment import Deployment
from tests.support.event_ledger import until
from tests.support.log_search import Search
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.trace_receiver import Seen, TraceReceiver, parents
from tests.support.trouble import UNHEARD, WRITER, Trouble

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

TRAVELLER = "user_traveller"
COLLECTOR_KEY = "the-collectors-own-key"
PURCHASE = {
    "gateway: POST billing": "gateway: POST /webhooks/revenuecat",
    "billing-api: POST /webhooks/revenuecat": "gateway: POST billing",
    "billing-worker: read subscriber": "billing-api: POST /webhooks/revenuecat",
    "billing-worker: GET revenuecat": "billing-worker: read subscriber",
    "billing-worker: publish billing.subscription_changed.v1": "billing-worker: read subscriber",
    "media-worker: process media.entitlements": "billing-worker: publish billing.subscription_changed.v1",
}
CREATION = {
    "gateway: POST media": "gateway: POST /sessions",
    "media-api: POST /sessions": "gateway: POST media",
    "media-worker: publish media.session_created.v1": "media-api: POST /sessions",
    "media-worker: publish media.audio_requested.v1": "media-api: POST /sessions",
    "media-worker: render": "media-api: POST /sessions",
    "media-worker: speak": "media-worker: render",
    "media-worker: S3/GetObject": "media-worker: speak",
    "media-worker: S3/PutObject": "media-worker: render",
    "media-worker: publish media.audio_generated.v1": "media-worker: render",
}


@dataclass
class Run:
    """What was played, and where it was seen."""

    deployment: Deployment
    collector: TraceReceiver
    vhost: str
    heard: Heard
    trouble: Trouble

    async def trace(self, first: str, steps: Collection[str]) -> list[Seen]:
        """The first trace that begins so and has these steps; each process sends its spans in batches of its own."""

        async def arrived() -> list[list[Seen]]:
            begun = self.collector.beginning_with(first)
            return [trace for trace in begun if {str(span) for span in trace} >= set(steps)]

        found: list[list[Seen]] = await until(arrived, 20)
        return found[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PrivatePostgres,
    object_store: PrivateObjectStore,
    rabbitmq: PrivateRabbitMQ,
) -> AsyncIterator[Run]:
    vhost = await rabbitmq.create_vhost("first-journey")
    await object_store.create_bucket("first-journey")
    folder = tmp_path_factory.mktemp("first-journey")
    async with (
        TraceReceiver() as collector,
        Deployment(
            folder,
            postgres,
            object_store,
            "first-journey",
            vhost,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS=f"x-key={COLLECTOR_KEY}",
        ) as deployment,
    ):
        await deployment.seed()
        heard = await Journey(deployment.url, deployment, tell=print).play(TRAVELLER)
        trouble = Trouble(deployment)
        await trouble.meet()
        yield Run(deployment, collector, vhost, heard, trouble)


async def test_it_ends_with_the_session_being_heard(played: Run) -> None:
    assert played.heard.seconds > 20


async def test_an_ended_session_is_refused(played: Run) -> None:
    """The gateway process hears of it by the broker and refuses a token it let pass before."""
    token = played.deployment.clerk.session_token(TRAVELLER, sid="sess_2left")
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:

        async def answered(status: int) -> bool:
            async with http.get(f"{played.deployment.url}/me/entitlement") as answer:
                return answer.status == status

        assert await answered(200)
        async with RabbitBus(played.vhost, name="test") as bus:
            ended = SessionEnded(session_id="sess_2left", user_id=TRAVELLER, ended_at=utc_now(), sequence=1)
            await bus.publish(Envelope.of(ended, at=utc_now(), trace=current_trace()))
        assert await until(lambda: answered(401))


async def test_from_purchase_to_pro_is_one_trace(played: Run) -> None:
    trace = await played.trace("POST /webhooks/revenuecat", PURCHASE)
    assert parents(trace) == PURCHASE
    await whole(trace)


async def test_from_create_to_audio_is_one_trace(played: Run) -> None:
    trace = await played.trace("POST /sessions", CREATION)
    assert {step: part_of for step, part_of in parents(trace).items() if step in CREATION} == CREATION
    assert parents(trace).keys() == CREATION.keys()
    await whole(trace)


async def whole(trace: list[Seen]) -> None:
    """One beginning, every step a part of another, each over after it began and none before what it is a part of."""
    known = {span.id: span for span in trace}
    assert len([span for span in trace if not span.parent_id]) == 1
    for span in trace:
        assert span.end >= span.start
        assert not span.failed, span
        assert not span.parent_id or known[span.parent_id].start <= span.start, span


async def test_a_step_is_described_as_the_conventions_say(played: Run) -> None:
    trace = await played.trace("POST /webhooks/revenuecat", PURCHASE)
    described = {str(span): (span.kind, span.attributes) for span in trace}
    kind, asked = described["gateway: POST /webhooks/revenuecat"]
    assert (kind, asked["http.route"], asked["http.response.status_code"]) == ("server", "/webhooks/revenuecat", 200)
    kind, called = described["billing-worker: GET revenuecat"]
    assert (kind, called["http.request.method"], called["peer.service"]) == ("client", "GET", "revenuecat")
    kind, sent = described["billing-worker: publish billing.subscription_changed.v1"]
    assert (kind, sent["messaging.operation.type"]) == ("producer", "send")
    kind, handled = described["media-worker: process media.entitlements"]
    assert (kind, handled["messaging.destination.name"]) == ("consumer", "media.entitlements")
    assert handled["messaging.message.id"] == sent["messaging.message.id"]


async def test_what_fails_is_seen_to_fail(played: Run) -> None:
    failed = await until(lambda: _failed(played, "POST /sessions"), 20)
    assert {span.attributes["error.type"] for span in failed} == {"500"}


async def _failed(played: Run, name: str) -> list[Seen]:
    return [span for span in played.collector.spans if span.name == name and span.failed]


async def test_the_collector_gets_its_key_and_nothing_of_a_person(played: Run) -> None:
    assert played.collector.headers["x-key"] == COLLECTOR_KEY
    search = await searching(played)
    told = [f"{span} {dict(span.attributes)}" for span in played.collector.spans]
    assert len(told) > 100
    assert [one for one in told if search.kinds_in(one)] == []


async def test_no_log_tells_a_secret_or_what_anybody_said(played: Run) -> None:
    search = await searching(played)
    assert search.found() == []
    lines = list(search.lines())
    for event in ("unexpected_error", "webhook_not_understood", "will_retry", "render_completed"):
        assert any(f'"event": "{event}"' in line for _, line in lines), f"{event} was not met"
    whose = [line for _, line in lines if f'"user_id": "{pseudonym(TRAVELLER)}"' in line]
    assert {re.findall(r'"service": "(\w+)"', line)[0] for line in whose} >= {"gateway", "identity", "media"}


async def test_the_search_would_find_each_of_them(played: Run) -> None:
    search = await searching(played)
    environment = played.deployment.environment
    planted = {
        "secret": environment["REVENUECAT_API_KEY"],
        "token": next(iter(played.deployment.tokens)),
        "words": played.trouble.line,
        "address": "somebody.else@example.com",
        "authorization": "Authorization: bearer 0123456789",
        "signature": "https://cdn.test/a.m4a?Expires=1&Signature=abcdefgh-_~",
        "password": environment["RABBITMQ_URL"],
        "private key": "-----BEGIN PRIVATE KEY-----",
        "user": f"user {TRAVELLER} came",
        "play grant": "GET /play/gAAAAABmQ0123456789abcdef",
    }
    for kind, text in planted.items():
        assert kind in search.kinds_in(f'{{"event": "planted", "text": "{text}"}}'), kind
    assert search.kinds_in('{"event": "request", "route": "/sessions/{id}", "status": 200}') == []


async def searching(played: Run) -> Search:
    own = "SELECT id FROM media.session WHERE owner_user_id IS NOT NULL"
    session = await asyncpg.connect(played.deployment.database_url)
    try:
        rows = await session.fetch(f"SELECT text FROM media.session_line WHERE session_id IN ({own})")
    finally:
        await session.close()
    lines = [row["text"] for row in rows]
    assert lines
    wished = ["speak calmly in front of my team", "My own words carry me", "My first session"]
    words = {
        "words": [*lines, *wished, *played.trouble.words],
        "hidden": [*played.trouble.secrets, COLLECTOR_KEY],
        "user": [TRAVELLER, WRITER, UNHEARD],
    }
    return Search(played.deployment, words)
