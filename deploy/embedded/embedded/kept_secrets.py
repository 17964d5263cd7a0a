"""The secrets of one data directory: made on first use, kept in a file only its owner reads."""

import base64
import secrets
from pathlib import Path

from embedded.kept_files import kept_p256_key, kept_rsa_key, private_pem, public_pem, read_json, write_json

_TEXTS = (
    "identity_password",
    "billing_password",
    "media_password",
    "legacy_password",
    "bus_password",
    "revenuecat_api_key",
    "webhook_authorization",
    "webhook_secret",
    "clerk_webhook",
    "clerk_api",
    "control",
)
CDN_KEY_ID = "KEMBEDDEDEDGE1"


class KeptSecrets:
    """``text(name)`` for passwords and tokens; the two signing keys as PEM."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = folder / "secrets.json"
        known: dict[str, str] = read_json(file) or {}
        self._texts = {name: known.get(name) or secrets.token_hex(24) for name in _TEXTS}
        if self._texts != known:
            write_json(file, self._texts)
        self.gateway_key = private_pem(kept_p256_key(folder / "gateway.pem"))
        cdn = kept_rsa_key(folder / "cdn.pem")
        self.cdn_key, self.cdn_public_key = private_pem(cdn), public_pem(cdn)

    def text(self, name: str) -> str:
        return self._texts[name]

    @property
    def clerk_webhook_secret(self) -> str:
        """As Clerk's dashboard shows it."""
        return "whsec_" + base64.b64encode(bytes.fromhex(self.text("clerk_webhook"))).decode()

    @property
    def clerk_secret_key(self) -> str:
        return "sk_test_" + self.text("clerk_api")
