"""Whether the objects that a backup names are in the bucket. They are never copied: the bucket keeps its versions."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from backup.settings import RestoreSettings
from common.progress import Progress

AT_ONCE = 32


class BucketUnavailable(Exception):
    """The store did not answer, or refused."""


@dataclass(frozen=True, slots=True)
class Named:
    """An object as a row describes it."""

    key: str
    size: int
    sha256: str


@asynccontextmanager
async def _client(settings: RestoreSettings) -> AsyncIterator[Any]:
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    style = "path" if settings.aws_endpoint_url_s3 else "virtual"
    config = AioConfig(
        connect_timeout=3, read_timeout=20, retries={"max_attempts": 4, "mode": "standard"},
        max_pool_connections=AT_ONCE, s3={"addressing_style": style},
    )  # fmt: skip
    async with get_session().create_client(
        "s3",
        region_name=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url_s3,
        aws_access_key_id=key.get_secret_value() if key else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=config,
    ) as client:
        yield client


async def not_there(settings: RestoreSettings, named: Iterable[Named], count: int, progress: Progress) -> list[str]:
    """A line for each object that is missing or is not what its row says. Raises BucketUnavailable."""
    found: list[str] = []
    with progress.step("objects in the bucket") as told:
        try:
            async with _client(settings) as client:
                done = 0
                for some in _batches(named):
                    asked = (_problem(client, str(settings.aws_s3_bucket_name), each) for each in some)
                    found += [line for line in await asyncio.gather(*asked) if line]
                    done += len(some)
                    told(done, count)
        except (BotoCoreError, ClientError, OSError, TimeoutError) as error:
            raise BucketUnavailable(f"the bucket could not be asked: {type(error).__name__}") from error
    return found


async def _problem(client: Any, bucket: str, named: Named) -> str | None:
    try:
        answer = await client.head_object(Bucket=bucket, Key=named.key)
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return f"no object: {named.key}"
        raise
    if answer["ContentLength"] != named.size:
        return f"wrong size: {named.key}"
    return f"wrong sha256: {named.key}" if answer["Metadata"].get("sha256", named.sha256) != named.sha256 else None


def _batches(named: Iterable[Named]) -> Iterator[list[Named]]:
    rest = iter(named)
    while some := list(islice(rest, AT_ONCE)):
        yield some
