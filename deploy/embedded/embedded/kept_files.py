"""Files the all-in-one run keeps: keys and the stand-ins' state, readable by their owner only, replaced as a whole."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def write_private(path: Path, content: bytes) -> None:
    """Replaces ``path`` atomically with mode 0600: after a crash it holds the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def write_json(path: Path, value: Any) -> None:
    write_private(path, json.dumps(value, ensure_ascii=False).encode())


def read_json(path: Path) -> Any:
    """The stored value, or None when there is no such file. Raises ValueError naming the file when it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): remove it, or start with --reset") from error


def new_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def new_p256_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: PrivateKey) -> str:
    """PKCS#8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key: PrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def kept_rsa_key(path: Path) -> rsa.RSAPrivateKey:
    """The RSA-2048 key stored at ``path`` (PEM), made at first use. Raises ValueError when another kind is there."""
    key = _kept_key(path, new_rsa_key)
    if isinstance(key, rsa.RSAPrivateKey):
        return key
    raise ValueError(f"{path} does not hold an RSA key: remove it, or start with --reset")


def kept_p256_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The EC P-256 key stored at ``path`` (PEM), made at first use. Raises ValueError when another kind is there."""
    key = _kept_key(path, new_p256_key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key
    raise ValueError(f"{path} does not hold an EC key: remove it, or start with --reset")


def _kept_key(path: Path, make: Callable[[], PrivateKey]) -> object:
    if not path.exists():
        write_private(path, private_pem(make()).encode())
    return serialization.load_pem_private_key(path.read_bytes(), password=None)
