"""URLs under which audio is heard: signed for CloudFront, or presigned by S3 where no CDN is set up.

A policy, as AWS documents it, names what may be fetched and its last second; the signature is made over the policy's
exact bytes and sent base64 with ``+=/`` replaced by ``-_~``. What belongs to somebody has a canned policy, for this one
URL. Beds are everybody's: they have a custom policy for all of their prefix, signed once an hour.
"""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import quote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from common.clock import Clock, utc_now
from media.object_keys import BEDS
from media.settings import MediaSettings
from media.signing_keys import signing_key
from media.storage import ObjectStorage

STEP_SECONDS = 3600
"""Expiries are rounded up to full hours, so that a client asking twice gets the same URL and its cache works."""

_URL_SAFE = str.maketrans("+=/", "-_~")


@dataclass(frozen=True, slots=True)
class SignedUrl:
    text: str
    expires_at: datetime


class AudioUrls(Protocol):
    async def url(self, key: str) -> str:
        """An absolute URL for the object, good for the configured time."""
        ...

    async def signed(self, key: str) -> SignedUrl:
        """As ``url``, and until when it is good."""
        ...


class CloudFrontUrls:
    """``origin`` is the CDN's scheme and host. Signatures are made over SHA-1, which CloudFront takes by default.

    Raises ValueError for a key CloudFront does not take.
    """

    def __init__(self, origin: str, key_pair_id: str, private_key: str, *, ttl_seconds: int, clock: Clock) -> None:
        self._origin = origin
        self._key_pair_id = key_pair_id
        self._ttl = ttl_seconds
        self._clock = clock
        self._key = signing_key(private_key)
        self._beds: dict[str, tuple[int, str]] = {}
        """Of each prefix of beds its last expiry and the query signed for it."""

    async def url(self, key: str) -> str:
        return (await self.signed(key)).text

    async def signed(self, key: str) -> SignedUrl:
        resource = f"{self._origin}/{quote(key)}"
        expires = expiry(self._clock().timestamp(), self._ttl)
        prefix = next((bed for bed in BEDS if key.startswith(bed)), None)
        query = self._for_one(resource, expires) if prefix is None else self._for_all(prefix, expires)
        return SignedUrl(f"{resource}?{query}", datetime.fromtimestamp(expires, UTC))

    def _for_one(self, resource: str, expires: int) -> str:
        return f"Expires={expires}&{self._signature(policy(resource, expires))}"

    def _for_all(self, prefix: str, expires: int) -> str:
        signed_until, query = self._beds.get(prefix, (0, ""))
        if signed_until != expires:
            allowed = policy(f"{self._origin}/{prefix}*", expires)
            query = f"Policy={_url_safe(allowed)}&{self._signature(allowed)}"
            self._beds[prefix] = (expires, query)
        return query

    def _signature(self, policy: bytes) -> str:
        """The same for the same policy, so that a URL repeats."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            signature = self._key.sign(policy, padding.PKCS1v15(), hashes.SHA1())
        else:
            signature = self._key.sign(policy, ec.ECDSA(hashes.SHA1(), deterministic_signing=True))
        return f"Signature={_url_safe(signature)}&Key-Pair-Id={self._key_pair_id}"


class PresignedUrls:
    """For installations without a CDN. S3 binds the method into the signature: these URLs are good for GET only."""

    def __init__(self, storage: ObjectStorage, *, ttl_seconds: int, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._ttl = ttl_seconds
        self._clock = clock

    async def url(self, key: str) -> str:
        return await self._storage.presigned_url(key, self._ttl)

    async def signed(self, key: str) -> SignedUrl:
        expires_at = self._clock() + timedelta(seconds=self._ttl)
        return SignedUrl(await self.url(key), expires_at)


def policy(resource: str, expires: int) -> bytes:
    """The one form of a canned policy, which a custom one may have too; ``*`` in ``resource`` stands for anything."""
    until = f'{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}'
    return f'{{"Statement":[{{"Resource":"{resource}","Condition":{until}}}]}}'.encode()


def _url_safe(data: bytes) -> str:
    return base64.b64encode(data).decode().translate(_URL_SAFE)


def expiry(now: float, ttl_seconds: int) -> int:
    """Unix seconds: at least ``ttl_seconds`` from now, at most an hour more."""
    step = min(STEP_SECONDS, ttl_seconds)
    return int(-(-(now + ttl_seconds) // step) * step)


def audio_urls(settings: MediaSettings, storage: ObjectStorage, clock: Clock) -> AudioUrls:
    """The way this installation delivers audio."""
    if settings.cloudfront_key_pair_id is None or settings.cloudfront_private_key is None:
        return PresignedUrls(storage, ttl_seconds=settings.media_url_ttl_seconds, clock=clock)
    domain = settings.cloudfront_domain or ""
    origin = domain.rstrip("/") if "://" in domain else f"https://{domain}"
    return CloudFrontUrls(
        origin,
        settings.cloudfront_key_pair_id,
        settings.cloudfront_private_key.get_secret_value(),
        ttl_seconds=settings.media_url_ttl_seconds,
        clock=clock,
    )
