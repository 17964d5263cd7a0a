"""Verifies CloudFront signed URLs by the rules AWS documents for canned and custom policies. No clock, no network.

A URL carries either ``Expires`` (canned policy: the verifier rebuilds the one statement it stands for) or ``Policy``,
always with ``Signature`` and ``Key-Pair-Id``, and ``Hash-Algorithm`` when it is not SHA-1. What is signed names the URL
without those parameters; parameters of the application's own stay in.
"""

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

SIGNING_PARAMETERS = frozenset({"Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm"})
HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {"SHA1": hashes.SHA1, "SHA256": hashes.SHA256}
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class Refused(Exception):
    """403 with CloudFront's error ``code`` and ``message``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


DENIED = ("AccessDenied", "Access denied")
MALFORMED_POLICY = ("MalformedPolicy", "Malformed Policy")


@dataclass(frozen=True)
class SignedUrl:
    """A requested URL taken apart: ``resource`` is what was signed, ``parameters`` are CloudFront's own, by name."""

    resource: str
    parameters: Mapping[str, str]


def load_public_key(pem: str) -> PublicKey:
    """Raises ValueError for anything CloudFront does not take: RSA-2048 or EC P-256 public keys."""
    key = serialization.load_pem_public_key(pem.encode())
    if isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError("CloudFront takes RSA-2048 and EC P-256 public keys only")


def verify(url: str, client_ip: str, now: int, keys: Mapping[str, PublicKey]) -> None:
    """Returns when ``url`` (as requested, with scheme, host, query) may be served at Unix time ``now``, else raises
    Refused. ``keys`` are the trusted ones by key pair id.
    """
    signed = take_apart(url)
    given = signed.parameters
    if "Key-Pair-Id" not in given:
        raise Refused("MissingKey", "Missing Key-Pair-Id query parameter or cookie value")
    if "Signature" not in given or ("Policy" in given) == ("Expires" in given):
        raise Refused(*DENIED)
    key = keys.get(given["Key-Pair-Id"])
    if key is None:
        raise Refused("InvalidKey", "Unknown Key")
    policy = _decoded(given["Policy"], MALFORMED_POLICY) if "Policy" in given else canned_policy(signed)
    signature = _decoded(given["Signature"], ("MalformedSignature", "Could not unencode Signature"))
    _check_signature(key, signature, policy, given.get("Hash-Algorithm", "SHA1"))
    _check_policy(policy, signed.resource, client_ip, now)


def take_apart(url: str) -> SignedUrl:
    """Splits CloudFront's parameters from the rest of the query. One that occurs twice is refused."""
    address, _, query = url.partition("?")
    own: list[str] = []
    parameters: dict[str, str] = {}
    for part in query.split("&") if query else []:
        name, _, value = part.partition("=")
        if name not in SIGNING_PARAMETERS:
            own.append(part)
        elif name in parameters:
            raise Refused(*DENIED)
        else:
            parameters[name] = unquote(value)
    return SignedUrl(f"{address}?{'&'.join(own)}" if own else address, parameters)


def canned_policy(signed: SignedUrl) -> bytes:
    """The one form a canned policy has: this order of members, no white space."""
    expires = signed.parameters["Expires"]
    if not re.fullmatch(r"[0-9]{1,12}", expires):
        raise Refused(*MALFORMED_POLICY)
    condition = f'{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}'
    return f'{{"Statement":[{{"Resource":"{signed.resource}","Condition":{condition}}}]}}'.encode()


def _decoded(value: str, problem: tuple[str, str]) -> bytes:
    """CloudFront's base64: ``-`` for ``+``, ``_`` for ``=``, ``~`` for ``/``."""
    if not re.fullmatch(r"[A-Za-z0-9_~-]+", value):
        raise Refused(*problem)
    try:
        return base64.b64decode(value.translate(str.maketrans("-_~", "+=/")), validate=True)
    except binascii.Error:
        raise Refused(*problem) from None


def _check_signature(key: PublicKey, signature: bytes, policy: bytes, hash_name: str) -> None:
    algorithm = HASHES.get(hash_name)
    if algorithm is None:
        raise Refused(*DENIED)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, policy, padding.PKCS1v15(), algorithm())
        else:
            key.verify(signature, policy, ec.ECDSA(algorithm()))
    except InvalidSignature:
        raise Refused(*DENIED) from None


def _check_policy(policy: bytes, resource: str, client_ip: str, now: int) -> None:
    statement = _statement(policy)
    condition = statement["Condition"]
    if not _matches(statement.get("Resource", "*"), resource):
        raise Refused(*DENIED)
    if now >= _epoch(condition["DateLessThan"]):
        raise Refused(*DENIED)
    if "DateGreaterThan" in condition and now <= _epoch(condition["DateGreaterThan"]):
        raise Refused(*DENIED)
    if "IpAddress" in condition and not _within(client_ip, condition["IpAddress"]):
        raise Refused(*DENIED)


def _statement(policy: bytes) -> dict[str, Any]:
    try:
        statements = json.loads(policy)["Statement"]
        (statement,) = statements
        condition = statement["Condition"]
        well_formed = isinstance(statement, dict) and isinstance(condition, dict) and "DateLessThan" in condition
    except (ValueError, TypeError, KeyError):
        raise Refused(*MALFORMED_POLICY) from None
    if not well_formed:
        raise Refused(*MALFORMED_POLICY)
    return cast("dict[str, Any]", statement)


def _matches(pattern: Any, resource: str) -> bool:
    """``*`` stands for any characters, ``?`` for one."""
    if not isinstance(pattern, str):
        raise Refused(*MALFORMED_POLICY)
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, resource, re.DOTALL) is not None


def _epoch(condition: Any) -> int:
    moment = condition.get("AWS:EpochTime") if isinstance(condition, dict) else None
    if not isinstance(moment, int) or isinstance(moment, bool):
        raise Refused(*MALFORMED_POLICY)
    return moment


def _within(client_ip: str, condition: Any) -> bool:
    try:
        return ipaddress.ip_address(client_ip) in ipaddress.ip_network(condition["AWS:SourceIp"])
    except (ValueError, TypeError, KeyError):
        raise Refused(*MALFORMED_POLICY) from None
