"""The bucket: reachable, private, and kept as it should be."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from entrain.deployment import Deployment, is_inside, is_nearby
from entrain.findings import Check, Outcome, fail, ok, said, skip, warn
from entrain.outside import FAILED, ask
from media.object_keys import BEDS, LINES
from media.settings import MediaSettings
from media.storage import client_options

DOCTORS = f"{LINES}doctor/"
"""Under which the round trip writes: where media itself may write and remove, and nowhere else (deploy/aws)."""
REFUSED = (BotoCoreError, ClientError, OSError, TimeoutError)
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_NOT_TOLD = ("NotImplemented", "AccessDenied", "MethodNotAllowed")
"""Codes of a server that has no such thing, or of a role that may not ask."""


@cache
def _session() -> Any:
    """Kept, because the first client of a session reads S3's whole description."""
    return get_session()


@asynccontextmanager
async def client(settings: MediaSettings) -> AsyncIterator[Any]:
    """A client with the service's own keys."""
    async with _session().create_client("s3", **client_options(settings)) as opened:
        yield opened


async def some_object(settings: MediaSettings) -> str | None:
    """The key of a bed, which every deployment has once it is seeded; else of anything; None in an empty bucket."""
    async with client(settings) as s3:
        for prefix in (*BEDS, ""):
            listed = await s3.list_objects_v2(Bucket=settings.aws_s3_bucket_name, Prefix=prefix, MaxKeys=5)
            for item in listed.get("Contents", []):
                if item["Size"] and not item["Key"].endswith(".json"):
                    return str(item["Key"])
    return None


def direct_address(settings: MediaSettings, key: str) -> str:
    """Where anybody would look for the object, past any CDN."""
    bucket, path = settings.aws_s3_bucket_name, quote(key)
    if settings.aws_endpoint_url_s3:
        return f"{settings.aws_endpoint_url_s3.rstrip('/')}/{bucket}/{path}"
    return f"https://{bucket}.s3.{settings.aws_region}.amazonaws.com/{path}"


async def _reachable(deployment: Deployment) -> Outcome:
    settings = deployment.media
    where = settings.aws_endpoint_url_s3 or f"S3 in {settings.aws_region}"
    try:
        async with client(settings) as s3:
            await s3.head_bucket(Bucket=settings.aws_s3_bucket_name)
    except ClientError as error:
        return _refused(settings.aws_s3_bucket_name, error)
    except REFUSED as error:
        return fail(f"{where} cannot be reached: {said(error)}", "check AWS_ENDPOINT_URL_S3 and AWS_REGION")
    if settings.aws_endpoint_url_s3 and not where.startswith("https:") and not is_inside(where):
        return warn(f"{settings.aws_s3_bucket_name} at {where}, not encrypted", "use an https address")
    return ok(f"{settings.aws_s3_bucket_name} at {where}")


def _refused(bucket: str, error: ClientError) -> Outcome:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if status == 404:
        return fail(f"there is no bucket {bucket}", "make it, or correct AWS_S3_BUCKET_NAME")
    if status in (301, 400):
        return fail(f"{bucket} answered {status}", "correct AWS_REGION: the bucket lies in another")
    return fail(f"{bucket} answered {status}", f"correct {_KEYS}, or give the role read, write and list on the bucket")


async def _private(deployment: Deployment) -> Outcome:
    settings = deployment.media
    try:
        key = await some_object(settings)
        replies = {key or "": await ask(direct_address(settings, key or ""))}
        replies.setdefault("", await ask(direct_address(settings, "")))
    except (*REFUSED, *FAILED) as error:
        return fail(said(error), "see storage.bucket")
    for name, reply in replies.items():
        if reply.status < 300:
            what = f"anybody may read {name}" if name else "anybody may list the bucket"
            return fail(what, "remove the bucket policy or ACL that opens it, and block public access")
    told = ", ".join(f"{reply.status} for {name or 'the listing'}" for name, reply in replies.items())
    return ok(f"strangers are refused: {told}")


async def _versioned(deployment: Deployment) -> Outcome:
    settings = deployment.media
    try:
        async with client(settings) as s3:
            told = await s3.get_bucket_versioning(Bucket=settings.aws_s3_bucket_name)
    except REFUSED as error:
        return _untold(error, "s3:GetBucketVersioning")
    if told.get("Status") == "Enabled":
        return ok("versions are kept")
    if is_nearby(settings.aws_endpoint_url_s3 or ""):
        return ok("no versions are kept, on this machine")
    return warn("no versions are kept", "switch versioning on: what is overwritten or deleted by mistake can come back")


async def _encrypted(deployment: Deployment) -> Outcome:
    settings = deployment.media
    if settings.aws_s3_kms_key_id or settings.aws_s3_encrypt:
        return ok(f"every object is written with {'SSE-KMS' if settings.aws_s3_kms_key_id else 'SSE-S3'}")
    try:
        async with client(settings) as s3:
            told = await s3.get_bucket_encryption(Bucket=settings.aws_s3_bucket_name)
    except REFUSED as error:
        if is_nearby(settings.aws_endpoint_url_s3 or ""):
            return ok("no rule of the bucket, on this machine")
        return _untold(error, "s3:GetEncryptionConfiguration")
    rules = told["ServerSideEncryptionConfiguration"]["Rules"]
    return ok(f"by the bucket's rule: {rules[0]['ApplyServerSideEncryptionByDefault']['SSEAlgorithm']}")


def _untold(error: BaseException, right: str) -> Outcome:
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    if code == "ServerSideEncryptionConfigurationNotFoundError":
        return warn("the bucket has no rule for encryption", "set one (SSE-S3), or AWS_S3_ENCRYPT=true")
    if code in _NOT_TOLD:
        return skip(f"the store does not tell ({code}); with {right} it would")
    return fail(said(error), "see storage.bucket")


async def _round_trip(deployment: Deployment) -> Outcome:
    settings = deployment.media
    bucket, key, body = settings.aws_s3_bucket_name, f"{DOCTORS}{uuid4()}", uuid4().bytes
    try:
        async with client(settings) as s3:
            written = await s3.put_object(Bucket=bucket, Key=key, Body=body)
            async with (await s3.get_object(Bucket=bucket, Key=key))["Body"] as stream:
                same = await stream.read() == body
            version = {"VersionId": written["VersionId"]} if written.get("VersionId") else {}
            await s3.delete_object(Bucket=bucket, Key=key, **version)
    except REFUSED as error:
        rights = "s3:PutObject, s3:GetObject, s3:DeleteObject and s3:DeleteObjectVersion"
        return fail(said(error), f"give the service's role {rights} under {LINES}, as deploy/aws/audio.yaml does")
    if not same:
        return fail("what was read is not what was written", "something between changes bodies: look for a proxy")
    return ok(f"wrote, read and deleted an object under {DOCTORS}")


CHECKS = (
    Check("storage.bucket", _reachable),
    Check("storage.private", _private),
    Check("storage.versions", _versioned),
    Check("storage.encryption", _encrypted),
    Check("storage.round-trip", _round_trip, writes=True),
)
