"""Identity on a database of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from common.clock import Clock, utc_now
from common.db.migrations import upgrade
from identity.service import build
from identity.settings import IdentitySettings
from tests.support.callers import ISSUER, Api, FixedCallers, served


def settings(database_url: str) -> IdentitySettings:
    return IdentitySettings(
        database_url=SecretStr(database_url),
        database_pool_size=4,
        gateway_jwks_url="http://127.0.0.1:1/.well-known/jwks.json",
    )


@asynccontextmanager
async def identity(database_url: str, *, clock: Clock = utc_now, issuer: str | None = ISSUER) -> AsyncIterator[Api]:
    """The migrated service, called as ``user_1``."""
    service = build(settings(database_url), clock=clock, verifier=FixedCallers(issuer))
    await upgrade(database_url, service.metadata, service.migrations)
    async with service.opened(), served(service.app) as api:
        yield api
