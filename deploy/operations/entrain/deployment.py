"""A deployment as its settings describe it: the same variables, read through the services' own classes."""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr, ValidationError

from billing.service import build as build_billing
from billing.settings import BillingSettings
from common.db.uow import UnitOfWork
from common.service import Service
from common.settings import DatabaseSettings, Settings, explain
from gateway.settings import GatewaySettings
from identity.service import build as build_identity
from identity.settings import IdentitySettings
from media.service import build as build_media
from media.settings import MediaSettings

CLASSES: dict[str, type[Settings]] = {
    "gateway": GatewaySettings,
    "identity": IdentitySettings,
    "billing": BillingSettings,
    "media": MediaSettings,
}
OWNERS = ("identity", "billing", "media")
"""The services that own a schema."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
INTERNAL_OFFSET = 100
_SHORTEST_SECRET = 6
AnySettings = TypeVar("AnySettings", bound=Settings)


class NotConfigured(Exception):
    """A service's settings cannot be read; the message names the check that says why."""


@dataclass(frozen=True)
class BrokerApi:
    """The broker's management API, and an administrator's name and password there."""

    url: str
    user: str
    password: str


@dataclass(frozen=True)
class Deployment:
    """``settings`` of each service that has a valid set; ``faults`` of the others, a line each.

    ``health`` are addresses given by hand, by the process's name; ``broker_api`` is there for whoever administers.
    """

    settings: Mapping[str, Settings]
    faults: Mapping[str, list[str]]
    health: Mapping[str, str] = field(default_factory=dict)
    broker_api: BrokerApi | None = None

    @property
    def gateway(self) -> GatewaySettings:
        return self._of("gateway", GatewaySettings)

    @property
    def identity(self) -> IdentitySettings:
        return self._of("identity", IdentitySettings)

    @property
    def billing(self) -> BillingSettings:
        return self._of("billing", BillingSettings)

    @property
    def media(self) -> MediaSettings:
        return self._of("media", MediaSettings)

    def owner(self, service: str) -> DatabaseSettings:
        """The settings of a service that owns a schema. Raises NotConfigured."""
        return self._of(service, DatabaseSettings)

    def service(self, name: str) -> Service:
        """The service as its own process builds it, not started. Raises NotConfigured."""
        return self._builders[name]()

    @asynccontextmanager
    async def transaction(self, service: str) -> AsyncIterator[UnitOfWork]:
        """One transaction in a service's own database and role. Raises NotConfigured, and what the database does."""
        database = self.service(service).database
        try:
            async with database.transaction() as uow:
                yield uow
        finally:
            await database.close()

    @cached_property
    def _builders(self) -> dict[str, Callable[[], Service]]:
        return {
            "identity": lambda: build_identity(self.identity),
            "billing": lambda: build_billing(self.billing),
            "media": lambda: build_media(self.media),
        }

    @property
    def public_url(self) -> str:
        return (self.gateway.public_url or self.media.public_url).rstrip("/")

    @property
    def production(self) -> bool:
        return any(settings.entrain_env == "production" for settings in self.settings.values())

    def broker_url(self, service: str) -> str | None:
        """The broker's address with the service's own user. Raises NotConfigured."""
        url: SecretStr | None = getattr(self._of(service, Settings), "rabbitmq_url", None)
        return url.get_secret_value() if url else None

    @cached_property
    def secrets(self) -> list[str]:
        """Every secret in the settings, the longest first, and the passwords inside addresses."""
        found: set[str] = set()
        for settings in self.settings.values():
            for value in dict(settings).values():
                found.update(_secrets_in(value))
        if self.broker_api:
            found.add(self.broker_api.password)
        return sorted((one for one in found if len(one) >= _SHORTEST_SECRET), key=len, reverse=True)

    def without_secrets(self, text: str) -> str:
        """The text as it may be shown."""
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return text

    def _of(self, service: str, kind: type[AnySettings]) -> AnySettings:
        found = self.settings.get(service)
        if not isinstance(found, kind):
            raise NotConfigured(f"waits for settings.{service}")
        return found


def read_deployment(health: Mapping[str, str] | None = None) -> Deployment:
    """Reads the environment, and ``.env`` in development as the services do."""
    env_file = ".env" if os.environ.get("ENTRAIN_ENV") == "development" else None
    settings: dict[str, Settings] = {}
    faults: dict[str, list[str]] = {}
    for service, kind in CLASSES.items():
        read: Callable[..., Settings] = kind
        try:
            settings[service] = read(_env_file=env_file)
        except ValidationError as error:
            faults[service] = explain(error, kind.model_fields)
    return Deployment(settings, faults, health or {}, _broker_api())


def _broker_api() -> BrokerApi | None:
    """From the variables that deploy/rabbitmq/apply_definitions.py reads; no service has them."""
    url, user, password = (os.environ.get(f"RABBITMQ_API_{name}", "") for name in ("URL", "USER", "PASSWORD"))
    return BrokerApi(url.rstrip("/"), user, password) if url else None


def is_nearby(url: str) -> bool:
    """Whether the address is on this machine, where nobody listens in."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def is_inside(url: str) -> bool:
    """Whether the way there stays within this machine, or within a network that knows names without a dot: compose's, a
    namespace's."""
    host = urlsplit(url).hostname or ""
    return is_nearby(url) or (host != "" and "." not in host and ":" not in host)


def _secrets_in(value: Any) -> Iterator[str]:
    if isinstance(value, tuple):
        for one in value:
            yield from _secrets_in(one)
    elif isinstance(value, SecretStr):
        text = value.get_secret_value()
        yield text
        password = urlsplit(text).password if "://" in text else None
        if password:
            yield password
            yield unquote(password)
