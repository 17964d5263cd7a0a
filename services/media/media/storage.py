"""Where audio is kept: an S3 bucket nobody but us and the CDN can read."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from common.errors import Unavailable
from common.tracing import span
from media.settings import MediaSettings
from media.uploads import NotAsSent, upload

IMMUTABLE = "public, max-age=31536000, immutable"
MOST_REMOVED_AT_ONCE = 1000
REVALIDATED = "public, max-age=300, must-revalidate"


class StorageUnavailable(Unavailable):
    """The object store did not answer, or refused."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class ListedObject:
    key: str
    size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One of a bucket that keeps versions, else the object itself."""

    key: str
    version_id: str


class ObjectStorage(Protocol):
    """Every method raises StorageUnavailable when the store cannot be reached or refuses."""

    async def put(self, key: str, data: bytes, *, content_type: str, cache_control: str) -> None:
        """Returns when the store says that it has just these bytes."""
        ...

    async def get(self, key: str) -> bytes | None: ...

    async def get_dated(self, key: str) -> tuple[bytes, datetime] | None:
        """As ``get``, and when it was stored."""
        ...

    async def head(self, key: str) -> StoredObject | None: ...

    async def page(self, prefix: str, after: str) -> list[ListedObject]:
        """The next objects whose keys begin with ``prefix``, in the order of their keys; an empty page is the end."""
        ...

    async def find(self, prefix: str) -> list[StoredVersion]:
        """Every version of every object whose key begins with ``prefix``, and what marks one as deleted."""
        ...

    async def remove(self, versions: Sequence[StoredVersion]) -> None:
        """Takes them out for good; those that are gone already do no harm."""
        ...

    async def presigned_url(self, key: str, seconds: int) -> str: ...

    async def check(self) -> str | None: ...


class S3Storage:
    """S3 or a server that speaks it. ``async with S3Storage(settings)``; checksums are verified by the store."""

    def __init__(self, settings: MediaSettings) -> None:
        self._bucket = settings.aws_s3_bucket_name
        self._options = client_options(settings)
        self._encryption = _encryption(settings)
        self._client: Any = None

    async def __aenter__(self) -> "S3Storage":
        self._context = get_session().create_client("s3", **self._options)
        self._client = await self._context.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._context.__aexit__(*error)
        self._client = None

    async def put(self, key: str, data: bytes, *, content_type: str, cache_control: str) -> None:
        options = {"ContentType": content_type, "CacheControl": cache_control, **self._encryption}
        async with _reported("store audio", "PutObject"):
            await upload(self._client, data, {"Bucket": self._bucket, "Key": key}, options)

    async def get(self, key: str) -> bytes | None:
        found = await self.get_dated(key)
        return found[0] if found else None

    async def get_dated(self, key: str) -> tuple[bytes, datetime] | None:
        async with _reported("read audio", "GetObject"):
            try:
                answer = await self._client.get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if _status(error) == 404:
                    return None
                raise
            async with answer["Body"] as body:
                return await body.read(), answer["LastModified"]

    async def head(self, key: str) -> StoredObject | None:
        async with _reported("look for audio", "HeadObject"):
            try:
                answer = await self._client.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if _status(error) == 404:
                    return None
                raise
            return StoredObject(answer["ContentLength"], answer["Metadata"].get("sha256"))

    async def page(self, prefix: str, after: str) -> list[ListedObject]:
        async with _reported("look for audio", "ListObjectsV2"):
            answer = await self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=after)
        return [ListedObject(item["Key"], item["Size"], item["LastModified"]) for item in answer.get("Contents", [])]

    async def find(self, prefix: str) -> list[StoredVersion]:
        found = []
        async with _reported("look for audio", "ListObjectVersions"):
            pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix)
            async for page in pages:
                for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                    found.append(StoredVersion(item["Key"], item["VersionId"]))
        return found

    async def remove(self, versions: Sequence[StoredVersion]) -> None:
        async with _reported("remove audio", "DeleteObjects"):
            for start in range(0, len(versions), MOST_REMOVED_AT_ONCE):
                doomed = [
                    {"Key": each.key, "VersionId": each.version_id}
                    for each in versions[start : start + MOST_REMOVED_AT_ONCE]
                ]
                gone = await self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": doomed, "Quiet": True})
                if gone.get("Errors"):
                    raise ClientError({"Error": gone["Errors"][0]}, "DeleteObjects")

    async def presigned_url(self, key: str, seconds: int) -> str:
        parameters = {"Bucket": self._bucket, "Key": key}
        url: str = await self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)
        return url

    async def check(self) -> str | None:
        """Readiness: None when the bucket answers."""
        async with _reported("reach the bucket", "HeadBucket"):
            await self._client.head_bucket(Bucket=self._bucket)
        return None


def client_options(settings: MediaSettings) -> dict[str, Any]:
    """How a client of the bucket is made: address, region, keys and patience."""
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    return {
        "region_name": settings.aws_region,
        "endpoint_url": settings.aws_endpoint_url_s3,
        "aws_access_key_id": key.get_secret_value() if key else None,
        "aws_secret_access_key": secret.get_secret_value() if secret else None,
        "config": AioConfig(
            connect_timeout=3,
            read_timeout=20,
            retries={"max_attempts": 4, "mode": "standard"},
            max_pool_connections=32,
            signature_version="s3v4",
            s3={"addressing_style": "path" if settings.aws_endpoint_url_s3 else "virtual"},
        ),
    }


def _encryption(settings: MediaSettings) -> dict[str, str]:
    if settings.aws_s3_kms_key_id is not None:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.aws_s3_kms_key_id}
    return {"ServerSideEncryption": "AES256"} if settings.aws_s3_encrypt else {}


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@asynccontextmanager
async def _reported(what: str, operation: str) -> AsyncIterator[None]:
    """``what`` could not be done, in words; ``operation`` as S3 names it."""
    attributes = {"rpc.system": "aws-api", "rpc.service": "S3", "rpc.method": operation}
    try:
        with span(f"S3/{operation}", "client", attributes):
            yield
    except (BotoCoreError, ClientError, NotAsSent, OSError, TimeoutError) as error:
        raise StorageUnavailable(f"The audio store could not {what}.") from error
