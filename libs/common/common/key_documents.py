"""Key documents (JWKS): fetched within bounds, and read into nothing but plain strong public signing keys."""

import json
from collections.abc import Collection
from typing import Any

import aiohttp

from common.observability import logger
from common.signatures import BadKey, PublicKey, public_key_from_jwk

MAXIMUM_DOCUMENT = 64 * 1024
MAXIMUM_KEYS = 16
_TIMEOUT = aiohttp.ClientTimeout(total=4, sock_connect=2, sock_read=3)

log = logger("key_documents")


class BadKeySet(ValueError):
    """The key server's answer is not a usable key set."""


class NoUsableKey(BadKeySet):
    """A well-formed set in which no key can verify what we take: an issuer that signs with a shared secret has none."""


def read_key_set(document: bytes, algorithms: Collection[str]) -> dict[str, list[PublicKey]]:
    """The usable keys of a JWKS document by ``kid`` (a rotation may publish two under one). Raises BadKeySet."""
    try:
        body = json.loads(document)
    except (ValueError, RecursionError):
        raise BadKeySet("not JSON") from None
    members = body.get("keys") if isinstance(body, dict) else None
    if not isinstance(members, list) or len(members) > MAXIMUM_KEYS:
        raise BadKeySet(f"not an object with at most {MAXIMUM_KEYS} keys")
    keys: dict[str, list[PublicKey]] = {}
    for member in members:
        key = _usable(member, algorithms)
        if key is not None:
            keys.setdefault(key.kid, []).append(key)
    if not keys:
        raise NoUsableKey(f"no usable key among the {len(members)} published")
    return keys


async def fetch_document(url: str, timeout: aiohttp.ClientTimeout = _TIMEOUT) -> bytes:
    """GETs at most MAXIMUM_DOCUMENT bytes, without redirects, cookies or proxies, within 4 seconds."""
    async with (
        aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http,
        http.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as response,
    ):
        if response.status != 200:
            raise BadKeySet(f"status {response.status}")
        document = bytearray()
        async for chunk in response.content.iter_any():
            document += chunk
            if len(document) > MAXIMUM_DOCUMENT:
                raise BadKeySet("too large")
        return bytes(document)


def _usable(member: Any, algorithms: Collection[str]) -> PublicKey | None:
    try:
        key = public_key_from_jwk(member) if isinstance(member, dict) else None
    except BadKey as error:
        log.debug("key_left_out", error=str(error))
        return None
    return key if key and key.kid and key.algorithm in algorithms else None
