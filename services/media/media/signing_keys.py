"""Private keys with which audio URLs are signed, in the kinds CloudFront takes."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def signing_key(pem: str) -> SigningKey:
    """The key of a PEM whose line breaks may be written as ``\\n``, as in many a `.env`.

    Raises ValueError for anything but an unencrypted RSA-2048 or EC P-256 private key.
    """
    try:
        key = serialization.load_pem_private_key(pem.replace("\\n", "\n").encode(), None)
    except (ValueError, TypeError) as error:
        raise ValueError("must be an unencrypted private key in PEM") from error
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size == 2048:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError("must be an RSA-2048 or EC P-256 key: CloudFront takes no other")
