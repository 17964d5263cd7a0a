"""Signing keys and signatures: the only place that touches python-jose.

A key object is built once and bound to one algorithm, so neither a token's header nor a key document can choose how a
signature is checked. RS256 is verified only; ES256 and EdDSA (Ed25519, which python-jose lacks) are also signed with.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jose import jwk as jose_jwk

Algorithm = Literal["RS256", "ES256", "EdDSA"]

_RSA_BITS = range(2048, 8193)
_RSA_EXPONENT = 65537
_KINDS: dict[tuple[object, object], Algorithm] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
_IDENTIFYING_MEMBERS = {"RS256": ("e", "kty", "n"), "ES256": ("crv", "kty", "x", "y"), "EdDSA": ("crv", "kty", "x")}


class BadKey(ValueError):
    """The key material is malformed, too weak, private where it must be public, or of a kind we do not take."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Checks signatures of one algorithm. ``verify(message, signature)`` answers True or False and never raises."""

    kid: str
    algorithm: Algorithm
    jwk: Mapping[str, str]
    """The public JWK as published: ``kty``, its numbers, ``kid``, ``alg`` and ``use``."""
    verify: Callable[[bytes, bytes], bool]


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """Signs with one algorithm; ``public`` is its other half."""

    public: PublicKey
    sign: Callable[[bytes], bytes]

    @property
    def kid(self) -> str:
        return self.public.kid

    @property
    def algorithm(self) -> Algorithm:
        return self.public.algorithm


def public_key_from_jwk(jwk: Mapping[str, Any]) -> PublicKey:
    """Builds the key of one member of a key set. Raises BadKey; ``kid`` stays empty where the document names none."""
    algorithm = _algorithm_of(jwk)
    if jwk.get("alg") not in (None, algorithm) or jwk.get("use") not in (None, "sig") or "d" in jwk:
        raise BadKey("not a public signing key of its kind")
    operations = jwk.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise BadKey("not meant for verifying")
    members = {name: jwk.get(name) for name in _IDENTIFYING_MEMBERS[algorithm]}
    if not all(isinstance(value, str) for value in members.values()):
        raise BadKey("a number of the key is missing")
    kid = jwk.get("kid", "")
    if not isinstance(kid, str):
        raise BadKey("kid is not text")
    try:
        verify = _ed25519_verifier(str(members["x"])) if algorithm == "EdDSA" else _jose_verifier(members, algorithm)
    except BadKey:
        raise
    except Exception as error:  # python-jose lets errors of many classes through on hostile key material
        raise BadKey(f"{type(error).__name__} while building the key") from error
    public = {name: str(value) for name, value in members.items()}
    return PublicKey(kid, algorithm, public | {"kid": kid, "alg": algorithm, "use": "sig"}, verify)


def public_key_from_pem(pem: str, kid: str | None = None) -> PublicKey:
    """Reads a public or private PEM, newlines real or written ``\\n``. Without ``kid`` the thumbprint names the key."""
    text = _normalise(pem)
    try:
        key: object = load_pem_public_key(text)
    except ValueError:
        key = _load_private(text).public_key()
    return _named(_jwk_of(key), kid)


def private_key_from_pem(pem: str) -> PrivateKey:
    """Reads a signing key, EC P-256 or Ed25519, from PEM. Raises BadKey."""
    key = _load_private(_normalise(pem))
    public = _named(_jwk_of(key.public_key()), None)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return PrivateKey(public, key.sign)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return PrivateKey(public, jose_jwk.construct(pem_of(pem), "ES256").sign)
    raise BadKey("sign with an EC P-256 or an Ed25519 key")


def pem_of(pem: str) -> str:
    """The PEM with real newlines, as environment files often carry them as two characters."""
    return _normalise(pem).decode()


def public_key_set(keys: list[PublicKey]) -> dict[str, Any]:
    """The JWKS document ``{"keys": [...]}`` that publishes the keys."""
    return {"keys": [dict(key.jwk) for key in keys]}


def encode_segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _algorithm_of(jwk: Mapping[str, Any]) -> Algorithm:
    kind, curve = jwk.get("kty"), jwk.get("crv")
    algorithm = _KINDS.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str | None) else None
    if algorithm is None:
        raise BadKey("a kind of key we do not take")
    return algorithm


def _jose_verifier(members: Mapping[str, Any], algorithm: Algorithm) -> Callable[[bytes, bytes], bool]:
    key: Any = jose_jwk.construct(dict(members), algorithm)
    prepared = key.prepared_key
    if isinstance(prepared, rsa.RSAPublicKey) and (
        prepared.key_size not in _RSA_BITS or prepared.public_numbers().e != _RSA_EXPONENT
    ):
        raise BadKey("an RSA key must have 2048 to 8192 bits and the exponent 65537")
    verify: Callable[[bytes, bytes], bool] = key.verify
    return verify


def _ed25519_verifier(x: str) -> Callable[[bytes, bytes], bool]:
    key = ed25519.Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "=" * (-len(x) % 4)))

    def verify(message: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return verify


def _normalise(pem: str) -> bytes:
    return pem.replace("\\n", "\n").strip().encode()


def _load_private(pem: bytes) -> Any:
    try:
        return load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise BadKey("not a PEM key without a passphrase") from error


def _jwk_of(key: object) -> dict[str, str]:
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        point = key.public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": encode_segment(key.public_bytes_raw())}
    raise BadKey("a kind of key we do not take")


def _number(value: int, size: int = 0) -> str:
    return encode_segment(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def _named(jwk: dict[str, str], kid: str | None) -> PublicKey:
    thumbprint = hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest()
    return public_key_from_jwk(jwk | {"kid": kid or encode_segment(thumbprint)})
