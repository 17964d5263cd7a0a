"""What must hold of the stored data: broken by hand, it is found, told by the metric, and printed with a way out."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import asyncpg
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from billing.invariants import _UNPAID
from common.clock import utc_now
from common.invariants import EVERY_SECONDS, LAST_RUN, Invariant, Invariants
from common.service import Service
from embedded.object_store import PrivateObjectStore
from tests.support.billing import Billing, billing
from tests.support.hand_clock import HandClock
from tests.support.identity import identity_and_clerk
from tests.support.media import Media, media, settings
from tests.support.schemas import rows

ERASED = "INSERT INTO {}.erased_user (user_id, erased_at) VALUES ('user_1', now())"
OF_ANOTHER_NAME = """UPDATE billing.snapshot SET document = replace(document, '"pro"', '"another"')"""
EVENT = """
    INSERT INTO {}.outbox (message_id, type, subject, body, created_at)
    VALUES (gen_random_uuid(), 'test', 'user_1', '{{}}', now() - interval '2 minutes')
"""
JOB = """
    INSERT INTO media.job (id, session_id, user_id, lines_hash, status, stage, percent, attempts, available_at,
        created_at, updated_at, finished_at)
    SELECT 'job_1', id, 'user_1', lines_hash, 'completed', 'done', 100, 1, now(), now(), now(), now()
    FROM media.session WHERE id = $1
"""


async def violated(service: Service) -> set[str]:
    """The names of those that do not hold, as the metric has them after a look at all."""
    invariants = service.invariants
    await invariants.report()
    return {each.name for each in invariants.all if shown("invariant_violations", service.name, each.name)}


def shown(metric: str, service: str, name: str) -> float:
    value = REGISTRY.get_sample_value(metric, {"service": service, "name": name})
    assert value is not None, f"{metric} of {service}, {name}"
    return value


async def break_by(database_url: str, statement: str, *values: Any) -> None:
    session = await asyncpg.connect(database_url)
    try:
        await session.execute(statement, *values)
    finally:
        await session.close()


@asynccontextmanager
async def subscribers(database_url: str) -> AsyncIterator[Billing]:
    """user_1 is pro by a purchase that was read; nothing waits in the outbox."""
    async with billing(database_url) as world:
        world.store.purchase("user_1")
        await world.hear_and_work()
        assert await world.plan() == "pro"
        await break_by(database_url, "UPDATE billing.outbox SET published_at = now()")
        yield world


async def test_what_does_not_hold_of_subscriptions_is_found(database_url: str) -> None:
    async with subscribers(database_url) as world:
        broken: set[str] = set()
        assert await violated(world.service) == broken
        for name, statement in {
            "no_pro_without_a_paid_cause": OF_ANOTHER_NAME,
            "every_subscriber_is_read": "UPDATE billing.refresh SET due_at = due_at + interval '2 days'",
            "nothing_kept_of_the_deleted": ERASED.format("billing"),
            "outbox_published": EVENT.format("billing"),
        }.items():
            await break_by(database_url, statement)
            broken.add(name)
            assert await violated(world.service) == broken


async def test_a_purchase_honoured_unread_is_a_cause_and_one_that_has_run_out_is_none(database_url: str) -> None:
    async with billing(database_url) as world:
        world.store.faults.fail_next("unavailable", -1)
        world.store.purchase("user_1")
        await world.hear_and_work()
        assert await world.plan() == "pro"
        await break_by(database_url, "UPDATE billing.outbox SET published_at = now()")
        assert await violated(world.service) == set()

        world.clock.forward(days=40)  # and no worker takes notice
        assert await violated(world.service) == {"no_pro_without_a_paid_cause"}


async def test_a_purchase_under_an_anonymous_id_is_a_cause_once_it_is_claimed(database_url: str) -> None:
    async with subscribers(database_url) as world:
        await break_by(database_url, "UPDATE billing.snapshot SET app_user_id = 'anonymous'")
        assert await violated(world.service) == {"no_pro_without_a_paid_cause"}
        await break_by(database_url, "INSERT INTO billing.alias SELECT 'anonymous', 'user_1', now(), now()")
        assert await violated(world.service) == set()


async def test_what_was_read_of_a_subscriber_is_found_by_its_key(database_url: str) -> None:
    """Compared with everybody's instead, a few thousand subscribers are more than a look has time for."""
    async with subscribers(database_url) as world, world.service.database.transaction() as uow:
        for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
            await uow.session.execute(text(f"SET LOCAL enable_{way} = off"))
        asked = {"pro": ["pro"], "since": utc_now()}
        plan = "\n".join(await uow.session.scalars(text(f"EXPLAIN {_UNPAID}"), asked))

    assert "Index Scan using pk_snapshot" in plan
    assert "Index Cond: (app_user_id = " in plan


@asynccontextmanager
async def listeners(database_url: str, store: PrivateObjectStore, bucket: str) -> AsyncIterator[Media]:
    """user_1 has a session with a file in the store, and has used their free start of today."""
    chosen = settings(database_url, store, aws_s3_bucket_name=bucket)
    async with media(chosen, clock=HandClock(utc_now())) as [world]:
        key = "audio/session/one/two.m4a"
        audio = b"x" * 170_000
        await world.service.app.state.storage.put(key, audio, content_type="audio/mp4", cache_control="no-store")
        session_id = await world.session("user_1")
        await break_by(database_url, "UPDATE media.session_audio SET sha256 = $1", sha256(audio).hexdigest())
        await break_by(database_url, JOB, session_id)
        today = world.service.database.clock().date()
        await break_by(database_url, "INSERT INTO media.daily_use VALUES ('user_1', $1, 1, 0)", today)
        await break_by(database_url, "UPDATE media.outbox SET published_at = now()")
        yield world


async def test_what_does_not_hold_of_sessions_is_found(
    database_url: str, object_store: PrivateObjectStore, bucket: str
) -> None:
    async with listeners(database_url, object_store, bucket) as world:
        assert await violated(world.service) == set()
        await break_by(database_url, "DELETE FROM media.session_audio")
        assert await violated(world.service) == {"every_finished_job_has_a_file"}
        await break_by(database_url, "DELETE FROM media.job")
        broken: set[str] = set()
        for name, statement in {
            "no_use_above_the_limit": "UPDATE media.daily_use SET starts = 3",
            "nothing_kept_of_the_deleted": ERASED.format("media"),
            "outbox_published": EVENT.format("media"),
        }.items():
            await break_by(database_url, statement)
            broken.add(name)
            assert await violated(world.service) == broken


async def test_a_missing_file_is_told_until_it_is_back_and_all_files_have_their_turn(
    database_url: str, object_store: PrivateObjectStore, bucket: str
) -> None:
    async with listeners(database_url, object_store, bucket) as world:
        assert await violated(world.service) == set()
        await break_by(database_url, "UPDATE media.session_audio SET size_bytes = 7")
        assert await violated(world.service) == {"every_file_is_stored"}
        await break_by(database_url, "DELETE FROM media.session_audio")
        more = [await world.session("user_1", audio=False) for _ in range(25)]
        for session_id in more:
            await world.audio(session_id, f"audio/session/{session_id}/gone.m4a")
        invariants = world.service.invariants
        [files] = [each for each in invariants.all if each.name == "every_file_is_stored"]
        for _ in range(3):
            found = await invariants.look(files)
        assert len(found) == len(more)
        await break_by(database_url, "DELETE FROM media.session WHERE id = ANY($1)", more)
        await break_by(database_url, "UPDATE media.outbox SET published_at = now()")
        assert list(await invariants.look(files)) == []


async def test_what_does_not_hold_of_users_is_found(database_url: str) -> None:
    async with identity_and_clerk(database_url) as world:
        await world.api.get("/me")
        await break_by(database_url, "UPDATE identity.outbox SET published_at = now()")
        assert await violated(world.service) == set()
        await break_by(database_url, "INSERT INTO identity.tombstone VALUES ('user_1', now())")
        await break_by(database_url, EVENT.format("identity"))
        assert await violated(world.service) == {"nothing_kept_of_the_deleted", "outbox_published"}


async def test_a_look_changes_nothing_and_one_that_fails_leaves_the_time_of_the_last(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with subscribers(database_url) as world:
        await break_by(database_url, "DELETE FROM billing.refresh")
        assert await world.service.invariants.report() == 1
        printed = capsys.readouterr().out
        assert "  user_1\n" in printed
        assert "What to do: `python -m billing reconcile USER`" in printed
        name = "every_subscriber_is_read"
        LAST_RUN.labels("billing", name).set(7)
        await break_by(database_url, "ALTER TABLE billing.refresh RENAME TO elsewhere")
        failing = Invariants("billing", [each for each in world.service.invariants.all if each.name == name])
        await failing._look_or_report(failing.all[0])
        assert await failing.report() == 1
        assert "could not be looked at: ProgrammingError" in capsys.readouterr().out
        assert shown("invariant_last_run_timestamp_seconds", "billing", name) == 7
        assert await rows(database_url, "SELECT user_id FROM billing.elsewhere") == []
    assert EVERY_SECONDS <= 60


async def test_one_that_can_never_be_looked_at_grows_old_from_the_start() -> None:
    async def cannot() -> list[str]:
        raise TimeoutError

    begun, labels = time.time(), {"service": "nobody", "name": "hopeless"}
    looking = asyncio.create_task(Invariants("nobody", [Invariant("hopeless", "", "", cannot)]).run())
    await asyncio.sleep(0)
    at = REGISTRY.get_sample_value("invariant_last_run_timestamp_seconds", labels)
    looking.cancel()
    assert at is not None
    assert at >= begun
