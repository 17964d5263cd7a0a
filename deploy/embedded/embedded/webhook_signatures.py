"""How the providers sign the webhooks they send: RevenueCat's header pair and Svix's headers (used by Clerk)."""

import base64
import hashlib
import hmac
from collections.abc import Mapping

SVIX_PREFIX = "whsec_"


def revenuecat_headers(body: bytes, unix_seconds: int, authorization: str = "", secret: str = "") -> Mapping[str, str]:
    """The static Authorization value and/or the HMAC over ``<t>.<raw body>``, whichever of the two is configured."""
    headers = {}
    if authorization:
        headers["Authorization"] = authorization
    if secret:
        digest = hmac.new(secret.encode(), f"{unix_seconds}.".encode() + body, hashlib.sha256).hexdigest()
        headers["X-RevenueCat-Webhook-Signature"] = f"t={unix_seconds},v1={digest}"
    return headers


def svix_headers(message_id: str, body: bytes, unix_seconds: int, secret: str) -> Mapping[str, str]:
    """Svix's three headers. ``secret`` is ``whsec_`` and base64; raises ValueError when it is not."""
    if not secret.startswith(SVIX_PREFIX):
        raise ValueError("a Svix secret starts with whsec_")
    key = base64.b64decode(secret.removeprefix(SVIX_PREFIX), validate=True)
    content = f"{message_id}.{unix_seconds}.".encode() + body
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {"svix-id": message_id, "svix-timestamp": str(unix_seconds), "svix-signature": f"v1,{signature}"}
