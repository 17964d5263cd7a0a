"""Where verification keys come from: a JWKS document fetched and kept fresh, or keys given at start.

The client is built for the day the key server misbehaves: one fetch at a time, bounded in time, size and number of
keys, all but plain strong public signing keys dropped, and the last good set kept until a better one is complete.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol

import aiohttp
from prometheus_client import Counter, Gauge

from common.compact_tokens import CompactToken, InvalidToken
from common.observability import logger
from common.signatures import BadKey, PublicKey, public_key_from_jwk

SOFT_TTL = 300.0
"""Seconds after which a set is refreshed in the background."""
HARD_TTL = 24 * 3600.0
"""Seconds after which a set that could not be refreshed counts as never loaded."""
COOLDOWN = 30.0
"""Least seconds between two fetches provoked by tokens."""
RETRY_AFTER_FAILURE = 10.0
MAXIMUM_DOCUMENT = 64 * 1024
MAXIMUM_KEYS = 16
_MAXIMUM_UNKNOWN_KIDS = 1024
_TIMEOUT = aiohttp.ClientTimeout(total=4, sock_connect=2, sock_read=3)

KEY_SET_FETCHES = Counter("key_set_fetches_total", "Fetches of verification keys", ["source", "outcome"])
KEY_SET_AGE = Gauge("key_set_age_seconds", "Age of the verification keys in use; -1 before any were loaded", ["source"])

Fetch = Callable[[str], Awaitable[bytes]]
"""Returns the document at an address. Raises BadKeySet, aiohttp.ClientError, OSError or TimeoutError."""

log = logger("jwks")


class BadKeySet(ValueError):
    """The key server's answer is not a usable key set."""


class KeysUnavailable(Exception):
    """No key set was ever loaded (or the last is older than HARD_TTL): nobody's token can be judged."""


class Keys(Protocol):
    @property
    def generation(self) -> int:
        """Changes whenever the keys change: what was verified under another generation must be verified again."""
        ...

    async def check(self, token: CompactToken) -> None:
        """Raises InvalidToken (``unknown_key``, ``bad_signature``) or KeysUnavailable."""
        ...


class StaticKeys:
    """Keys that never change. With ``any_kid`` every token is checked against them whatever key it names."""

    generation = 0

    def __init__(self, keys: Sequence[PublicKey], *, any_kid: bool = False) -> None:
        self._keys = tuple(keys)
        self._any_kid = any_kid

    async def check(self, token: CompactToken) -> None:
        named = [key for key in self._keys if self._any_kid or key.kid == token.kid]
        if refusal := _refusal(named, token):
            raise InvalidToken(refusal)


class JwksClient:
    """Keys published at ``url``. Needs no start or close; ``keep_fresh`` may run beside it."""

    def __init__(
        self,
        url: str,
        *,
        source: str,
        algorithms: Collection[str],
        bootstrap: PublicKey | None = None,
        fetch: Fetch | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``bootstrap`` judges tokens while no set was ever loaded; ``monotonic`` returns seconds."""
        self.url = url
        self.generation = 0
        self._source = source
        self._algorithms = frozenset(algorithms)
        self._bootstrap = bootstrap
        self._fetch = fetch or fetch_document
        self._monotonic = monotonic
        self._keys: dict[str, list[PublicKey]] | None = None
        self._loaded_at = self._due_at = self._attempted_at = float("-inf")
        self._forced_at = float("-inf")
        self._flight: asyncio.Task[None] | None = None
        self._unknown: dict[str, float] = {}
        KEY_SET_AGE.labels(source).set_function(self.age)

    @property
    def usable(self) -> bool:
        """Whether tokens can be judged at all."""
        return self._keys is not None or self._bootstrap is not None

    def age(self) -> float:
        """Seconds since the set in use was fetched, -1 without one."""
        return self._monotonic() - self._loaded_at if self._keys is not None else -1.0

    async def check(self, token: CompactToken) -> None:
        await self._ensure_loaded()
        generation = self.generation
        refusal = self._refusal(token)
        if refusal and await self._newer_keys(token.kid, refusal, generation):
            refusal = self._refusal(token)
        if refusal:
            raise InvalidToken(refusal)

    async def refresh(self) -> None:
        """Fetches once, however many ask at the same time. Failures keep the last good set and are logged."""
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._refresh())
        await asyncio.shield(self._flight)

    async def keep_fresh(self) -> None:
        """Runs for ever: refreshes whenever due, so that the first request after a quiet hour meets fresh keys."""
        while True:
            self._start_if_due()
            if self._flight is not None:
                await asyncio.shield(self._flight)
            await asyncio.sleep(RETRY_AFTER_FAILURE)

    async def _ensure_loaded(self) -> None:
        now = self._monotonic()
        if self._keys is not None and now - self._loaded_at > HARD_TTL:
            log.error("key_set_too_old", source=self._source, seconds=round(now - self._loaded_at))
            self._keys, self.generation = None, self.generation + 1
        if self.usable:
            self._start_if_due()
            return
        if self._flying() or now - self._attempted_at >= 1.0:
            await self.refresh()
        if not self.usable:
            raise KeysUnavailable(self._source)

    def _start_if_due(self) -> None:
        if self._monotonic() >= self._due_at and not self._flying():
            self._flight = asyncio.create_task(self._refresh())

    def _flying(self) -> bool:
        return self._flight is not None and not self._flight.done()

    def _refusal(self, token: CompactToken) -> str | None:
        if self._keys is None:
            return _refusal([self._bootstrap] if self._bootstrap else [], token)
        return _refusal(self._keys.get(token.kid, []), token)

    async def _newer_keys(self, kid: str, refusal: str, generation: int) -> bool:
        """Whether the set changed, after at most one fetch per cooldown for all tokens together."""
        if self._flying():
            await self.refresh()
        if self.generation != generation:
            return True
        now = self._monotonic()
        if now - self._forced_at < COOLDOWN or (refusal == "unknown_key" and self._unknown.get(kid, now) > now):
            return False
        self._forced_at = now
        await self.refresh()
        if self.generation == generation and refusal == "unknown_key":
            self._remember_unknown(kid, now + 2 * COOLDOWN)
        return self.generation != generation

    def _remember_unknown(self, kid: str, until: float) -> None:
        if len(self._unknown) >= _MAXIMUM_UNKNOWN_KIDS:
            self._unknown.pop(next(iter(self._unknown)))
        self._unknown[kid] = until

    async def _refresh(self) -> None:
        self._attempted_at = self._monotonic()
        try:
            keys = read_key_set(await self._fetch(self.url), self._algorithms)
        except (BadKeySet, aiohttp.ClientError, OSError, TimeoutError) as error:
            KEY_SET_FETCHES.labels(self._source, "failed").inc()
            log.warning("key_set_not_refreshed", source=self._source, error=f"{type(error).__name__}: {error}"[:200])
            self._due_at = self._monotonic() + RETRY_AFTER_FAILURE
            return
        KEY_SET_FETCHES.labels(self._source, "loaded").inc()
        self._loaded_at = self._monotonic()
        self._due_at = self._loaded_at + SOFT_TTL * random.uniform(0.9, 1.0)
        if self._keys is None or _described(keys) != _described(self._keys):
            self._keys = keys
            self._unknown.clear()
            self.generation += 1
            log.info("key_set_changed", source=self._source, kids=sorted(keys))


def read_key_set(document: bytes, algorithms: Collection[str]) -> dict[str, list[PublicKey]]:
    """The usable keys of a JWKS document by ``kid`` (a rotation may publish two under one). Raises BadKeySet."""
    try:
        body = json.loads(document)
    except (ValueError, RecursionError):
        raise BadKeySet("not JSON") from None
    members = body.get("keys") if isinstance(body, dict) else None
    if not isinstance(members, list) or not 1 <= len(members) <= MAXIMUM_KEYS:
        raise BadKeySet(f"not an object with 1 to {MAXIMUM_KEYS} keys")
    keys: dict[str, list[PublicKey]] = {}
    for member in members:
        key = _usable(member, algorithms)
        if key is not None:
            keys.setdefault(key.kid, []).append(key)
    if not keys:
        raise BadKeySet("no usable key among them")
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


def _refusal(keys: Sequence[PublicKey], token: CompactToken) -> str | None:
    matching = [key for key in keys if key.algorithm == token.algorithm]
    if not matching:
        return "unknown_key"
    verified = any(key.verify(token.signing_input, token.signature) for key in matching)
    return None if verified else "bad_signature"


def _described(keys: dict[str, list[PublicKey]]) -> list[str]:
    return sorted(json.dumps(dict(key.jwk), sort_keys=True) for same_kid in keys.values() for key in same_kid)
