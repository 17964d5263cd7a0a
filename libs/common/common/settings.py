"""Settings come from the environment, once, and are complete or the process does not start.

A service's ``settings.py`` subclasses :class:`Settings`. Each field ``some_name`` is read from
``<SERVICE>_SOME_NAME`` and then ``SOME_NAME``, so a shared name can be overridden for one service.
"""

import os
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import unquote

from pydantic import AliasChoices, AliasGenerator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
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

    entrain_env: Literal["production", "development"] = Field(
        "production", description="`development` reads `.env`; it never relaxes authentication by itself"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe level logged")
    log_format: Literal["json", "console"] = Field("json", description="`json` for machines, `console` for people")

    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        description="OTLP/HTTP collector of traces, without `/v1/traces`; without one nothing is traced",
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None, description="sent to the collector with every batch: `name=value`, comma separated"
    )
    otel_traces_sampler_arg: float = Field(
        1.0, ge=0, le=1, description="share of traces that is kept, decided where a trace begins"
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
            print(f"{cls.service}: every setting is described in .env.example", file=sys.stderr)
            raise SystemExit(EXIT_BAD_SETTINGS) from None


class DatabaseSettings(Settings):
    """For a service that owns a schema."""

    database_url: SecretStr = Field(description="pooled or direct PostgreSQL URL")
    database_direct_url: SecretStr | None = Field(
        None, description="direct URL for migrations, relay and LISTEN; default: `DATABASE_URL`"
    )
    database_pool_size: int = Field(10, ge=1, le=200, description="open database sessions per process at most")
    database_pooler: Literal["none", "transaction"] = Field(
        "none", description="`transaction` switches statement caches off (PgBouncer, Supabase, Neon)"
    )
    erased_user_retention_days: int = Field(
        1095, ge=365, le=36500, description="how long a deleted user's id is known, so that nothing late revives them"
    )
    rabbitmq_url: SecretStr | None = Field(None, description="amqp(s) URL of the broker")
    gateway_jwks_url: str | None = Field(None, description="where the gateway publishes its internal token keys")
    gateway_public_keys: str | None = Field(
        None, description="the gateway's internal token keys, a JWKS document or one PEM, instead of `GATEWAY_JWKS_URL`"
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
