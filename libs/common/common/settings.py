"""Settings come from the environment, once, and are complete or the process does not start.

A service's ``settings.py`` subclasses :class:`Settings`. Each field ``some_name`` is read from
``<SERVICE>_SOME_NAME`` and then ``SOME_NAME``, so a shared name can be overridden for one service.

A field's description is what `.env.example` and `docs/settings.md` say of it, made by `make contracts`. Where several
services read a name, each says what it does with it. One without a default says what is so without it.
"""

import os
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasGenerator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

EXIT_BAD_SETTINGS = 78
"""sysexits' EX_CONFIG: an operator must change the configuration, restarting will not help."""

MINIMUM_SECRET_LENGTH = 16


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A comma separated list; blanks around the parts and empty parts do not count."""

SecretList = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]

_TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_OF_OTHER_DRIVERS = {
    "channel_binding": "it is not spoken here; sslmode=verify-full proves the server too",
    "connect_timeout": "it has its own",
    "connection_limit": "set DATABASE_POOL_SIZE",
    "gssencmode": "it is not spoken here",
    "pgbouncer": "set DATABASE_POOLER=transaction",
    "pool_timeout": "it has its own",
    "schema": "each service has its own",
    "ssl": "write sslmode=…",
}
"""Parameters found in URLs for others, which the database would refuse later and with less to say."""


def _obeyed(url: SecretStr) -> SecretStr:
    """What a database URL asks for is done, TLS before all, or the URL is refused."""
    asked = dict(parse_qsl(urlsplit(url.get_secret_value()).query, keep_blank_values=True))
    for name, advice in _OF_OTHER_DRIVERS.items():
        if name in asked:
            raise ValueError(f"take `{name}` out of the URL: {advice}")
    mode, authority = asked.get("sslmode", "prefer"), asked.get("sslrootcert")
    if mode not in _TLS_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(_TLS_MODES)}")
    if mode.startswith("verify-") and authority is None:
        raise ValueError(f"sslmode={mode} needs sslrootcert=FILE, such as /etc/ssl/certs/ca-certificates.crt")
    if authority is not None and not Path(authority).is_file():
        raise ValueError("sslrootcert must name a file that is there")
    return url


DatabaseUrl = Annotated[SecretStr, AfterValidator(_obeyed)]
"""A PostgreSQL URL; ``sslmode`` and ``sslrootcert`` in it mean what they mean to PostgreSQL's own programs."""


def read_as(service: str) -> SettingsConfigDict:
    """The model configuration of a service's settings: names looked up with the service's prefix first."""

    def names(field: str) -> AliasChoices:
        name = field.upper()
        prefixed = name if name.startswith(f"{service.upper()}_") else f"{service.upper()}_{name}"
        return AliasChoices(prefixed, name)

    return SettingsConfigDict(alias_generator=AliasGenerator(validation_alias=names))


class Settings(BaseSettings):
    """What every process reads."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True, env_ignore_empty=True)
    service: ClassVar[str]
    described_in: ClassVar[str] = ".env.example"

    entrain_env: Literal["production", "development"] = Field(
        "production",
        description="`production` or `development`; development reads `.env` and is milder about http addresses and "
        "sandbox purchases, but lets nobody in who could not come in otherwise",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level logged: debug, info, warning, error"
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="`json`, one object a line, for machines; `console` for people"
    )
    entrain_revision: str = Field(
        "unknown", description="Which build this is, as `entrain_build_info` shows it; the images set it"
    )

    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        description="Where traces go: an OTLP/HTTP collector, without /v1/traces. Without it nothing is traced",
        examples=["http://otel-collector:4318"],
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None,
        description="What the collector wants with every batch, often a key: name=value, comma separated. Without it "
        "nothing more is sent",
        examples=["authorization=Bearer …"],
    )
    otel_traces_sampler_arg: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of traces that is kept, decided where a trace begins: at the gateway, mostly",
    )

    @property
    def otlp_headers(self) -> dict[str, str]:
        """Names and values; percent-encoded values are decoded."""
        given = self.otel_exporter_otlp_headers
        pairs = [pair.partition("=") for pair in given.get_secret_value().split(",")] if given else []
        return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs if name.strip()}

    @classmethod
    def load(cls) -> Self:
        """Reads the environment (and ``.env`` in development). Prints every fault and exits 78 on a bad set."""
        development = os.environ.get("ENTRAIN_ENV") == "development"
        try:
            read: Callable[..., Self] = cls
            return read(_env_file=".env" if development else None)
        except ValidationError as error:
            for line in explain(error, cls.model_fields):
                print(f"{cls.service}: {line}", file=sys.stderr)
            print(f"{cls.service}: every setting is described in {cls.described_in}", file=sys.stderr)
            raise SystemExit(EXIT_BAD_SETTINGS) from None


class DatabaseSettings(Settings):
    """For a service that owns a schema."""

    service: ClassVar[str] = "database"

    database_url: DatabaseUrl = Field(
        description="PostgreSQL 15 or newer, pooled or direct: postgresql://user:password@host:5432/database. One role "
        "per service, each owning its schema, is best: then give IDENTITY_DATABASE_URL, BILLING_DATABASE_URL and "
        "MEDIA_DATABASE_URL"
    )
    database_direct_url: DatabaseUrl | None = Field(
        None,
        description="The same database past any pooler, for migrations, the relay and LISTEN. Needed with "
        "DATABASE_POOLER=transaction. Without it DATABASE_URL serves for these too",
        examples=["postgresql://user:password@host:5432/database"],
    )
    database_pool_size: int = Field(10, ge=1, le=200, description="Open database sessions per process at most")
    database_pooler: Literal["none", "transaction"] = Field(
        "none",
        description="`transaction` when DATABASE_URL leads through a transaction-mode pooler (PgBouncer, Supabase on "
        "port 6543, Neon)",
    )
    erased_user_retention_days: int = Field(
        1095,
        ge=365,
        le=36500,
        description="Days for which the id of a deleted user is known, so that nothing late brings them back",
    )
    rabbitmq_url: SecretStr | None = Field(
        None,
        description="RabbitMQ: amqp:// or amqps://user:password@host:5672/vhost. `migrate` declares the queues on it. "
        "One user per service, each with its own queues, is best (deploy/rabbitmq/README.md): then give "
        "GATEWAY_RABBITMQ_URL, IDENTITY_RABBITMQ_URL and so on. Without it no worker starts, and nobody hears what "
        "happened",
        examples=["amqp://user:password@127.0.0.1:5672/"],
    )
    gateway_jwks_url: str | None = Field(
        None,
        description="Where the gateway's internal listener publishes the keys of its internal tokens. Without it and "
        "without GATEWAY_PUBLIC_KEYS no process starts",
        examples=["http://127.0.0.1:8887/.well-known/jwks.json"],
    )
    gateway_public_keys: str | None = Field(
        None,
        description="Those keys themselves: as one line of JSON, what GATEWAY_JWKS_URL would answer; or one public key "
        "as PEM. Without it they are fetched from GATEWAY_JWKS_URL",
        examples=[
            '{"keys":[{"kty":"EC","crv":"P-256","kid":"…","x":"…","y":"…","alg":"ES256","use":"sig"}]}',
        ],
    )

    @model_validator(mode="after")
    def _reaches_the_database_directly(self) -> Self:
        if self.database_pooler == "transaction" and self.database_direct_url is None:
            raise ValueError("DATABASE_POOLER=transaction needs DATABASE_DIRECT_URL: locks and LISTEN fail in a pooler")
        return self

    @property
    def erased_user_retention(self) -> timedelta:
        return timedelta(days=self.erased_user_retention_days)

    @property
    def direct_url(self) -> str:
        return (self.database_direct_url or self.database_url).get_secret_value()


def explain(error: ValidationError, fields: Mapping[str, FieldInfo]) -> list[str]:
    """One line a fault, naming the variable; never its value, which may be a secret."""
    names = {str(alias): field.upper() for field, info in fields.items() for alias in _aliases(field, info)}
    lines = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        name = names.get(str(fault["loc"][0]), str(fault["loc"][0])) if fault["loc"] else "settings"
        lines.append(f"{name}: {fault['msg'].removeprefix('Value error, ')}")
    return lines


def _aliases(field: str, info: FieldInfo) -> list[str]:
    choices = info.validation_alias
    return [field, *(str(choice) for choice in choices.choices)] if isinstance(choices, AliasChoices) else [field]


def require_strong(name: str, secrets: tuple[SecretStr, ...]) -> None:
    """Raises ValueError for a secret too short to resist guessing."""
    if any(len(secret.get_secret_value()) < MINIMUM_SECRET_LENGTH for secret in secrets):
        advice = "make one with `openssl rand -hex 32`"
        raise ValueError(f"{name} must be at least {MINIMUM_SECRET_LENGTH} characters; {advice}")
