"""Media on a database of its own, with the audio, plans and events that tests need."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp
from yarl import URL

from common.clock import Clock, utc_now
from common.contracts.billing import Plan, Status, SubscriptionChanged
from common.contracts.identity import UserDeleted
from common.contracts.media import UserDataErased
from common.db.migrations import upgrade
from common.messaging.envelope import Envelope
from common.service import HttpServer, Service
from common.tracing import current_trace
from embedded.object_store import PrivateObjectStore
from media.commands import add_session
from media.consumers import entitlements, users
from media.lines import hash_of_lines
from media.models import Session, SessionAudio
from media.service import build
from media.settings import MediaSettings
from tests.support.callers import NOBODY, Answer, Api, FixedCallers
from tests.support.schemas import rows
from tests.support.ways import way_to

PUBLIC_URL = "https://api.example.test"
NOWHERE = "http://127.0.0.1:1"
LINES = ("I choose calm in this moment.", "My breath is slow and my body follows it.")


def settings(database_url: str, store: PrivateObjectStore | None = None, **more: Any) -> MediaSettings:
    """With ``store``, audio is kept there in ``aws_s3_bucket_name``; without, no store can be reached."""
    fixed: dict[str, Any] = {
        **way_to(database_url),
        "database_pool_size": 10,
        "gateway_jwks_url": f"{NOWHERE}/.well-known/jwks.json",
        "aws_access_key_id": store.access_key if store else "nobody",
        "aws_secret_access_key": store.secret_key if store else "nothing",
        "aws_s3_bucket_name": "nowhere",
        "aws_endpoint_url_s3": store.endpoint if store else NOWHERE,
        "public_url": PUBLIC_URL,
    }
    return MediaSettings(**{**fixed, **more})


def draft(**changes: Any) -> dict[str, Any]:
    """The body of POST /sessions as the app's composer sends it; a change to None leaves a field out."""
    body = {
        "localDraftId": str(uuid4()),
        "title": "Calm before the talk",
        "goalTag": "focus",
        "affirmations": list(LINES),
        "voiceId": "nova",
        "pace": "slow",
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def finished_audio(session: Session, key: str, at: datetime) -> SessionAudio:
    """The row of a finished file."""
    return SessionAudio(
        session_id=session.id,
        audio_key=key,
        lines_hash=session.lines_hash,
        duration_ms=21_250,
        loudness_lufs=-20.04,
        true_peak_dbtp=-3.2,
        size_bytes=170_000,
        sha256="ab" * 32,
        engine="tone 1",
        segments=[{"startMs": 500, "endMs": 2300}, {"startMs": 3800, "endMs": 5700}],
        generated_at=at,
    )


@dataclass
class Media:
    """One process of the service, and the means to arrange and to see what it knows."""

    api: Api
    service: Service
    database_url: str
    http: aiohttp.ClientSession

    async def play(self, url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """Asks this process for the path of a play URL, as the gateway does for a player; no redirect is followed."""
        sent = {"Authorization": f"Bearer {NOBODY}", **(headers or {})}
        path = URL(url).path
        async with self.http.request(method, path, headers=sent, allow_redirects=False) as answer:
            return Answer(answer.status, answer.headers, await answer.text())

    async def session(
        self,
        owner: str | None = None,
        *,
        lines: Sequence[str] = LINES,
        audio: bool = True,
        made: datetime | None = None,
    ) -> str:
        """A session of the catalogue, or of ``owner``, with or without its file's row."""
        async with self.service.database.transaction() as uow:
            session = Session(
                id=str(uuid4()),
                owner_user_id=owner,
                source="user" if owner else "catalog",
                title="Quiet Centre",
                goal_tag="meditate",
                voice_id="nova",
                frequency_hz=7,
                brainwave_state="Theta",
                lines_hash=hash_of_lines(lines),
                created_at=made or uow.now,
                updated_at=made or uow.now,
            )
            await add_session(uow, session, lines)
        if audio:
            await self.audio(session.id)
        return session.id

    async def audio(self, session_id: str, key: str = "audio/session/one/two.m4a") -> None:
        """The row of a finished file."""
        async with self.service.database.transaction() as uow:
            session = await uow.session.get(Session, session_id)
            assert session is not None
            uow.session.add(finished_audio(session, key, uow.now))

    async def subscribe(
        self,
        user: str,
        plan: Plan = "pro",
        status: Status = "active",
        *,
        sequence: int = 1,
        lasts: timedelta | None = None,
        renews: bool = False,
        store: str | None = "app_store",
    ) -> Envelope:
        """What billing says reaches media's consumer; the message, to be delivered again."""
        ends = self.service.database.clock() + lasts if lasts is not None else None
        event = SubscriptionChanged(
            user_id=user,
            plan=plan,
            status=status,
            expires_at=ends,
            renews_at=ends if renews else None,
            will_renew=renews,
            store=store,
            cause="test",
            sequence=sequence,
        )
        envelope = Envelope.of(event, at=utc_now(), trace=current_trace())
        await self.deliver(envelope)
        return envelope

    async def deliver(self, envelope: Envelope) -> None:
        await entitlements.deliver_to(self.service.database, "media")(envelope)

    async def erase(self, user: str, deletion_id: str | None = "deletion-1") -> Envelope:
        """Identity's word that the user was deleted reaches media's consumer; the message, to be delivered again."""
        envelope = Envelope.of(
            UserDeleted(user_id=user, issuer="test", deletion_id=deletion_id, sequence=9),
            at=utc_now(),
            trace=current_trace(),
        )
        await self.deliver_deletion(envelope)
        return envelope

    async def deliver_deletion(self, envelope: Envelope) -> None:
        await users.deliver_to(self.service.database, "media")(envelope)

    async def receipts(self) -> list[UserDataErased]:
        """What media said of erased data, in order."""
        query = "SELECT body FROM media.outbox WHERE type = $1 ORDER BY id"
        found = await self.rows(query, UserDataErased.type)
        return [UserDataErased.model_validate(Envelope.from_json(row["body"]).data) for row in found]

    async def rows(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        return await rows(self.database_url, query, *arguments)

    async def events(self, session_id: str) -> list[tuple[str, int]]:
        """The session's events in the order they are published, as (name, sequence)."""
        found = await self.rows("SELECT body FROM media.outbox WHERE subject = $1 ORDER BY id", session_id)
        envelopes = [json.loads(row["body"]) for row in found]
        return [(each["type"].split(".")[1], each["sequence"]) for each in envelopes]


@asynccontextmanager
async def media(configured: MediaSettings, *, clock: Clock = utc_now, processes: int = 1) -> AsyncIterator[list[Media]]:
    """That many processes' worth of the migrated service on one database, each with a pool and a server of its own."""
    url = configured.direct_url
    async with AsyncExitStack() as stack:
        running = []
        for _ in range(processes):
            service = build(configured, clock=clock, verifier=FixedCallers())
            await upgrade(url, service.metadata, service.migrations)
            await stack.enter_async_context(service.opened())
            server = await stack.enter_async_context(HttpServer(service.app, "127.0.0.1", 0))
            http = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{server.port}"))
            running.append(Media(Api(http, "user_1"), service, url, http))
        yield running
