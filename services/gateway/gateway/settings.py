"""What the gateway reads from its environment."""

import ipaddress
import re
from collections.abc import Iterator
from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from common.settings import CommaList, Settings, read_as
from common.signatures import PrivateKey, PublicKey, private_key_from_pem, public_key_from_pem
from gateway.clerk import issuer_of_publishable_key

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class GatewaySettings(Settings):
    model_config = read_as("gateway")
    service: ClassVar[str] = "gateway"

    clerk_publishable_key: str | None = Field(
        None, description="`pk_live_…` or `pk_test_…`; issuer and key address are derived from it"
    )
    clerk_jwt_key: str | None = Field(
        None, description="Clerk's public key as PEM: used until the key address answers, or alone without one"
    )
    clerk_issuers: CommaList = Field(
        (), description="comma list of accepted issuers (satellite domains, proxies); default: derived"
    )
    clerk_jwks_url: str | None = Field(None, description="address of Clerk's key set; default: derived")
    clerk_authorized_parties: CommaList = Field(
        (), description="comma list of origins accepted in `azp`; empty = not checked, absent `azp` passes"
    )
    gateway_token_leeway_seconds: int = Field(
        5, ge=0, le=300, description="how far clocks may differ when session tokens are judged, seconds"
    )
    gateway_token_lifetime_seconds: int = Field(
        3600, ge=60, le=7 * 86400, description="session tokens made to live longer than this are refused, seconds"
    )
    gateway_development_user: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.:|@-]{1,128}$",
        description="a user id for requests without a token; refused when `ENTRAIN_ENV=production`",
    )
    gateway_signing_key: SecretStr = Field(
        description="PEM private key for internal tokens, EC P-256 or Ed25519; "
        "make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
    )
    gateway_rotation_key: SecretStr | None = Field(
        None,
        description="PEM, public or private, of the key before or after `GATEWAY_SIGNING_KEY`: published beside it",
    )
    identity_url: str = Field("http://127.0.0.1:8701", description="where identity answers")
    billing_url: str = Field("http://127.0.0.1:8702", description="where billing answers")
    media_url: str = Field("http://127.0.0.1:8703", description="where media answers")
    allowed_origins: CommaList = Field(
        (), description="comma list of web origins that may call (CORS); in development an empty list means all"
    )
    public_url: str | None = Field(None, description="the address clients see, such as `https://api.example.com`")
    trusted_proxies: CommaList = Field(
        (), description="comma list of addresses or networks whose `X-Forwarded-*` headers count"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.gateway_development_user and self.entrain_env == "production":
            raise ValueError("GATEWAY_DEVELOPMENT_USER is refused while ENTRAIN_ENV is production: unset one of them")
        self._check_clerk()
        for name, origin in self._origins():
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{name}: write origins as scheme://host[:port], without a path")
        for network in self.trusted_proxies:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise ValueError("TRUSTED_PROXIES: write addresses or networks such as 10.0.0.0/8") from None
        self.signing_key()
        self.rotation_key()
        return self

    def _origins(self) -> Iterator[tuple[str, str]]:
        for service, url in self.upstreams.items():
            yield f"{service.upper()}_URL", url
        if self.public_url:
            yield "PUBLIC_URL", self.public_url
        for origin in self.allowed_origins:
            yield "ALLOWED_ORIGINS", origin

    def _check_clerk(self) -> None:
        if self.clerk_publishable_key and self.clerk_issuers:
            derived = issuer_of_publishable_key(self.clerk_publishable_key)
            if derived not in self.clerk_issuers:
                raise ValueError(f"CLERK_ISSUERS does not list {derived}, the issuer of CLERK_PUBLISHABLE_KEY")
        if not self.issuers:
            raise ValueError("set CLERK_PUBLISHABLE_KEY, or CLERK_ISSUERS and CLERK_JWKS_URL")
        url = self.jwks_url
        if url is None:
            if not self.clerk_jwt_key:
                raise ValueError("set CLERK_JWKS_URL or CLERK_JWT_KEY beside CLERK_ISSUERS")
        elif urlsplit(url).scheme != "https" and not self._plain_http_is_fine(url):
            raise ValueError("CLERK_JWKS_URL must be https: whoever can alter the keys can sign in as anyone")
        self.bootstrap_key()

    def _plain_http_is_fine(self, url: str) -> bool:
        parts = urlsplit(url)
        near = parts.hostname in _LOOPBACK or self.entrain_env == "development"
        return parts.scheme == "http" and near

    @property
    def issuers(self) -> frozenset[str]:
        """The exact values of ``iss`` that are accepted."""
        if self.clerk_issuers:
            return frozenset(self.clerk_issuers)
        key = self.clerk_publishable_key
        return frozenset({issuer_of_publishable_key(key)} if key else ())

    @property
    def jwks_url(self) -> str | None:
        if self.clerk_jwks_url:
            return self.clerk_jwks_url
        key = self.clerk_publishable_key
        return f"{issuer_of_publishable_key(key)}/.well-known/jwks.json" if key else None

    def bootstrap_key(self) -> PublicKey | None:
        return public_key_from_pem(self.clerk_jwt_key, "bootstrap") if self.clerk_jwt_key else None

    def signing_key(self) -> PrivateKey:
        return private_key_from_pem(self.gateway_signing_key.get_secret_value())

    def rotation_key(self) -> PublicKey | None:
        key = self.gateway_rotation_key
        return public_key_from_pem(key.get_secret_value()) if key else None

    @property
    def upstreams(self) -> dict[str, str]:
        return {"identity": self.identity_url, "billing": self.billing_url, "media": self.media_url}
