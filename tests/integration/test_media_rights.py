"""The rights that deploy/aws gives media's processes: enough for all they do, and nothing besides.

The policies of the template are enforced as they are, by the S3 server that the tests run. What each process calls is
written down while it works, and held against its policy in both directions.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import aiohttp
import pytest
from aiobotocore.session import get_session
from botocore.exceptions import ClientError
from yarl import URL

from common.clock import utc_now
from embedded.object_store import PrivateObjectStore
from embedded.processes import free_ports
from entrain.checks.storage import CHECKS
from entrain.deployment import Deployment
from media import seeding, storage
from media.delivery import PresignedUrls
from media.object_keys import BEDS, LINES, SESSIONS, line_object, session_prefix
from media.removals import Removals
from media.seeding import upload_beds
from media.settings import MediaSettings
from media.storage import IMMUTABLE, S3Storage, StorageUnavailable
from media.storage_audit import StorageAudit
from media.sweeping import Sweeper
from media.uploads import PART_BYTES
from tests.support.aws_template import audio_stack
from tests.support.doorstep import Doorstep
from tests.support.hand_clock import HandClock
from tests.support.media import media, settings
from tests.support.render_works import Shelf, Works
from tests.support.rights import Call, allows, calls_of, grants
from tests.support.servers import run

BUCKET = "entrain-audio"
STACK = audio_stack()
POLICIES: dict[str, Any] = {
    process: STACK.properties(name)["PolicyDocument"]
    for process, name in (
        ("api", "ApiPolicy"),
        ("worker", "WorkerPolicy"),
        ("seed", "SeedPolicy"),
        ("audit", "AuditPolicy"),
    )
}
LONG = b"sound" * (PART_BYTES // 5 + 1)
STRAYS = (f"{session_prefix('c3d4e5f6-a7b8-9012-cdef-123456789012')}left.m4a", line_object("ab" * 32))


@dataclass
class Guarded:
    """A store with an identity per process, limited to the process's policy, and the calls made to it."""

    store: PrivateObjectStore
    doorstep: Doorstep
    database_url: str
    calls: set[Call] = field(default_factory=set)

    def settings(self, process: str | None = None) -> MediaSettings:
        """Of that process; of the store's owner when none is named."""
        keys = {"aws_access_key_id": f"AK{process}", "aws_secret_access_key": f"secret-{process}"} if process else {}
        more = {"aws_s3_bucket_name": BUCKET, "aws_endpoint_url_s3": self.doorstep.url, **keys}
        return settings(self.database_url, self.store, **more)

    @asynccontextmanager
    async def storage(self, process: str | None = None) -> AsyncIterator[S3Storage]:
        async with S3Storage(self.settings(process)) as opened:
            yield opened

    def note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls |= set(calls_of(model.name, params))

    def note_miss(self, http_response: Any, **_: Any) -> None:
        """What is not there is told so only to those who may list the bucket; S3 refuses the others."""
        if http_response.status_code == 404:
            self.calls |= set(calls_of("HeadBucket", {"Bucket": BUCKET}))


@pytest.fixture(scope="module")
def guarding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateObjectStore]:
    """The server, started once, with the audio's bucket."""
    place = tmp_path_factory.mktemp("guarded-store")
    identities = [
        {
            "name": process,
            "credentials": [{"accessKey": f"AK{process}", "secretKey": f"secret-{process}"}],
            "policyNames": [process],
        }
        for process in POLICIES
    ]
    policies = [{"name": process, "content": json.dumps(policy)} for process, policy in POLICIES.items()]
    (place / "identities.json").write_text(json.dumps({"identities": identities, "policies": policies}))
    store = PrivateObjectStore()
    (port,) = free_ports(1)
    run(store.start(place / "data", port, identities=place / "identities.json"))
    run(_make_bucket(store))
    yield store
    run(store.stop(at_once=True))


async def _make_bucket(store: PrivateObjectStore) -> None:
    await store.create_bucket(BUCKET)
    async with store.client() as s3:
        versioned = STACK.properties("AudioBucket")["VersioningConfiguration"]
        await s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=versioned)


@pytest.fixture
async def guarded(
    guarding: PrivateObjectStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Guarded]:
    async with Doorstep(guarding) as doorstep:
        made = Guarded(guarding, doorstep, database_url)

        def listened_to() -> Any:
            session = get_session()
            session.register("before-parameter-build.s3", made.note)
            session.register("after-call.s3", made.note_miss)
            return session

        monkeypatch.setattr(storage, "get_session", listened_to)
        yield made


async def put(to: S3Storage, *keys: str, data: bytes = b"sound") -> None:
    for key in keys:
        await to.put(key, data, content_type="audio/mp4", cache_control=IMMUTABLE)


async def put_in_parts(to: S3Storage, doorstep: Doorstep, key: str) -> None:
    """A large file, the first time in vain."""
    doorstep.spoils = "partNumber=2"
    with pytest.raises(StorageUnavailable):
        await put(to, key, data=LONG)
    doorstep.spoils = ""
    await put(to, key, data=LONG)


def assert_just_enough(process: str, calls: set[Call]) -> None:
    policy = POLICIES[process]
    assert sorted(call for call in calls if not allows(policy, call)) == []
    unused = [grant for grant in grants(policy) if not any(grant.covers(call) for call in calls)]
    assert unused == [], "granted, and never called"


async def test_a_worker_renders_renews_removes_and_sweeps(guarded: Guarded) -> None:
    clock = HandClock(utc_now())
    async with media(guarded.settings("worker"), clock=clock) as [running]:
        await running.subscribe("user_1")
        works, kept = Works(running, clock, Shelf()), running.service.app.state.storage
        await kept.check()
        first, _ = await works.ordered()
        await works.work_once(works.worker(storage=kept))
        await put_in_parts(kept, guarded.doorstep, f"{session_prefix(first)}long.m4a")
        await works.media.api.delete(f"/sessions/{first}")
        await running.rows("DELETE FROM media.line_use")  # as of sessions that were made before there was this table
        clock.forward(minutes=11)
        assert await Removals(running.service.database, kept).remove_due() == 1
        await put(kept, *STRAYS)
        clock.forward(days=2)
        assert await Sweeper(running.service.database, kept, pause=0).sweep_due() == len(STRAYS)
        assert [await kept.page(prefix, "") for prefix in (SESSIONS, LINES)] == [[], []]
    assert_just_enough("worker", guarded.calls)


async def test_seeding_puts_the_beds_in_place(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{prefix}bed.m4a" for prefix in BEDS]
    monkeypatch.setattr(seeding, "bed_files", lambda: {key: lambda: b"bed" for key in keys})
    monkeypatch.setattr(seeding, "background_key", lambda: keys[0])
    monkeypatch.setattr(seeding, "CATALOGUE", ())
    async with guarded.storage("seed") as seeder:
        for key in keys:
            await put_in_parts(seeder, guarded.doorstep, key)
        await upload_beds(seeder, tell=print)
        assert await seeder.get(keys[0]) == b"bed"
    assert_just_enough("seed", guarded.calls)


async def test_an_audit_compares_and_removes(guarded: Guarded) -> None:
    clock = HandClock(utc_now())
    async with media(guarded.settings(), clock=clock) as [running], guarded.storage("audit") as auditor:
        session = await running.session("user_1", audio=False)
        await running.audio(session, f"{session_prefix(session)}gone.m4a")
        await put(running.service.app.state.storage, *STRAYS)
        clock.forward(days=2)
        guarded.calls.clear()
        report = await StorageAudit(running.service.database, auditor).run(remove=True, repair=True, tell=print)
    assert {*STRAYS} <= {*report.strays}
    assert (report.removed, report.repaired) == (len(report.strays), 1)
    assert_just_enough("audit", guarded.calls)


async def test_an_api_without_a_cdn_signs_for_what_is_heard(guarded: Guarded) -> None:
    keys = [f"{prefix}1/heard.m4a" for prefix in (SESSIONS, *BEDS)]
    async with guarded.storage() as owner:
        await put(owner, *keys)
        await put(owner, STRAYS[1])
    guarded.calls.clear()
    async with guarded.storage("api") as api, aiohttp.ClientSession() as http:
        urls = PresignedUrls(api, ttl_seconds=60)
        for key in keys:
            url = URL(await urls.url(key), encoded=True)
            assert (await http.get(url)).status == 200
            assert (await http.get(url.with_query(None))).status == 403, "nobody hears anything without a signature"
        assert_just_enough("api", guarded.calls)
        assert (await http.get(URL(await urls.url(STRAYS[1]), encoded=True))).status == 403


async def test_the_doctor_writes_where_a_worker_may(guarded: Guarded) -> None:
    [round_trip] = [check for check in CHECKS if check.writes]
    outcome = await round_trip.run(Deployment({"media": guarded.settings("worker")}, {}))
    assert outcome.verdict == "ok", outcome
    async with guarded.storage() as owner:
        assert await owner.page(f"{LINES}doctor/", "") == []


PLACES = (SESSIONS, LINES, *BEDS, "elsewhere/")
ON_OBJECTS = (
    "GetObject",
    "HeadObject",
    "PutObject",
    "CreateMultipartUpload",
    "DeleteObjects",
    "DeleteObjects for good",
)
ON_THE_BUCKET = ("HeadBucket", "ListObjectsV2", "ListObjectVersions")


async def test_the_server_grants_and_refuses_what_the_policies_do(guarded: Guarded) -> None:
    """Every operation on every place, by every process: as the policy reads, so it is done."""
    attempts = [*product(ON_OBJECTS, PLACES), *((operation, None) for operation in ON_THE_BUCKET)]
    granted = {process: set[tuple[str, str | None]]() for process in POLICIES}
    async with guarded.storage() as owner:
        await put(owner, *(f"{place}tried" for place in PLACES))
    for process, policy in POLICIES.items():
        async with guarded.storage(process) as limited:
            for operation, place in attempts:
                request = _request(operation, place)
                done = await _carry_out(limited._client, operation.partition(" ")[0], request)
                [call] = calls_of(operation.partition(" ")[0], request)
                assert done == allows(policy, call), (process, call)
                if done:
                    granted[process].add((operation, place))
    assert not {place for may in granted.values() for _, place in may} & {"elsewhere/"}
    assert not {place for may in granted.values() for operation, place in may if operation.startswith("Delete")} & {
        *BEDS
    }
    assert "DeleteObjects" not in {operation for may in granted.values() for operation, _ in may}, "no markers"
    writers = {process for process, may in granted.items() if ("PutObject", SESSIONS) in may}
    assert writers == {"worker"}


def _request(operation: str, place: str | None) -> dict[str, Any]:
    if place is None:
        return {"Bucket": BUCKET}
    if operation.startswith("DeleteObjects"):
        version = {"VersionId": "null"} if operation.endswith("for good") else {}
        return {"Bucket": BUCKET, "Delete": {"Objects": [{"Key": f"{place}tried", **version}], "Quiet": True}}
    return {"Bucket": BUCKET, "Key": f"{place}tried"}


async def _carry_out(client: Any, operation: str, request: dict[str, Any]) -> bool:
    """Whether the server did it."""
    methods = {name: method for method, name in client.meta.method_to_api_mapping.items()}
    try:
        answer = await getattr(client, methods[operation])(**request)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            raise
        return False
    return not answer.get("Errors")
