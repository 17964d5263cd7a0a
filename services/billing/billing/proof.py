"""Whether a webhook is RevenueCat's: a fixed Authorization value, an HMAC over the raw body, or both."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

from starlette.datastructures import Headers

from common.errors import DomainError

TOLERANCE = timedelta(minutes=5)
"""How far the sender's clock may be from ours; attempts are signed anew, so an older signature is a replay."""
SIGNATURE_HEADERS = ("x-revenuecat-webhook-signature", "x-revenuecat-signature")
FORWARDED_AUTHORIZATION = "x-webhook-authorization"
"""Where the gateway puts the sender's Authorization, its own token being in that header."""
_MOST_SIGNATURES = 8


class NotFromRevenueCat(DomainError):
    """The webhook does not prove where it comes from."""

    status, code = 401, "UNAUTHORIZED"

    def __init__(self) -> None:
        super().__init__("The webhook does not prove where it comes from.")


class WebhookProof:
    """Checks what is configured: every kind that has values must be met, by any one of its values."""

    def __init__(self, authorizations: Sequence[str], signing_secrets: Sequence[str]) -> None:
        if not (authorizations or signing_secrets):
            raise ValueError("a webhook that proves nothing cannot be accepted")
        self._authorizations = [value.encode() for value in authorizations]
        self._secrets = [secret.encode() for secret in signing_secrets]

    def check(self, headers: Headers, body: bytes, now: datetime) -> None:
        """Raises NotFromRevenueCat, whatever the headers hold. ``body`` is the raw one."""
        if self._authorizations and not self._authorized(headers):
            raise NotFromRevenueCat
        if self._secrets and not self._signed(headers, body, now):
            raise NotFromRevenueCat

    def _authorized(self, headers: Headers) -> bool:
        given = headers.getlist(FORWARDED_AUTHORIZATION) or headers.getlist("authorization")
        if len(given) != 1:
            return False
        sent = given[0].encode("latin-1")
        # every value is compared, so that the time taken does not tell which one came close
        return sum(hmac.compare_digest(sent, expected) for expected in self._authorizations) > 0

    def _signed(self, headers: Headers, body: bytes, now: datetime) -> bool:
        given = next((found for name in SIGNATURE_HEADERS if (found := headers.getlist(name))), [])
        if len(given) != 1:
            return False
        stamp, signatures = _parts(given[0])
        if stamp is None or abs(now.timestamp() - int(stamp)) > TOLERANCE.total_seconds():
            return False
        expected = [hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).digest() for secret in self._secrets]
        return sum(hmac.compare_digest(one, other) for one in signatures for other in expected) > 0


def _parts(header: str) -> tuple[str | None, list[bytes]]:
    """``t`` and every readable ``v1`` of ``t=…,v1=…``; parts of later schemes are passed over."""
    stamps, signatures = [], []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            stamps.append(value)
        elif name == "v1" and len(value) == 2 * hashlib.sha256().digest_size:
            try:
                signatures.append(bytes.fromhex(value))
            except ValueError:
                continue
    readable = len(stamps) == 1 and stamps[0].isascii() and stamps[0].isdigit() and len(stamps[0]) <= 12
    return (stamps[0] if readable else None), signatures[:_MOST_SIGNATURES]
