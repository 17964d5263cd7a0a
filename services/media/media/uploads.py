"""How bytes get into the bucket: whole or in parts, each with its checksum, and none left when it fails."""

import base64
import contextlib
import hashlib
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

PART_BYTES = 8 * 1024 * 1024
"""What is larger goes in parts of this size, each of which is tried again on its own."""


class NotAsSent(Exception):
    """The store says that it has something else than what it was given."""


async def upload(client: Any, data: bytes, target: dict[str, str], options: dict[str, Any]) -> None:
    """Stores ``data`` at ``target`` (Bucket, Key); ``options`` are those of S3's PutObject.

    Raises NotAsSent, and what the client raises; then nothing new is there.
    """
    digest = hashlib.sha256(data).digest()
    options = {**options, "Metadata": {"sha256": digest.hex()}}
    if len(data) <= PART_BYTES:
        checksum = _encoded(digest)
        answer = await client.put_object(**target, **options, Body=data, ChecksumSHA256=checksum)
    else:
        answer, checksum = await _in_parts(client, data, target, options)
    await _verify(client, answer.get("ChecksumSHA256"), checksum, len(data), target)


async def _in_parts(client: Any, data: bytes, target: dict[str, str], options: dict[str, Any]) -> tuple[Any, str]:
    begun = await client.create_multipart_upload(**target, **options, ChecksumAlgorithm="SHA256")
    parts, digests, one = [], b"", {**target, "UploadId": begun["UploadId"]}
    try:
        for number, start in enumerate(range(0, len(data), PART_BYTES), 1):
            part = data[start : start + PART_BYTES]
            digest = hashlib.sha256(part).digest()
            digests += digest
            stored = await client.upload_part(**one, PartNumber=number, Body=part, ChecksumSHA256=_encoded(digest))
            parts.append({"PartNumber": number, "ETag": stored["ETag"], "ChecksumSHA256": _encoded(digest)})
        answer = await client.complete_multipart_upload(**one, MultipartUpload={"Parts": parts})
    except BaseException:
        # where even this fails the bucket's own rule removes the parts
        with contextlib.suppress(BotoCoreError, ClientError, OSError, TimeoutError):
            await client.abort_multipart_upload(**one)
        raise
    return answer, f"{_encoded(hashlib.sha256(digests).digest())}-{len(parts)}"


async def _verify(client: Any, said: str | None, checksum: str, size: int, target: dict[str, str]) -> None:
    """A store that names no checksum is asked for the size, at least."""
    if said is not None:
        if said != checksum:
            raise NotAsSent(f"checksum {said} instead of {checksum}")
        return
    found = (await client.head_object(**target))["ContentLength"]
    if found != size:
        raise NotAsSent(f"{found} bytes instead of {size}")


def _encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
