"""Session tokens as the two outside issuers sign them: Clerk (RS256) and Supabase (ES256).

Signed with ``cryptography`` alone, so that the gateway's JWT library is tested against tokens it did not write itself.
"""

import base64
import json
import re
import secrets
import uuid
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

SESSION_CATEGORY = "cl_B7d4PD111AAA"
ALLOWED_SKEW_SECONDS = 10
P256_BYTES = 32
CLERK_USER = re.compile(r"user_[A-Za-z0-9_-]{1,64}")
BARE_NAME = re.compile(r"[A-Za-z0-9]{1,32}")


class WrongUserId(ValueError):
    """The id cannot be one of that issuer's; the message says what it looks like."""


def checked_clerk_user(user_id: str) -> str:
    if not CLERK_USER.fullmatch(user_id):
        raise WrongUserId(f"{user_id!r} is not a Clerk user id: they look like user_2abc (letters, digits, - and _)")
    return user_id


def checked_supabase_user(user_id: str) -> str:
    try:
        return str(uuid.UUID(user_id))
    except ValueError:
        raise WrongUserId(
            f"{user_id!r} is not a Supabase user id: they are UUIDs, for example {uuid.uuid4()}"
        ) from None


def user_id_of(name: str) -> str:
    """A bare name (letters and digits) as a Clerk id: ``ada`` is ``user_ada``. Every other id stays as it is."""
    return f"user_{name}" if BARE_NAME.fullmatch(name) else name


def ksuid_like(prefix: str) -> str:
    """An id of the form Clerk uses, e.g. ``sess_`` and 27 letters and digits."""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return f"{prefix}_2" + "".join(secrets.choice(alphabet) for _ in range(26))


def clerk_claims(issuer: str, user_id: str, now: int, seconds: int) -> dict[str, Any]:
    """Version 2 session claims. No ``azp``: Clerk leaves it out when the request for the token had no Origin."""
    return {
        "exp": now + seconds,
        "fva": [0, -1],
        "iat": now,
        "iss": issuer,
        "jti": secrets.token_hex(10),
        "nbf": now - ALLOWED_SKEW_SECONDS,
        "sid": ksuid_like("sess"),
        "sts": "active",
        "sub": checked_clerk_user(user_id),
        "v": 2,
    }


def supabase_claims(issuer: str, user_id: str, now: int, seconds: int) -> dict[str, Any]:
    return {
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": now}],
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "aud": "authenticated",
        "email": f"{user_id[:8]}@example.com",
        "exp": now + seconds,
        "iat": now,
        "is_anonymous": False,
        "iss": issuer,
        "phone": "",
        "role": "authenticated",
        "session_id": str(uuid.uuid4()),
        "sub": checked_supabase_user(user_id),
        "user_metadata": {},
    }


def overridden(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with ``changes`` put in; a change to None takes the member out."""
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def signed_rs256(header: Mapping[str, Any], claims: Mapping[str, Any], key: rsa.RSAPrivateKey) -> str:
    content = f"{_part(header)}.{_part(claims)}"
    signature = key.sign(content.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{content}.{base64url(signature)}"


def signed_es256(header: Mapping[str, Any], claims: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    content = f"{_part(header)}.{_part(claims)}"
    r, s = decode_dss_signature(key.sign(content.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{content}.{base64url(r.to_bytes(P256_BYTES, 'big') + s.to_bytes(P256_BYTES, 'big'))}"


def rsa_jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
    return {
        "use": "sig",
        "kty": "RSA",
        "kid": kid,
        "alg": "RS256",
        "n": base64url(modulus),
        "e": base64url(exponent),
    }


def p256_jwk(key: ec.EllipticCurvePrivateKey, kid: str) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    return {
        "alg": "ES256",
        "crv": "P-256",
        "key_ops": ["verify"],
        "kid": kid,
        "kty": "EC",
        "use": "sig",
        "x": base64url(numbers.x.to_bytes(P256_BYTES, "big")),
        "y": base64url(numbers.y.to_bytes(P256_BYTES, "big")),
    }


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _part(value: Mapping[str, Any]) -> str:
    return base64url(json.dumps(value, separators=(",", ":")).encode())
