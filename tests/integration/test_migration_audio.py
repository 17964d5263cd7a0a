"""The prototype's audio files: found by whatever their rows say, proved by their hashes, and played by media."""

import asyncio
import hashlib
import io
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiobotocore.session import get_session

from common.clock import utc_now
from common.progress import Progress, Told
from embedded.object_store import PrivateObjectStore
from media.models import Session
from media.queries import current_audio
from media.removals import Removals
from media.sweeping import Sweeper
from migration import commands
from migration.audio import LARGEST_FILE
from migration.commands import Options
from tests.support.hand_clock import HandClock
from tests.support.legacy_files import insert, make
from tests.support.legacy_sound import RATE, beep, encoded, words
from tests.support.media import media, settings
from tests.support.migration import Target, certificate, prepare


@pytest.fixture
async def target(database_url: str, object_store: PrivateObjectStore, bucket: str) -> Target:
    return await prepare(database_url, object_store, bucket)


@pytest.fixture
async def s3(object_store: PrivateObjectStore) -> AsyncIterator[Any]:
    async with object_store.client() as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make(tmp_path / "dev.db")


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    folder = tmp_path / "storage" / "merged"
    folder.mkdir(parents=True)
    return folder.parent


def id_of(name: str) -> str:
    return f"00000000-0000-4000-8000-{int(name):012d}"


def add_session(file: Path, name: str, url: str, content_hash: str | None = None, meta: Any = None) -> str:
    session_id = id_of(name)
    insert(file, "Session", id=session_id, source="catalog")
    insert(file, "SessionAffirmation", sessionId=session_id, idx=0, text="I am calm and clear today.")
    asset = f"asset {name}"
    kept = json.dumps(meta) if meta is not None else None
    insert(
        file, "AudioAsset", id=asset, kind="affirmationMerged", hash=content_hash or f"h{name}", url=url, metaJson=kept
    )
    insert(file, "SessionAudio", sessionId=session_id, mergedAudioAssetId=asset)
    return session_id


async def stored(target: Target, session_id: str) -> dict[str, Any]:
    (row,) = await target.rows("SELECT * FROM media.session_audio WHERE session_id = $1", session_id)
    return row


async def test_files_are_found_by_any_kind_of_address_and_stored_as_what_they_are(
    target: Target, file: Path, storage: Path, tmp_path: Path, s3: Any, bucket: str
) -> None:
    mp3, m4a = encoded(words(1), "mp3"), encoded(words(2), "m4a")
    for name in ("windows.mp3", "posix one.mp3", "unc.mp3"):
        (storage / "merged" / name).write_bytes(mp3)
    for name in ("relative.m4a", "named-by-hash.m4a"):
        (storage / "merged" / name).write_bytes(m4a)
    await s3.put_object(Bucket=bucket, Key="audio/affirmationMerged/on-s3.m4a", Body=m4a)
    sessions = {
        add_session(file, "1", "C:\\Users\\Jo Doe\\api\\storage\\merged\\windows.mp3"): mp3,
        add_session(file, "2", "file:///home/jo/storage/merged/posix%20one.mp3"): mp3,
        add_session(file, "3", "\\\\server\\share\\unc.mp3"): mp3,
        add_session(file, "4", "storage/merged/relative.m4a"): m4a,
        add_session(file, "5", "/somewhere/else/renamed.m4a", "named-by-hash"): m4a,
        add_session(file, "6", f"https://{bucket}.s3.us-east-2.amazonaws.com/audio/affirmationMerged/on-s3.m4a"): m4a,
    }
    report = tmp_path / "certificate.json"

    ended = await target.run("run", file, "--storage", storage, "--report", report)

    assert ended.returncode == 0, ended.stderr
    assert certificate(report)["audio"]["counts"] == {"stored and read back": 6}
    for session_id, data in sessions.items():
        row = await stored(target, session_id)
        ending, kind = ("mp3", "audio/mpeg") if data is mp3 else ("m4a", "audio/mp4")
        digest = hashlib.sha256(data).hexdigest()
        assert row["audio_key"] == f"audio/session/{session_id}/{digest}.{ending}"
        assert (row["sha256"], row["size_bytes"]) == (digest, len(data))
        assert row["duration_ms"] == pytest.approx(3000, abs=100)
        answer = await s3.get_object(Bucket=bucket, Key=row["audio_key"])
        assert answer["ContentType"] == kind
        assert await answer["Body"].read() == data
    assert await target.value("SELECT count(*) FROM media.job") == 0


async def test_a_migrated_session_plays(
    target: Target, file: Path, storage: Path, database_url: str, object_store: PrivateObjectStore, bucket: str
) -> None:
    (storage / "merged" / "one.mp3").write_bytes(encoded(words(1), "mp3"))
    meta = {"voiceActivity": {"segments": [{"startMs": 0, "endMs": 1284.169999999999}, {"startMs": "x", "endMs": 2}]}}
    session_id = add_session(file, "1", "C:\\x\\one.mp3", meta=meta)
    await target.run("run", file, "--storage", storage)

    async with media(settings(database_url, object_store, aws_s3_bucket_name=bucket)) as (process,):
        async with process.service.database.transaction() as uow:
            session = await uow.session.get(Session, session_id)
            assert session is not None
            assert await current_audio(uow, session) is not None
        answer = await process.api.get(f"/sessions/{session_id}/playback-bundle")
    assert answer.status == 200
    segments = answer.json["bundle"]["voiceActivity"]["segments"]
    assert segments == [{"startMs": 500, "endMs": 1784}], "the half second before the first word was left out"


async def test_what_is_missing_unplayable_or_a_beep_is_listed_and_rendered_anew(
    target: Target, file: Path, storage: Path, tmp_path: Path
) -> None:
    merged = storage / "merged"
    (merged / "beep.mp3").write_bytes(encoded(np.concatenate([words(3), beep(), words(4)]), "mp3"))
    (merged / "text.mp3").write_bytes(b"not audio at all")
    (merged / "silent.m4a").write_bytes(encoded(np.zeros(RATE, np.float32), "m4a"))
    (merged / "cached.mp3").write_bytes(encoded(words(5), "mp3"))
    outside = tmp_path / "outside.mp3"
    outside.write_bytes(encoded(words(6), "mp3"))
    (merged / "link.mp3").symlink_to(outside)
    os.mkfifo(merged / "pipe.mp3")
    with (merged / "large.mp3").open("wb") as large:
        large.truncate(LARGEST_FILE + 1)
    addresses = ("pipe.mp3", "s3://bucket", "s3://a..b/x", "s3://a/../x", "https://h/" + "k" * 2000, "https://[::1",
                 "https://h/%00")  # fmt: skip
    expected = {
        "missing": {add_session(file, "1", "C:\\gone.mp3"), add_session(file, "2", "link.mp3"),
                    add_session(file, "3", f"/{outside}"), add_session(file, "8", "../outside.mp3"),
                    *(add_session(file, str(20 + place), url) for place, url in enumerate(addresses))},
        "too large": {add_session(file, "9", "large.mp3")},
        "unplayable": {add_session(file, "4", "text.mp3"), add_session(file, "5", "silent.m4a")},
        "beep": {add_session(file, "6", "beep.mp3"), add_session(file, "7", "cached.mp3")},
    }  # fmt: skip
    chunk = {"durationMs": 1500, "segments": [{"startMs": 0, "endMs": 1500}]}
    insert(file, "AudioAsset", id="chunk", kind="affirmationChunk", metaJson=json.dumps(chunk))
    insert(file, "SessionAudioAsset", sessionId=id_of("7"), kind="affirmation_line", audioAssetId="chunk")
    report = tmp_path / "certificate.json"

    ended = await target.run("run", file, "--storage", storage, "--report", report)

    assert ended.returncode == 0, ended.stderr
    assert {kind: set(ids) for kind, ids in certificate(report)["audio"]["sessions"].items()} == expected
    queued = {
        row["session_id"] for row in await target.rows("SELECT session_id FROM media.job WHERE status = 'pending'")
    }
    assert queued == set().union(*expected.values())


async def test_a_shared_file_is_stored_for_each_session_and_altered_ones_are_found(
    target: Target, file: Path, storage: Path, tmp_path: Path, s3: Any, bucket: str
) -> None:
    (storage / "merged" / "shared.mp3").write_bytes(encoded(words(1), "mp3"))
    first = add_session(file, "1", "shared.mp3")
    second = "11111111-0000-4000-8000-000000000000"
    insert(file, "Session", id=second, source="catalog")
    insert(file, "SessionAudio", sessionId=second, mergedAudioAssetId="asset 1")
    await target.run("run", file, "--storage", storage)
    keys = [(await stored(target, one))["audio_key"] for one in (first, second)]
    assert len(set(keys)) == 2
    await s3.put_object(Bucket=bucket, Key=keys[1], Body=b"something else")
    report = tmp_path / "certificate.json"

    ended = await target.run("verify", file, "--report", report)

    assert ended.returncode == 1
    assert certificate(report)["audio"]["sessions"] == {"lost or altered": [second]}


async def test_files_that_no_session_plays_stay_behind_named_and_counted(
    target: Target, file: Path, storage: Path, tmp_path: Path, s3: Any, bucket: str
) -> None:
    (storage / "merged" / "played.mp3").write_bytes(encoded(words(1), "mp3"))
    add_session(file, "1", "C:\\Users\\Jo Doe\\storage\\merged\\played.mp3")
    (storage / "chunks").mkdir()
    (storage / "chunks" / "one.mp3").write_bytes(b"a cached line")
    numbers = {
        name: insert(file, "AudioAsset", kind=kind, hash=name, url=f"C:\\Users\\Jo Doe\\storage\\chunks\\{name}.mp3")
        for name, kind in (
            ("one", "affirmationChunk"), ("two", "affirmationChunk"), ("quiet", "silence"),
            ("unused", "affirmationMerged"), ("odd", "Jo's own"),
        )
    }  # fmt: skip
    report = tmp_path / "certificate.json"

    assert (await target.run("run", file, "--storage", storage, "--report", report)).returncode == 0

    left = certificate(report)["audio"]["leftBehind"]
    assert left == {
        "affirmationChunk": {"rows": 2, "rowids": [numbers["one"], numbers["two"]], "filesFound": 1},
        "affirmationMerged": {"rows": 1, "rowids": [numbers["unused"]], "filesFound": 0},
        "other": {"rows": 1, "rowids": [numbers["odd"]], "filesFound": 0},
        "silence": {"rows": 1, "rowids": [numbers["quiet"]], "filesFound": 0},
    }
    assert "affirmationChunk" in report.with_suffix(".html").read_text()
    objects = await s3.list_objects_v2(Bucket=bucket)
    assert len(objects["Contents"]) == 1, "the one that is played"
    assert (await target.run("verify", file, "--report", report)).returncode == 0
    again = certificate(report)["audio"]["leftBehind"]
    assert {kind: part["rows"] for kind, part in again.items()} == {kind: part["rows"] for kind, part in left.items()}


async def test_what_was_taken_back_is_moved_again_only_when_its_files_have_gone(
    target: Target, file: Path, storage: Path, database_url: str, object_store: PrivateObjectStore, bucket: str
) -> None:
    (storage / "merged" / "one.mp3").write_bytes(encoded(words(1), "mp3"))
    session_id = add_session(file, "1", "one.mp3")
    rendering = add_session(file, "2", "gone.mp3")
    assert (await target.run("run", file, "--storage", storage)).returncode == 0
    await target.execute("UPDATE media.job SET status = 'processing', attempts = 1 WHERE session_id = $1", rendering)
    assert (await target.run("rollback", 1)).returncode == 0

    refused = await target.run("run", file, "--storage", storage)

    assert (refused.returncode, "1 of these sessions" in refused.stderr) == (2, True), refused.stderr
    assert await target.value("SELECT count(*) FROM media.session") == 0
    async with media(settings(database_url, object_store, aws_s3_bucket_name=bucket)) as (process,):
        removals = Removals(process.service.database, process.service.app.state.storage)
        assert await removals.remove_due() == 1
        assert (await target.run("run", file, "--storage", storage)).returncode == 0
        left = "SELECT count(*) FROM media.discarded_audio"
        assert await target.value(left) == 0, "what may still be rendering is the new session's"
        assert (await process.api.get(f"/sessions/{session_id}/playback-bundle")).status == 200
    assert (await target.run("verify", file)).returncode == 0


async def test_a_folder_without_a_bucket_to_bring_it_to_is_refused(
    database_url: str, file: Path, storage: Path
) -> None:
    target = await prepare(database_url)

    ended = await target.run("run", file, "--storage", storage)

    assert ended.returncode == 2
    assert "AWS_S3_BUCKET_NAME" in ended.stderr


class CutOff(Progress):
    """Ends the command when a step begins, as a kill would."""

    def __init__(self, step: str) -> None:
        super().__init__(io.StringIO())
        self._step = step

    @contextmanager
    def step(self, what: str) -> Iterator[Told]:
        if what == self._step:
            raise KeyboardInterrupt
        with super().step(what) as told:
            yield told


def cut_off(target: Target, options: Options, step: str) -> None:
    before = dict(os.environ)
    os.environ.update(target.environment)
    try:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(commands.run(options, CutOff(step)))
    finally:
        os.environ.clear()
        os.environ.update(before)


async def swept(
    target: Target, database_url: str, object_store: PrivateObjectStore, bucket: str, *, after_days: int
) -> int:
    """How many objects media removes, because no row names them, as many days from now."""
    await target.execute("UPDATE legacy.audio_file SET noted_at = noted_at - $1::interval", timedelta(days=after_days))
    clock = HandClock(utc_now() + timedelta(days=after_days))
    async with media(settings(database_url, object_store, aws_s3_bucket_name=bucket), clock=clock) as (process,):
        return await Sweeper(process.service.database, process.service.app.state.storage, pause=0).sweep_due()


async def test_a_file_that_media_removed_while_the_run_lay_cut_off_is_stored_again_before_its_row_is_written(
    target: Target, file: Path, storage: Path, database_url: str, object_store: PrivateObjectStore, bucket: str
) -> None:
    (storage / "merged" / "one.mp3").write_bytes(encoded(words(1), "mp3"))
    (storage / "merged" / "two.mp3").write_bytes(encoded(words(2), "mp3"))
    kept, lost = add_session(file, "1", "one.mp3"), add_session(file, "2", "two.mp3")
    await asyncio.to_thread(cut_off, target, Options(file, storage), "moving Session")
    assert await swept(target, database_url, object_store, bucket, after_days=2) == 2
    (storage / "merged" / "two.mp3").unlink()
    report = storage / "certificate.json"

    ended = await target.run("run", file, "--storage", storage, "--report", report)

    assert ended.returncode == 0, ended.stderr
    shown = certificate(report)["audio"]
    assert shown["counts"] == {"stored and read back": 1, "missing": 1}
    assert shown["sessions"] == {"missing": [lost]}, "what can be found nowhere any more is rendered anew"
    assert await target.value("SELECT session_id FROM media.job") == lost
    assert await swept(target, database_url, object_store, bucket, after_days=5) == 0, "a row names it"
    async with media(settings(database_url, object_store, aws_s3_bucket_name=bucket)) as (process,):
        assert (await process.api.get(f"/sessions/{kept}/playback-bundle")).status == 200


async def test_a_file_about_to_be_removed_is_stored_again_even_where_the_prototypes_own_is_gone(
    target: Target, file: Path, storage: Path, database_url: str, object_store: PrivateObjectStore, bucket: str
) -> None:
    (storage / "merged" / "one.mp3").write_bytes(encoded(words(1), "mp3"))
    session_id = add_session(file, "1", "one.mp3")
    await asyncio.to_thread(cut_off, target, Options(file, storage), "moving Session")
    await target.execute("UPDATE legacy.audio_file SET noted_at = noted_at - interval '2 days'")
    (storage / "merged" / "one.mp3").unlink()

    assert (await target.run("run", file)).returncode == 0

    assert await target.value("SELECT noted_at > now() - interval '1 hour' FROM legacy.audio_file")
    assert (await stored(target, session_id))["engine"] == "prototype mp3"
    assert (await target.run("verify", file)).returncode == 0


async def test_a_run_that_was_cut_off_goes_on_with_the_folder_and_the_bucket_it_needs(
    target: Target, file: Path, storage: Path
) -> None:
    (storage / "merged" / "one.mp3").write_bytes(encoded(words(1), "mp3"))
    session_id = add_session(file, "1", "one.mp3")
    await asyncio.to_thread(cut_off, target, Options(file), "moving Session")
    await asyncio.to_thread(cut_off, target, Options(file, storage), "moving Session")

    refused = await target.run("run", file, AWS_S3_BUCKET_NAME="")

    assert (refused.returncode, "set AWS_S3_BUCKET_NAME" in refused.stderr) == (2, True), refused.stderr
    assert (await target.run("run", file, "--storage", storage)).returncode == 0
    assert (await stored(target, session_id))["engine"] == "prototype mp3", "it was missing only at first"


async def test_a_bucket_that_keeps_its_objects_from_our_keys_holds_up_nobody(
    target: Target, file: Path, storage: Path, object_store: PrivateObjectStore, bucket: str
) -> None:
    refused = add_session(file, "1", "https://theirs.s3.us-east-2.amazonaws.com/one.mp3")
    user, resources = f"mover-{bucket}", [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": resources}]}
    async with get_session().create_client(
        "iam", endpoint_url=object_store.endpoint, region_name=object_store.region,
        aws_access_key_id=object_store.access_key, aws_secret_access_key=object_store.secret_key,
    ) as iam:  # fmt: skip
        await iam.create_user(UserName=user)
        await iam.put_user_policy(UserName=user, PolicyName="own", PolicyDocument=json.dumps(policy))
        key = (await iam.create_access_key(UserName=user))["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    report = storage / "certificate.json"

    ended = await target.run("run", file, "--report", report, **keys)

    assert ended.returncode == 0, ended.stderr
    assert certificate(report)["audio"]["sessions"] == {"refused": [refused]}
    assert await target.value("SELECT session_id FROM media.job") == refused
