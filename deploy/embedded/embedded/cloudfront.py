"""A stand-in for CloudFront: lets signed URLs through, fetches from a private bucket with keys of its own, and streams.

It answers as a distribution does whose behaviour demands a signature and whose origin opens to it alone: 403 in XML
without a valid one, then the object with its validators, ranges and conditions passed through.
"""

import contextlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote_to_bytes
from xml.sax.saxutils import escape

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import web
from botocore.exceptions import BotoCoreError, ClientError

from common.clock import Clock, utc_now
from embedded.faults import FaultList
from embedded.local_server import LocalServer
from embedded.signed_urls import Refused, load_public_key, verify

CHUNK_BYTES = 64 * 1024
VIEWERS_AT_ONCE = 200
UNREACHABLE = (BotoCoreError, TimeoutError, OSError)
CONDITIONS = {
    "Range": "Range",
    "If-None-Match": "IfNoneMatch",
    "If-Match": "IfMatch",
}
PASSED_ON = {
    "CacheControl": "Cache-Control",
    "ContentType": "Content-Type",
    "ContentDisposition": "Content-Disposition",
    "ContentEncoding": "Content-Encoding",
    "ContentRange": "Content-Range",
    "ETag": "ETag",
}
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range, ETag",
}
PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "600",
}
# Not S3's: the range is wanted only if the object still has this entity tag.
RESUMED = "IfRange"
ORIGIN_ERRORS = {
    304: ("NotModified", "Not Modified"),
    403: ("AccessDenied", "Access Denied"),
    404: ("NoSuchKey", "The specified key does not exist."),
    412: ("PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
    416: ("InvalidRange", "The requested range is not satisfiable"),
}


class NotAnObjectPath(ValueError):
    """The path is not the one spelling of an object key."""


class EdgeStandIn(LocalServer):
    """``url`` goes into ``CLOUDFRONT_DOMAIN``. ``trusted_keys`` are public keys (PEM) by key pair id; change them while
    it runs with ``trust``. ``endpoint``, ``region``, ``access_key`` and ``secret_key`` open the bucket.
    """

    def __init__(
        self,
        trusted_keys: Mapping[str, str],
        *,
        endpoint: str,
        bucket: str,
        access_key: str,
        secret_key: str,
        region: str = "us-east-1",
        port: int = 0,
        clock: Clock = utc_now,
    ) -> None:
        super().__init__(port)
        self.faults = FaultList()
        self._bucket, self._clock = bucket, clock
        self._origin = {
            "endpoint_url": endpoint,
            "region_name": region,
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
        }
        self._s3: Any = None
        self._opened = contextlib.AsyncExitStack()
        self.trust(trusted_keys)

    def trust(self, keys: Mapping[str, str]) -> None:
        """Replaces the trusted key group. Raises ValueError for a key CloudFront does not take."""
        self._keys = {key_pair_id: load_public_key(pem) for key_pair_id, pem in keys.items()}

    async def start(self) -> None:
        config = AioConfig(
            connect_timeout=3,
            read_timeout=30,
            max_pool_connections=VIEWERS_AT_ONCE,
            retries={"max_attempts": 1},
            s3={"addressing_style": "path"},
            response_checksum_validation="when_required",
        )
        self._s3 = await self._opened.enter_async_context(
            get_session().create_client("s3", config=config, **self._origin)
        )
        try:
            await super().start()
        except OSError:
            await self._opened.aclose()
            raise

    async def stop(self) -> None:
        self.faults.release()
        await super().stop()
        await self._opened.aclose()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.faults.middleware])
        app.router.add_route("*", "/{path:.*}", self._serve)
        return app

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response(headers=PREFLIGHT)
        if request.method not in {"GET", "HEAD"}:
            return _error(403, "AccessDenied", "This distribution allows GET and HEAD requests only.")
        target = request.raw_path
        try:
            key = object_key(target.partition("?")[0])
            now = int(self._clock().timestamp())
            verify(f"{request.scheme}://{request.host}{target}", request.remote or "", now, self._keys)
        except NotAnObjectPath as error:
            return _error(400, "InvalidURI", str(error))
        except Refused as refused:
            return _error(403, refused.code, refused.message)
        return await self._fetch(request, key)

    async def _fetch(self, request: web.Request, key: str) -> web.StreamResponse:
        asked = _conditions(request)
        try:
            found = await self._read(request.method, key, asked)
        except ClientError as error:
            return await self._origin_error(error, key)
        except UNREACHABLE:
            return _error(502, "BadGateway", "The origin could not be reached.")
        return await _stream(request, found)

    async def _read(self, method: str, key: str, asked: dict[str, Any]) -> Mapping[str, Any]:
        if method == "HEAD":
            return await self._head(key, asked)
        resumed = asked.pop(RESUMED, None)
        if resumed is None:
            return await self._get(key, asked)
        try:
            return await self._get(key, {**asked, "IfMatch": resumed})
        except ClientError as error:
            if _status(error) != 412:
                raise
        del asked["Range"]
        return await self._get(key, asked)

    async def _get(self, key: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self._s3.get_object(Bucket=self._bucket, Key=key, **asked)
        return found

    async def _head(self, key: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self._s3.head_object(Bucket=self._bucket, Key=key, **asked)
        return found

    async def _origin_error(self, error: ClientError, key: str) -> web.Response:
        status = _status(error)
        if status not in ORIGIN_ERRORS:
            return _error(502, "BadGateway", "The origin did not answer properly.")
        answer = _error(status, *ORIGIN_ERRORS[status])
        if status not in {304, 416}:
            return answer
        # Origins differ in what they tell beside these two; viewers need the validators and the size.
        try:
            found = await self._head(key, {})
        except (ClientError, *UNREACHABLE):
            return _error(502, "BadGateway", "The origin did not answer properly.")
        if status == 304:
            return web.Response(status=304, headers={**CORS, **_passed_on(found)})
        answer.headers["Content-Range"] = f"bytes */{found['ContentLength']}"
        return answer


def object_key(path: str) -> str:
    """The object key that a URL path names. Raises NotAnObjectPath unless it is spelled in the one plain way: no empty
    or dot segments, no encoded slash, backslash or control character, valid escapes, valid UTF-8.
    """
    if not path.startswith("/") or re.search(r"%(?![0-9A-Fa-f]{2})", path):
        raise NotAnObjectPath("The path is not well formed.")
    return "/".join(_segment(part) for part in path[1:].split("/"))


def _segment(part: str) -> str:
    try:
        plain = unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise NotAnObjectPath("The path is not UTF-8.") from None
    if plain in {"", ".", ".."} or re.search(r"[/\\\x00-\x1f\x7f]", plain):
        raise NotAnObjectPath("The path does not name an object.")
    return plain


def _conditions(request: web.Request) -> dict[str, Any]:
    """What the viewer asks for, as S3 parameters; dates that are none are left out, as HTTP says."""
    asked: dict[str, Any] = {
        parameter: request.headers[header] for header, parameter in CONDITIONS.items() if header in request.headers
    }
    dates: dict[str, datetime | None] = {
        "IfModifiedSince": request.if_modified_since,
        "IfUnmodifiedSince": request.if_unmodified_since,
    }
    asked |= {parameter: date for parameter, date in dates.items() if date is not None}
    if request.method == "HEAD":
        asked.pop("Range", None)
    if "Range" in asked and "If-Range" in request.headers:
        validator = request.headers["If-Range"]
        if validator.startswith('"'):
            asked[RESUMED] = validator
        else:
            del asked["Range"]
    return asked


async def _stream(request: web.Request, found: Mapping[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse(
        status=found["ResponseMetadata"]["HTTPStatusCode"],
        headers={**CORS, **_passed_on(found), "Accept-Ranges": "bytes", "X-Cache": "Miss from cloudfront"},
    )
    response.content_length = found["ContentLength"]
    await response.prepare(request)
    if request.method == "GET":
        async with found["Body"] as body:
            async for chunk in body.iter_chunks(CHUNK_BYTES):
                await response.write(chunk)
    await response.write_eof()
    return response


def _passed_on(found: Mapping[str, Any]) -> dict[str, str]:
    headers = {header: str(found[name]) for name, header in PASSED_ON.items() if found.get(name)}
    return {**headers, "Last-Modified": format_datetime(found["LastModified"].astimezone(UTC), usegmt=True)}


def _status(error: ClientError) -> int:
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status


def _error(status: int, code: str, message: str) -> web.Response:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    )
    headers = {**CORS, "X-Cache": "Error from cloudfront"}
    return web.Response(status=status, text=text, content_type="application/xml", headers=headers)
