"""Where verification keys come from: a JWKS document fetched and kept fresh, or keys given at start.

The client is built for the day the key server misbehaves: one fetch at a time, and the last good set kept until a
better one is complete. A token is refused for its key only by a set that was fetched after the token came: one that
the set in hand does not know waits for the next fetch, and such fetches are a cooldown apart however many wait.
"""

import asyncio
import json
import random
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from prometheus_client import Counter, Gauge

from common.compact_tokens import CompactToken, InvalidToken
from common.key_documents import NoUsableKey, fetch_document, read_key_set
from common.observability import logger
from common.signatures import PublicKey

SOFT_TTL = 300.0
"""Seconds after which a set is refreshed in the background."""
HARD_TTL = 24 * 3600.0
"""Seconds after which a set that could not be refreshed counts as never loaded."""
COOLDOWN = 5.0
"""Least seconds between two fetches provoked by tokens; the longest a token waits for one to begin."""
RETRY_AFTER_FAILURE = 10.0
PROPAGATION = 60.0
"""Seconds that may pass before a new key is in every answer of the key server."""
MAXIMUM_WAITING = 500
"""How many tokens wait for newer keys at once, for each reason of refusal; the rest are refused at once."""
CLOCKS_DIFFER = 5.0
"""Seconds by which the clock that dates tokens may be behind ours."""
_FUTURE = 300.0
_MAXIMUM_UNKNOWN_KIDS = 1024

KEY_SET_FETCHES = Counter("key_set_fetches_total", "Fetches of verification keys", ["source", "outcome"])
KEY_SET_AGE = Gauge("key_set_age_seconds", "Age of the verification keys in use; -1 before any were loaded", ["source"])
KEY_WAITS = Counter("key_waits_total", "Tokens that waited for newer keys, or could not", ["source", "outcome"])

Fetch = Callable[[str], Awaitable[bytes]]
"""Returns the document at an address. Whatever it raises counts as a failed fetch."""

log = logger("jwks")


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
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``bootstrap`` judges tokens while no set was ever loaded. ``now`` returns Unix time."""
        self.url = url
        self.generation = 0
        self.publishes_none = False
        """Whether the last fetch brought a key set in which nothing can be used."""
        self._source = source
        self._algorithms = frozenset(algorithms)
        self._bootstrap = bootstrap
        self._fetch = fetch or fetch_document
        self._monotonic = monotonic
        self._now = now
        self._sleep = sleep
        self._keys: dict[str, list[PublicKey]] | None = None
        self._loaded_at = self._due_at = self._attempted_at = self._forced_at = float("-inf")
        self._current_at = float("-inf")
        """Unix time at which the last good fetch began."""
        self._flight: asyncio.Task[None] | None = None
        self._forced: asyncio.Task[None] | None = None
        self._waiting: Tally[str] = Tally()
        self._unknown: dict[str, float] = {}
        """Key ids that were asked for in vain, and the Unix time before which no token can name them rightly."""
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
        refusal = self._refusal(token)
        if refusal and self._may_be_newer(token, refusal):
            refusal = await self._judged_anew(token, refusal)
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

    def _may_be_newer(self, token: CompactToken, refusal: str) -> bool:
        """Whether keys fetched from now on could know better: not of a token that is older than the keys in hand."""
        issued = token.claims().get("iat")
        known_until = self._unknown.get(token.kid, self._current_at - PROPAGATION)
        if type(issued) is not int or not known_until < issued < self._now() + _FUTURE:
            return False
        room = self._waiting[refusal] < MAXIMUM_WAITING
        KEY_WAITS.labels(self._source, "waited" if room else "no_room").inc()
        return room

    async def _judged_anew(self, token: CompactToken, refusal: str) -> str | None:
        """The verdict of keys whose fetch began after the token came, or earlier where those accept it."""
        generation = self.generation
        self._waiting[refusal] += 1
        try:
            if self._flying():
                await self.refresh()
                if self.generation != generation and self._refusal(token) is None:
                    return None
            await self._forced_fetch()
        finally:
            self._waiting[refusal] -= 1
        verdict = self._refusal(token) if self.generation != generation else refusal
        if verdict == "unknown_key":
            self._remember_unknown(token.kid)
        return verdict

    async def _forced_fetch(self) -> None:
        """Waits for a fetch that begins after this call, shared by all who wait."""
        if self._forced is None:
            self._forced = asyncio.create_task(self._force())
        await asyncio.shield(self._forced)

    async def _force(self) -> None:
        wait = self._forced_at + COOLDOWN - self._monotonic()
        if wait > 0:
            await self._sleep(wait)
        if self._flying():  # it may have been answered before those who wait came
            await self.refresh()
        self._forced = None
        self._forced_at = self._monotonic()
        await self.refresh()

    def _remember_unknown(self, kid: str) -> None:
        if len(self._unknown) >= _MAXIMUM_UNKNOWN_KIDS:
            self._unknown.pop(next(iter(self._unknown)))
        self._unknown[kid] = self._current_at - CLOCKS_DIFFER

    async def _refresh(self) -> None:
        self._attempted_at = self._monotonic()
        begun = self._now()
        try:
            keys = read_key_set(await self._fetch(self.url), self._algorithms)
        except Exception as error:  # whatever a key server provokes, the last good set stays
            KEY_SET_FETCHES.labels(self._source, "failed").inc()
            self.publishes_none = isinstance(error, NoUsableKey)
            log.warning("key_set_not_refreshed", source=self._source, error=f"{type(error).__name__}: {error}"[:200])
            self._due_at = self._monotonic() + RETRY_AFTER_FAILURE
            return
        KEY_SET_FETCHES.labels(self._source, "loaded").inc()
        self.publishes_none = False
        self._loaded_at, self._current_at = self._monotonic(), begun
        self._due_at = self._loaded_at + SOFT_TTL * random.uniform(0.9, 1.0)
        if self._keys is None or _described(keys) != _described(self._keys):
            self._keys = keys
            self._unknown.clear()
            self.generation += 1
            log.info("key_set_changed", source=self._source, kids=sorted(keys))


def _refusal(keys: Sequence[PublicKey], token: CompactToken) -> str | None:
    matching = [key for key in keys if key.algorithm == token.algorithm]
    if not matching:
        return "unknown_key"
    verified = any(key.verify(token.signing_input, token.signature) for key in matching)
    return None if verified else "bad_signature"


def _described(keys: dict[str, list[PublicKey]]) -> list[str]:
    return sorted(json.dumps(dict(key.jwk), sort_keys=True) for same_kid in keys.values() for key in same_kid)
