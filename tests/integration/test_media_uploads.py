"""What the bucket keeps is what was sent, whole, encrypted as it was asked for; and a failed upload leaves nothing."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from embedded.object_store import PrivateObjectStore
from media.storage import IMMUTABLE, REVALIDATED, S3Storage, StorageUnavailable
from media.uploads import PART_BYTES
from tests.support.doorstep import Doorstep
from tests.support.media import settings

KEY = "audio/session/1/long.m4a"
LONG = bytes(range(256)) * (2 * PART_BYTES // 256) + b"and a little more"


@asynccontextmanager
async def storing(store: PrivateObjectStore, bucket: str, **more: Any) -> AsyncIterator[S3Storage]:
    nowhere = "postgresql://nobody@127.0.0.1:1/x"
    async with S3Storage(settings(nowhere, store, aws_s3_bucket_name=bucket, **more)) as storage:
        yield storage


async def put(storage: S3Storage, data: bytes = LONG, cache_control: str = IMMUTABLE) -> None:
    await storage.put(KEY, data, content_type="audio/mp4", cache_control=cache_control)


@pytest.fixture
async def doorstep(object_store: PrivateObjectStore) -> AsyncIterator[Doorstep]:
    async with Doorstep(object_store) as running:
        yield running
        running.faults.release()


async def left_over(store: PrivateObjectStore, bucket: str) -> tuple[list[Any], list[Any]]:
    """Objects, and uploads that were begun and not ended."""
    async with store.client() as s3:
        objects = (await s3.list_objects_v2(Bucket=bucket)).get("Contents", [])
        begun = (await s3.list_multipart_uploads(Bucket=bucket)).get("Uploads") or []
    return objects, begun


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, len(LONG)])
async def test_a_file_of_any_size_comes_back_as_it_was(
    object_store: PrivateObjectStore, bucket: str, size: int
) -> None:
    async with storing(object_store, bucket) as storage:
        await put(storage, LONG[:size])
        assert await storage.get(KEY) == LONG[:size]
        found = await storage.head(KEY)
    assert found is not None
    assert (found.size, found.sha256) == (size, hashlib.sha256(LONG[:size]).hexdigest())
    assert (await left_over(object_store, bucket))[1] == []


async def test_the_bucket_knows_how_each_file_is_to_be_kept_and_served(
    object_store: PrivateObjectStore, bucket: str
) -> None:
    async with storing(object_store, bucket, aws_s3_encrypt=True) as storage:
        for data, rule in ((LONG, IMMUTABLE), (b"bed", REVALIDATED)):
            await put(storage, data, rule)
            async with object_store.client() as s3:
                found = await s3.head_object(Bucket=bucket, Key=KEY)
            assert (found["ContentType"], found["CacheControl"]) == ("audio/mp4", rule)
            assert found["ServerSideEncryption"] == "AES256"
            assert await storage.get(KEY) == data


async def test_a_file_that_changes_on_its_way_is_refused(
    object_store: PrivateObjectStore, bucket: str, doorstep: Doorstep
) -> None:
    async with storing(object_store, bucket, aws_endpoint_url_s3=doorstep.url) as storage:
        for spoiled, data in ((KEY, b"short"), ("partNumber=2", LONG)):
            doorstep.spoils = spoiled
            with pytest.raises(StorageUnavailable):
                await put(storage, data)
        assert await left_over(object_store, bucket) == ([], [])
        doorstep.spoils = ""
        await put(storage)
        assert await storage.get(KEY) == LONG


async def test_a_store_that_asks_to_slow_down_is_asked_again(
    object_store: PrivateObjectStore, bucket: str, doorstep: Doorstep
) -> None:
    async with storing(object_store, bucket, aws_endpoint_url_s3=doorstep.url) as storage:
        doorstep.faults.fail_next("unavailable", 2, where=KEY)
        await put(storage, b"short")
        assert doorstep.faults.calls[f"/{bucket}/{KEY}"] == 3
        assert await storage.get(KEY) == b"short"
