"""The edge before a real S3 server: nothing without a signature, then what an audio player asks of a CDN."""

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from yarl import URL

from embedded.cloudfront import EdgeStandIn
from embedded.kept_files import new_rsa_key, public_pem
from embedded.object_store import PrivateObjectStore

KEY = "audio/a b/é.m4a"
PATH = "/audio/a%20b/%C3%A9.m4a"
CONTENT = bytes(range(256)) * 1024
YEAR = "private, max-age=31536000, immutable"
SIGNING_KEY = new_rsa_key()
SIGNER = CloudFrontSigner("K1", lambda text: SIGNING_KEY.sign(text, padding.PKCS1v15(), hashes.SHA1()))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Viewer:
    """Asks the edge, with a signature good for a minute unless ``signed`` is False."""

    def __init__(self, edge: EdgeStandIn, http: aiohttp.ClientSession) -> None:
        self.edge, self._http = edge, http

    async def ask(
        self, method: str = "GET", path: str = PATH, headers: Mapping[str, str] | None = None, *, signed: bool = True
    ) -> Answer:
        url = self.edge.url + path
        if signed:
            until = datetime.fromtimestamp(int(time.time()) + 60, UTC)
            url = SIGNER.generate_presigned_url(url, date_less_than=until)
        async with self._http.request(method, URL(url, encoded=True), headers=headers) as answer:
            return Answer(answer.status, answer.headers.copy(), await answer.read())


@pytest.fixture
async def viewer(object_store: PrivateObjectStore, bucket: str) -> AsyncIterator[Viewer]:
    async with object_store.client() as s3:
        await s3.put_object(Bucket=bucket, Key=KEY, Body=CONTENT, ContentType="audio/mp4", CacheControl=YEAR)
    edge = EdgeStandIn(
        {"K1": public_pem(SIGNING_KEY)},
        endpoint=object_store.endpoint,
        region=object_store.region,
        bucket=bucket,
        access_key=object_store.access_key,
        secret_key=object_store.secret_key,
    )
    async with edge, aiohttp.ClientSession() as http:
        yield Viewer(edge, http)


async def test_a_signed_url_serves_the_whole_object_with_what_a_player_needs(viewer: Viewer) -> None:
    answer = await viewer.ask()
    assert (answer.status, answer.body) == (200, CONTENT)
    expected = {
        "Content-Type": "audio/mp4",
        "Content-Length": str(len(CONTENT)),
        "Cache-Control": YEAR,
        "Accept-Ranges": "bytes",
        "Access-Control-Allow-Origin": "*",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert answer.headers["Last-Modified"].endswith("GMT")


async def test_head_answers_the_same_without_the_object(viewer: Viewer) -> None:
    full, head = await viewer.ask(), await viewer.ask("HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Accept-Ranges"):
        assert head.headers[name] == full.headers[name]


@pytest.mark.parametrize(
    "asked,first,last",
    [
        ("bytes=0-99", 0, 99),
        ("bytes=262000-", 262000, 262143),
        ("bytes=-100", 262044, 262143),
        ("bytes=5-9999999", 5, 262143),
    ],
)
async def test_a_range_is_served_as_such(viewer: Viewer, asked: str, first: int, last: int) -> None:
    answer = await viewer.ask(headers={"Range": asked})
    assert (answer.status, answer.body) == (206, CONTENT[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert answer.headers["Content-Length"] == str(last - first + 1)
    assert (await viewer.ask("HEAD", headers={"Range": asked})).status == 200


async def test_a_range_behind_the_end_is_416_and_tells_the_size(viewer: Viewer) -> None:
    answer = await viewer.ask(headers={"Range": "bytes=999999-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")


async def test_conditions_are_passed_on(viewer: Viewer) -> None:
    known = (await viewer.ask()).headers
    same = await viewer.ask(headers={"If-None-Match": known["ETag"]})
    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", known["ETag"])
    assert (await viewer.ask(headers={"If-Modified-Since": known["Last-Modified"]})).status == 304
    assert (await viewer.ask(headers={"If-None-Match": '"another"'})).status == 200
    assert (await viewer.ask(headers={"If-Match": '"another"'})).status == 412


async def test_a_download_resumes_only_while_the_object_is_the_same(viewer: Viewer) -> None:
    etag = (await viewer.ask()).headers["ETag"]
    same = await viewer.ask(headers={"Range": "bytes=10-19", "If-Range": etag})
    other = await viewer.ask(headers={"Range": "bytes=10-19", "If-Range": '"another"'})
    assert (same.status, same.body) == (206, CONTENT[10:20])
    assert (other.status, other.body) == (200, CONTENT)


async def test_without_a_signature_or_with_another_ones_nothing_is_served(viewer: Viewer) -> None:
    unsigned = await viewer.ask(signed=False)
    assert (unsigned.status, unsigned.headers["Content-Type"]) == (403, "application/xml; charset=utf-8")
    assert b"<Code>MissingKey</Code>" in unsigned.body
    viewer.edge.trust({"K2": public_pem(SIGNING_KEY)})
    assert (await viewer.ask()).status == 403
    viewer.edge.trust({"K1": public_pem(new_rsa_key())})
    assert b"<Code>AccessDenied</Code>" in (await viewer.ask()).body


async def test_the_bucket_itself_is_closed(viewer: Viewer, object_store: PrivateObjectStore, bucket: str) -> None:
    url = URL(f"{object_store.endpoint}/{bucket}{PATH}", encoded=True)
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 403


async def test_an_object_that_is_not_there_is_404_and_an_odd_path_400(viewer: Viewer) -> None:
    missing = await viewer.ask(path="/audio/none.m4a")
    assert (missing.status, b"NoSuchKey" in missing.body) == (404, True)
    assert (await viewer.ask("HEAD", "/audio/none.m4a")).status == 404
    assert (await viewer.ask(path="/audio/%2e%2e/secret")).status == 400


async def test_only_reading_is_allowed_and_browsers_may_ask_first(viewer: Viewer) -> None:
    assert (await viewer.ask("PUT")).status == 403
    preflight = await viewer.ask("OPTIONS", signed=False)
    assert (preflight.status, preflight.headers["Access-Control-Allow-Methods"]) == (200, "GET, HEAD")


async def test_an_origin_that_is_down_is_502(viewer: Viewer) -> None:
    edge = EdgeStandIn(
        {"K1": public_pem(SIGNING_KEY)}, endpoint="http://127.0.0.1:9", bucket="b", access_key="a", secret_key="s"
    )
    async with edge, aiohttp.ClientSession() as http:
        assert (await Viewer(edge, http).ask()).status == 502
