"""What the gateway reads from its environment."""

import ipaddress
import re
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from common.settings import CommaList, Settings, read_as
from common.signatures import PrivateKey, PublicKey, private_key_from_pem, public_key_from_pem
from gateway.clerk import issuer_of_publishable_key
from gateway.supabase import issuer_of_project

_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _origin(value: str) -> str:
    if not _ORIGIN.fullmatch(value):
        raise ValueError("write an origin as scheme://host[:port], without a path")
    return value


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_origin(value) for value in values)


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ipaddress.ip_network(value)
        except ValueError:
            raise ValueError("write addresses or networks such as 10.0.0.0/8") from None
    return values


def _storage_url(value: SecretStr) -> SecretStr:
    """Valkey speaks the protocol of Redis, and its scheme is written as Redis's for the client library."""
    scheme, _, rest = value.get_secret_value().partition("://")
    if scheme not in ("redis", "rediss", "valkey", "valkeys") or not urlsplit(f"//{rest}").hostname:
        raise ValueError("write redis://, rediss://, valkey:// or valkeys:// and a host")
    return SecretStr(f"{scheme.replace('valkey', 'redis')}://{rest}")


def _publishable_key(value: str) -> str:
    issuer_of_publishable_key(value)
    return value


def _signing_key(value: SecretStr) -> SecretStr:
    private_key_from_pem(value.get_secret_value())
    return value


def _any_key(value: SecretStr) -> SecretStr:
    public_key_from_pem(value.get_secret_value())
    return value


def _rsa_key(value: str) -> str:
    if public_key_from_pem(value).algorithm != "RS256":
        raise ValueError("Clerk signs with RSA keys")
    return value


Origin = Annotated[str, AfterValidator(_origin)]


class GatewaySettings(Settings):
    model_config = read_as("gateway")
    service: ClassVar[str] = "gateway"

    clerk_publishable_key: Annotated[str, AfterValidator(_publishable_key)] | None = Field(
        None,
        description="Clerk dashboard, API keys: pk_live_… or pk_test_…. Issuer and key address follow from it. "
        "Without it CLERK_ISSUERS and CLERK_JWKS_URL must be given",
        examples=["pk_test_…"],
    )
    clerk_jwt_key: Annotated[str, AfterValidator(_rsa_key)] | None = Field(
        None,
        description='Clerk dashboard, API keys, "JWT public key": PEM. Used until the key address answers, or alone '
        "where there is no address. Without it nobody can sign in before the key address has answered once",
        examples=[r'"-----BEGIN PUBLIC KEY-----\n…\n-----END PUBLIC KEY-----\n"'],
    )
    clerk_issuers: CommaList = Field(
        (),
        description="Accepted issuers, comma separated, when they are not the one of the publishable key (satellite "
        "domains, proxies). Without any that one is accepted",
        examples=["https://clerk.example.com"],
    )
    clerk_jwks_url: str | None = Field(
        None,
        description="Address of the issuer's keys, https. Without it /.well-known/jwks.json of the publishable key's "
        "issuer",
        examples=["https://clerk.example.com/.well-known/jwks.json"],
    )
    clerk_authorized_parties: CommaList = Field(
        (),
        description="Origins accepted in the token's `azp`, comma separated. A token without `azp` (the app's) passes. "
        "Without any, `azp` is not checked",
        examples=["https://example.com"],
    )
    supabase_url: Origin | None = Field(
        None,
        description="A Supabase project whose users may call too, as a second issuer. It must sign with an asymmetric "
        "key (ES256 or RS256); `python -m identity link` joins its users to those there are. Without it there is one "
        "issuer",
        examples=["https://abcdefghijklmnopqrst.supabase.co"],
    )
    gateway_token_leeway_seconds: int = Field(
        5,
        ge=0,
        le=300,
        description="How far clocks may differ when session tokens are judged, seconds. Raise it when the app keeps "
        "tokens too long",
    )
    gateway_token_lifetime_seconds: int = Field(
        3600, ge=60, le=7 * 86400, description="Session tokens made to live longer than this are refused, seconds"
    )
    gateway_development_user: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.:|@-]{1,128}$",
        description="A user id for requests without a token, so that the app's development builds work; refused in "
        "production. Without it a request without a token is refused",
        examples=["user_development"],
    )
    gateway_signing_key: Annotated[SecretStr, AfterValidator(_signing_key)] = Field(
        description="Signs internal tokens: PEM, EC P-256 or Ed25519. Make one: openssl genpkey -algorithm EC -pkeyopt "
        "ec_paramgen_curve:P-256"
    )
    gateway_rotation_key: Annotated[SecretStr, AfterValidator(_any_key)] | None = Field(
        None,
        description="The signing key before or after this one, PEM, public or private: published beside it while "
        "rotating. Without it the signing key alone is published",
        examples=[r'"-----BEGIN PUBLIC KEY-----\n…\n-----END PUBLIC KEY-----\n"'],
    )
    rabbitmq_url: SecretStr | None = Field(
        None,
        description="The gateway hears of sign-outs by it, and without it a token is good until it ends",
    )
    identity_url: Origin = Field("http://127.0.0.1:8701", description="Where identity answers")
    billing_url: Origin = Field("http://127.0.0.1:8702", description="Where billing answers")
    media_url: Origin = Field("http://127.0.0.1:8703", description="Where media answers")
    allowed_origins: Annotated[CommaList, AfterValidator(_origins)] = Field(
        (),
        description="Web origins that may call (CORS), comma separated. The mobile app needs none. Without any no web "
        "page may call; in development every one may",
        examples=["https://admin.example.com"],
    )
    public_url: Origin | None = Field(
        None,
        description="The address clients see, without a path: https://api.example.com. Without it the gateway tells "
        "services the host that each request names",
    )
    trusted_proxies: Annotated[CommaList, AfterValidator(_networks)] = Field(
        (),
        description="Addresses or networks, comma separated, whose X-Forwarded-For counts: the load balancers in "
        "front. Without it everybody behind them is one address to the limits",
        examples=["10.0.0.0/8"],
    )

    rate_limit_storage_url: Annotated[SecretStr, AfterValidator(_storage_url)] | None = Field(
        None,
        description="Valkey or Redis where several gateways count together how often one asks. While it does not "
        "answer nobody is limited. Without it each gateway counts by itself",
        examples=["valkey://user:password@127.0.0.1:6379/0"],
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.gateway_development_user and self.entrain_env == "production":
            raise ValueError("GATEWAY_DEVELOPMENT_USER is refused while ENTRAIN_ENV is production: unset one of them")
        derived = self._derived_issuer
        if derived and self.clerk_issuers and derived not in self.clerk_issuers:
            raise ValueError(f"CLERK_ISSUERS does not list {derived}, the issuer of CLERK_PUBLISHABLE_KEY")
        if not self.issuers:
            raise ValueError("set CLERK_PUBLISHABLE_KEY, or CLERK_ISSUERS and CLERK_JWKS_URL")
        if self.jwks_url is None and self.clerk_jwt_key is None:
            raise ValueError("set CLERK_JWKS_URL or CLERK_JWT_KEY beside CLERK_ISSUERS")
        if self.jwks_url is not None and not self._is_safe(self.jwks_url):
            raise ValueError("CLERK_JWKS_URL must be https: whoever can alter the keys can sign in as anyone")
        if self.supabase_url is not None and not self._is_safe(self.supabase_url):
            raise ValueError("SUPABASE_URL must be https: whoever can alter the keys can sign in as anyone")
        if self.supabase_url is not None and issuer_of_project(self.supabase_url) in self.issuers:
            raise ValueError("SUPABASE_URL and Clerk's settings name the same issuer")
        return self

    def _is_safe(self, url: str) -> bool:
        parts = urlsplit(url)
        nearby = parts.hostname in _LOOPBACK or self.entrain_env == "development"
        return parts.scheme == "https" or (parts.scheme == "http" and nearby)

    @property
    def _derived_issuer(self) -> str | None:
        key = self.clerk_publishable_key
        return issuer_of_publishable_key(key) if key else None

    @property
    def issuers(self) -> frozenset[str]:
        """The exact values of ``iss`` that are accepted."""
        derived = self._derived_issuer
        return frozenset(self.clerk_issuers or ([derived] if derived else []))

    @property
    def jwks_url(self) -> str | None:
        """Where the issuer publishes its keys; None when only CLERK_JWT_KEY is known."""
        derived = self._derived_issuer
        return self.clerk_jwks_url or (f"{derived}/.well-known/jwks.json" if derived else None)

    @property
    def bootstrap_key(self) -> PublicKey | None:
        return public_key_from_pem(self.clerk_jwt_key, "bootstrap") if self.clerk_jwt_key else None

    @property
    def signing_key(self) -> PrivateKey:
        return private_key_from_pem(self.gateway_signing_key.get_secret_value())

    @property
    def rotation_key(self) -> PublicKey | None:
        key = self.gateway_rotation_key
        return public_key_from_pem(key.get_secret_value()) if key else None

    @property
    def upstreams(self) -> dict[str, str]:
        """Origins by service name."""
        return {"identity": self.identity_url, "billing": self.billing_url, "media": self.media_url}
