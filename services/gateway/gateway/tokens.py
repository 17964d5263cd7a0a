"""Session tokens from outside: what verifying one yields, and the memory of those already verified."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from prometheus_client import Counter

from common.compact_tokens import CompactToken, InvalidToken
from common.internal_tokens import MintedToken

_MAXIMUM_REMEMBERED_TOKEN = 4 * 1024

VERIFIED_TOKEN_LOOKUPS = Counter("verified_token_lookups_total", "Session tokens met again or anew", ["outcome"])


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """Who an outside token speaks for."""

    subject: str
    """The user as the issuer knows them."""
    session_id: str
    actor: str | None
    """Who acts in the user's name when the session is an impersonation."""
    issuer: str
    expires_at: int
    """Unix seconds, as the token says."""


class IssuerVerifier(Protocol):
    """Judges the tokens of one issuer by that issuer's keys."""

    issuers: frozenset[str]
    """The exact values of ``iss`` it answers for."""
    algorithms: frozenset[str]

    @property
    def generation(self) -> int:
        """Grows with every change of the issuer's keys."""
        ...

    async def verify(self, token: CompactToken, claims: Mapping[str, Any]) -> VerifiedToken:
        """``claims`` are those of the token, whose ``iss`` is one of ``issuers``; nothing else of it is checked yet.

        Raises InvalidToken, or KeysUnavailable when no key set was ever loaded.
        """
        ...


class TokenVerifier(Protocol):
    """Judges any session token."""

    @property
    def generation(self) -> int:
        """Changes whenever some issuer's keys change."""
        ...

    async def verify(self, text: str) -> VerifiedToken:
        """Raises InvalidToken, or KeysUnavailable when no key set of the token's issuer was ever loaded."""
        ...


@dataclass(slots=True)
class RememberedToken:
    """A verified token and the internal tokens minted for it and ``user_id``, by audiences."""

    token: VerifiedToken
    user_id: str | None = None
    minted: dict[tuple[str, ...], MintedToken] = field(default_factory=dict)

    def speaks_for(self, user_id: str) -> None:
        """A subject that was linked to another user takes nothing of the first one along."""
        if user_id != self.user_id:
            self.minted.clear()
            self.user_id = user_id


class RememberedTokens:
    """Bounded; least recently used go first. An entry answers to the exact token only and dies with it."""

    def __init__(self, *, capacity: int, leeway: int, now: Callable[[], float]) -> None:
        self._capacity = capacity
        self._leeway = leeway
        self._now = now
        self._entries: OrderedDict[str, RememberedToken] = OrderedDict()
        self._generation: int | None = None
        self._hit = VERIFIED_TOKEN_LOOKUPS.labels("hit")
        self._miss = VERIFIED_TOKEN_LOOKUPS.labels("miss")

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, text: str, generation: int) -> RememberedToken | None:
        """The entry of a token verified under the same generation of keys; any other generation empties the memory."""
        if generation != self._generation:
            self._entries.clear()
            self._generation = generation
        entry = self._entries.get(text)
        if entry is not None and self._now() >= entry.token.expires_at + self._leeway:
            del self._entries[text]
            entry = None
        (self._miss if entry is None else self._hit).inc()
        if entry is not None:
            self._entries.move_to_end(text)
        return entry

    def remember(self, text: str, token: VerifiedToken, generation: int) -> RememberedToken:
        """``generation`` is that of the keys before the token was checked."""
        entry = RememberedToken(token)
        if generation == self._generation and len(text) <= _MAXIMUM_REMEMBERED_TOKEN:
            self._entries[text] = entry
            if len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
        return entry


def matching(claims: Mapping[str, Any], name: str, accepted: Callable[[str], object]) -> str:
    """The text of a claim. Raises InvalidToken unless it is text that ``accepted``, a pattern's fullmatch, takes."""
    value = claims.get(name)
    if not isinstance(value, str) or not accepted(value):
        raise InvalidToken(name)
    return value
