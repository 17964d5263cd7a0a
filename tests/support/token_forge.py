"""Makes session tokens, genuine and hostile, byte by byte and without the library under test."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from embedded.session_tokens import base64url, rsa_jwk

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
ABSENT = object()
"""As a value: the member is left out."""


def new_rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def new_p256_pem() -> str:
    return private_pem(ec.generate_private_key(ec.SECP256R1()))


def private_pem(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_bytes(key: PrivateKey, encoding: Encoding = Encoding.PEM) -> bytes:
    return key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


class TokenForge:
    """One Clerk instance as far as tokens go: a key, its id and an issuer."""

    def __init__(self, issuer: str, *, key: rsa.RSAPrivateKey | None = None, kid: str = "ins_2forge") -> None:
        self.issuer = issuer
        self.key = key or new_rsa_key()
        self.kid = kid
        self.now: Callable[[], float] = time.time

    def key_set(self) -> dict[str, Any]:
        return {"keys": [rsa_jwk(self.key, self.kid)]}

    def header(self, **changes: Any) -> dict[str, Any]:
        return _changed({"alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": self.kid, "typ": "JWT"}, changes)

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(self.now())
        genuine = {
            "exp": now + 60,
            "iat": now,
            "iss": self.issuer,
            "nbf": now - 10,
            "sid": "sess_2abc",
            "sub": "user_2abc",
            "jti": secrets.token_hex(8),
            "sts": "active",
            "v": 2,
        }
        return _changed(genuine, changes)

    def token(self, header: Mapping[str, Any] | None = None, /, **claims: Any) -> str:
        """A token with changed header members and claims, correctly signed."""
        return self.signed(as_json(self.header(**(header or {}))), as_json(self.claims(**claims)))

    def signed(self, header: bytes, payload: bytes, sign: Callable[[bytes], bytes] | None = None) -> str:
        """A token of these very bytes; ``sign`` replaces RS256 with the instance's key."""
        signing_input = f"{base64url(header)}.{base64url(payload)}"
        signature = (sign or self.rs256)(signing_input.encode())
        return f"{signing_input}.{base64url(signature)}"

    def rs256(self, message: bytes) -> bytes:
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def as_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**values, **changes}.items() if value is not ABSENT}
