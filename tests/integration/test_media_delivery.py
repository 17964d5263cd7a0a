"""What is stored can be heard through a signed URL and in no other way."""

import hashlib
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from common.clock import utc_now
from embedded.cloudfront import EdgeStandIn
from embedded.kept_files import PrivateKey, new_p256_key, new_rsa_key, private_pem, public_pem
from embedded.object_store import PrivateObjectStore
from media.delivery import CloudFrontUrls, PresignedUrls, expiry
from media.storage import IMMUTABLE, REVALIDATED, S3Storage, StorageUnavailable
from tests.support.fault_proxy import FaultProxy
from tests.support.hand_clock import HandClock
from tests.support.media import Media, media, settings

KEY = "audio/session/1/Forest Rain.m4a"
PATH = "/audio/session/1/Forest%20Rain.m4a"
BED = "audio/background/Forest Rain.m4a"
OTHER_BED = "audio/background/Distant Ocean.m4a"
CONTENT = bytes(range(256)) * 64
DAY = 86400


@dataclass
class Heard:
    status: int
    body: bytes
    type: str | None


async def ask(url: str, method: str = "GET", **headers: str) -> Heard:
    async with aiohttp.ClientSession() as http, http.request(method, URL(url, encoded=True), headers=headers) as answer:
        return Heard(answer.status, await answer.read(), answer.headers.get("Content-Type"))


@pytest.fixture
async def storage(object_store: PrivateObjectStore, bucket: str) -> AsyncIterator[S3Storage]:
    async with S3Storage(settings("postgresql://nobody@127.0.0.1:1/x", object_store, aws_s3_bucket_name=bucket)) as s3:
        await s3.put(KEY, CONTENT, content_type="audio/mp4", cache_control=IMMUTABLE)
        yield s3


@asynccontextmanager
async def edge_of(store: PrivateObjectStore, bucket: str, keys: dict[str, PrivateKey]) -> AsyncIterator[EdgeStandIn]:
    async with EdgeStandIn(
        {name: public_pem(key) for name, key in keys.items()},
        endpoint=store.endpoint,
        bucket=bucket,
        access_key=store.access_key,
        secret_key=store.secret_key,
    ) as edge:
        yield edge


def by_openssl(folder: Path, policy: str) -> tuple[str, str]:
    """AWS's documented recipe: the policy and its signature by the key in ``folder``, fit for a URL."""
    sign = f"openssl dgst -sha1 -sign {folder / 'key.pem'}"
    return shell("cat", policy), shell(sign, policy)


def shell(command: str, text: str) -> str:
    pipe = f"{command} | openssl base64 -A | tr -- '+=/' '-_~'"
    return subprocess.run(["sh", "-c", pipe], input=text, capture_output=True, text=True, check=True).stdout


async def test_a_url_is_byte_for_byte_what_openssl_makes(tmp_path: Path) -> None:
    key, clock = new_rsa_key(), HandClock()
    (tmp_path / "key.pem").write_text(private_pem(key))
    urls = CloudFrontUrls("https://cdn.example", "K1", private_pem(key), ttl_seconds=DAY, clock=clock)
    expires = int(clock.now.timestamp()) + DAY
    assert expires % 3600 == 0
    until = f'{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}'
    one = f"https://cdn.example{PATH}"
    _, signature = by_openssl(tmp_path, f'{{"Statement":[{{"Resource":"{one}","Condition":{until}}}]}}')
    assert await urls.url(KEY) == f"{one}?Expires={expires}&Signature={signature}&Key-Pair-Id=K1"
    every = "https://cdn.example/audio/background/*"
    policy, signature = by_openssl(tmp_path, f'{{"Statement":[{{"Resource":"{every}","Condition":{until}}}]}}')
    bed = "https://cdn.example/audio/background/Forest%20Rain.m4a"
    assert await urls.url(BED) == f"{bed}?Policy={policy}&Signature={signature}&Key-Pair-Id=K1"


async def test_a_key_may_come_with_its_line_breaks_escaped() -> None:
    pem = private_pem(new_rsa_key())
    made = [
        await CloudFrontUrls("https://cdn.example", "K1", text, ttl_seconds=DAY, clock=HandClock()).url(KEY)
        for text in (pem, pem.replace("\n", "\\n"))
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("ttl", [60, 600, 3600, 5000, DAY])
def test_an_expiry_gives_the_promised_time_and_repeats_within_its_step(ttl: int) -> None:
    step = min(ttl, 3600)
    begin = 1_795_000_000 // step * step
    for offset in (0, 0.001, 1, step / 2, step - 0.001):
        left = expiry(begin + offset, ttl) - (begin + offset)
        assert ttl <= left <= ttl + 3600
    within = {expiry(begin + offset, ttl) for offset in (1, step / 2, step - 1)}
    assert len(within) == (1 if ttl % step == 0 else 2)


@pytest.mark.parametrize("make", [new_rsa_key, new_p256_key])
async def test_the_edge_takes_our_urls_whole_and_no_others(
    storage: S3Storage, object_store: PrivateObjectStore, bucket: str, make: type
) -> None:
    key = make()
    async with edge_of(object_store, bucket, {"K1": key}) as edge:
        urls = CloudFrontUrls(edge.url, "K1", private_pem(key), ttl_seconds=DAY, clock=utc_now)
        url = await urls.url(KEY)
        assert await ask(url) == Heard(200, CONTENT, "audio/mp4")
        assert (await ask(url, "HEAD")).status == 200
        part = await ask(url, Range="bytes=4-7")
        assert (part.status, part.body) == (206, CONTENT[4:8])
        unsigned, other = url.partition("?")[0], url.replace("Forest", "Heavy")
        later = url.replace("Expires=1", "Expires=2")
        foreign = await CloudFrontUrls(edge.url, "K1", private_pem(make()), ttl_seconds=DAY, clock=utc_now).url(KEY)
        for refused in (unsigned, other, later, foreign, url.replace("K1", "K2")):
            assert (await ask(refused)).status == 403, refused


@pytest.mark.parametrize("make", [new_rsa_key, new_p256_key])
async def test_what_opens_one_bed_opens_its_neighbours_and_nothing_else(
    storage: S3Storage, object_store: PrivateObjectStore, bucket: str, make: type
) -> None:
    key = make()
    for bed in (BED, OTHER_BED):
        await storage.put(bed, CONTENT, content_type="audio/mp4", cache_control=REVALIDATED)
    async with edge_of(object_store, bucket, {"K1": key}) as edge:
        urls = CloudFrontUrls(edge.url, "K1", private_pem(key), ttl_seconds=DAY, clock=HandClock(utc_now()))
        first, second = await urls.url(BED), await urls.url(OTHER_BED)
        address, query = first.split("?")
        assert second.split("?")[1] == query
        for url in (first, second):
            assert await ask(url) == Heard(200, CONTENT, "audio/mp4")
        private = f"{edge.url}{PATH}?{query}"
        altered = first.replace("Signature=", "Signature=A")
        for refused in (private, address, altered, first.replace("background", "binaural")):
            assert (await ask(refused)).status == 403, refused


@pytest.mark.parametrize("stored", [KEY, BED])
async def test_an_expired_url_is_refused(
    storage: S3Storage, object_store: PrivateObjectStore, bucket: str, stored: str
) -> None:
    key, clock = new_rsa_key(), HandClock(utc_now() - timedelta(days=365))
    async with edge_of(object_store, bucket, {"K1": key}) as edge:
        url = await CloudFrontUrls(edge.url, "K1", private_pem(key), ttl_seconds=DAY, clock=clock).url(stored)
        assert (await ask(url)).status == 403


async def test_keys_are_changed_without_a_refused_url(
    storage: S3Storage, object_store: PrivateObjectStore, bucket: str
) -> None:
    """First the CDN trusts both, then one process after another signs with the new one, and when the last URL of the
    old one has expired it goes.
    """
    old, new = new_rsa_key(), new_p256_key()
    await storage.put(BED, CONTENT, content_type="audio/mp4", cache_control=REVALIDATED)
    async with edge_of(object_store, bucket, {"OLD": old}) as edge:

        def process(name: str, key: PrivateKey) -> CloudFrontUrls:
            return CloudFrontUrls(edge.url, name, private_pem(key), ttl_seconds=DAY, clock=utc_now)

        given_out = [await process("OLD", old).url(key) for key in (KEY, BED)]
        edge.trust({"OLD": public_pem(old), "NEW": public_pem(new)})
        given_out += [await process(*each).url(key) for each in (("OLD", old), ("NEW", new)) for key in (KEY, BED)]
        assert [(await ask(url)).status for url in given_out] == [200] * 6
        edge.trust({"NEW": public_pem(new)})
        assert [(await ask(url)).status for url in given_out] == [403] * 4 + [200] * 2


async def test_without_a_cdn_s3_itself_honours_a_presigned_url(
    storage: S3Storage, object_store: PrivateObjectStore, bucket: str
) -> None:
    url = await PresignedUrls(storage, ttl_seconds=60).url(KEY)
    assert await ask(url) == Heard(200, CONTENT, "audio/mp4")
    assert (await ask(url, Range="bytes=-2")).body == CONTENT[-2:]
    for refused in (url.partition("?")[0], url.replace("Forest", "Heavy"), f"{object_store.endpoint}/{bucket}{PATH}"):
        assert (await ask(refused)).status == 403, refused


async def test_what_is_stored_comes_back_with_its_checksum(storage: S3Storage) -> None:
    found = await storage.head(KEY)
    assert found is not None
    assert (found.size, found.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert await storage.get(KEY) == CONTENT
    assert await storage.get("audio/nothing") is None
    assert await storage.head("audio/nothing") is None
    assert await storage.check() is None


async def test_a_store_that_refuses_or_is_gone_is_unavailable(object_store: PrivateObjectStore, bucket: str) -> None:
    somewhere = "postgresql://nobody@127.0.0.1:1/x"
    async with S3Storage(
        settings(somewhere, object_store, aws_s3_bucket_name=bucket, aws_secret_access_key="wrong")
    ) as s3:
        for work in (s3.get(KEY), s3.put(KEY, b"x", content_type="audio/mp4", cache_control=IMMUTABLE), s3.check()):
            with pytest.raises(StorageUnavailable):
                await work
    async with S3Storage(settings(somewhere, object_store, aws_s3_bucket_name="no-such-bucket")) as s3:
        with pytest.raises(StorageUnavailable):
            await s3.check()


async def test_a_request_that_the_network_cuts_is_tried_again(object_store: PrivateObjectStore, bucket: str) -> None:
    async with FaultProxy("127.0.0.1", object_store.port) as proxy:
        through = settings(
            "postgresql://nobody@127.0.0.1:1/x",
            object_store,
            aws_s3_bucket_name=bucket,
            aws_endpoint_url_s3=f"http://127.0.0.1:{proxy.port}",
        )
        async with S3Storage(through) as s3:
            await s3.put(KEY, CONTENT, content_type="audio/mp4", cache_control=IMMUTABLE)
            proxy.cut()
            assert await s3.get(KEY) == CONTENT


@pytest.fixture
async def delivering(
    database_url: str, storage: S3Storage, object_store: PrivateObjectStore, bucket: str
) -> AsyncIterator[Media]:
    """A service with a CDN in front of the store."""
    key = new_rsa_key()
    async with edge_of(object_store, bucket, {"K1": key}) as edge:
        configured = settings(
            database_url,
            object_store,
            aws_s3_bucket_name=bucket,
            cloudfront_domain=edge.url,
            cloudfront_key_pair_id="K1",
            cloudfront_private_key=private_pem(key),
        )
        async with media(configured, clock=HandClock(utc_now())) as [running]:
            yield running


async def test_a_free_users_player_is_led_to_the_cdn_for_heads_and_ranges(delivering: Media) -> None:
    session = await delivering.session(audio=False)
    await delivering.audio(session, KEY)
    bundle = (await delivering.api.get(f"/sessions/{session}/playback-bundle")).json["bundle"]
    url = bundle["affirmationsMergedUrl"]
    head = await delivering.play(url, "HEAD")
    assert (head.status, head.text) == (302, "")
    assert (await ask(head.headers["Location"], "HEAD")).status == 200
    part = await delivering.play(url, headers={"Range": "bytes=0-1"})
    found = await ask(part.headers["Location"], Range="bytes=0-1")
    assert (part.status, found.status, found.body) == (302, 206, CONTENT[:2])
    left = (await delivering.api.get("/me/entitlement")).json["remainingFreeGenerationsToday"]
    assert left == 1


@pytest.mark.parametrize("make", [new_rsa_key, new_p256_key])
async def test_asking_twice_gives_the_same_urls_so_that_a_clients_cache_works(database_url: str, make: type) -> None:
    signed: dict[str, Any] = {"cloudfront_key_pair_id": "K1", "cloudfront_private_key": private_pem(make())}
    clock = HandClock()
    clock.forward(minutes=2)
    async with media(settings(database_url, cloudfront_domain="cdn.example", **signed), clock=clock) as [service]:
        session = await service.session("user_1")
        first = (await service.api.get(f"/sessions/{session}/playback-bundle")).json["bundle"]
        clock.forward(minutes=55)
        second = (await service.api.get(f"/sessions/{session}/playback-bundle")).json["bundle"]
    assert first == second
    assert first["affirmationsMergedUrl"].startswith("https://cdn.example/audio/")
