"""Reading signed tokens strictly, before and after their signature is checked.

Only the compact form with exactly three canonical base64url parts is read; JSON with repeated members, non-numbers or
deep nesting is refused. Every refusal is an ``InvalidToken`` whose reason is for logs and metrics only.
"""

import base64
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from common.signatures import PrivateKey, encode_segment

MAXIMUM_TOKEN = 8 * 1024
_MAXIMUM_BRACKETS = 256
_FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_KID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_FORBIDDEN_PARAMETERS = frozenset({"crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c"})
"""They change how a token is read or where its key comes from; no issuer of ours sends them."""


class InvalidToken(Exception):
    """``reason`` is a short constant such as ``expired`` or ``bad_signature``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class CompactToken:
    """A well-formed token whose signature nobody has checked yet."""

    header: Mapping[str, Any]
    kid: str
    algorithm: str
    payload: bytes
    signing_input: bytes
    signature: bytes

    def claims(self) -> dict[str, Any]:
        return strict_object(self.payload, "payload")


def parse(token: str, *, token_type: str, algorithms: Collection[str]) -> CompactToken:
    """Raises InvalidToken unless form, header parameters, ``typ``, ``alg`` and the syntax of ``kid`` are right."""
    parts = _FORM.fullmatch(token) if len(token) <= MAXIMUM_TOKEN else None
    if parts is None:
        raise InvalidToken("malformed")
    header = strict_object(_decode(parts[1]), "header")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise InvalidToken("algorithm")
    if header.get("typ") != token_type:
        raise InvalidToken("token_type")
    if not _FORBIDDEN_PARAMETERS.isdisjoint(header):
        raise InvalidToken("forbidden_parameter")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise InvalidToken("kid")
    signed = token[: parts.end(2)].encode()
    return CompactToken(header, kid, algorithm, _decode(parts[2]), signed, _decode(parts[3]))


def sign(claims: Mapping[str, Any], key: PrivateKey, *, token_type: str) -> str:
    """The compact token of ``claims``, signed with the key and naming it."""
    header = {"alg": key.algorithm, "kid": key.kid, "typ": token_type}
    signing_input = f"{_encode_json(header)}.{_encode_json(claims)}"
    return f"{signing_input}.{encode_segment(key.sign(signing_input.encode()))}"


def strict_object(raw: bytes, what: str) -> dict[str, Any]:
    """Parses a JSON object. Raises InvalidToken for anything ambiguous or too deep for the parser."""
    if raw.count(b"[") + raw.count(b"{") > _MAXIMUM_BRACKETS:
        raise InvalidToken(f"{what}_nested")
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidToken(f"{what}_json") from None
    if not isinstance(value, dict):
        raise InvalidToken(f"{what}_json")
    return value


def check_lifetime(claims: Mapping[str, Any], *, now: float, leeway: float, longest: float, nbf: bool = False) -> int:
    """Returns ``exp`` in Unix seconds. Raises InvalidToken unless the times are integers and the token is current.

    ``leeway`` and ``longest`` are seconds; ``longest`` bounds the way from ``iat`` to ``exp``; ``nbf`` demands it.
    """
    issued, expires = _instant(claims, "iat"), _instant(claims, "exp")
    if now >= expires + leeway:
        raise InvalidToken("expired")
    if issued > now + leeway:
        raise InvalidToken("issued_in_future")
    if not 0 < expires - issued <= longest:
        raise InvalidToken("lifetime")
    if (nbf or "nbf" in claims) and _instant(claims, "nbf") > now + leeway:
        raise InvalidToken("not_yet_valid")
    return expires


def _instant(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int:
        raise InvalidToken(f"{name}_type")
    return value


def _decode(segment: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        raise InvalidToken("base64") from None
    if encode_segment(raw) != segment:
        raise InvalidToken("base64")
    return raw


def _encode_json(value: Mapping[str, Any]) -> str:
    return encode_segment(json.dumps(value, separators=(",", ":")).encode())


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return members


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("not a JSON number")
