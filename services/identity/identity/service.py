"""Identity, wired."""

from pathlib import Path

from common.auth import CallerVerifier
from common.clock import Clock, utc_now
from common.db.engine import Database
from common.internal_tokens import internal_token_verifier
from common.messaging.outbox import Outbox
from common.service import Service
from common.web.app import create_app
from identity.api import router
from identity.models import Base
from identity.settings import IdentitySettings


def build(settings: IdentitySettings, *, clock: Clock = utc_now, verifier: CallerVerifier | None = None) -> Service:
    """The service, not yet started. ``verifier`` stands in for the gateway's tokens."""
    outbox = Outbox("identity")
    database = Database.of(settings, outbox, clock)
    app = create_app("identity", title="Entrain identity", checks={"database": database.check})
    app.state.database = database
    app.state.verifier = verifier or internal_token_verifier(settings, "identity")
    app.include_router(router)
    return Service(
        name="identity",
        app=app,
        database=database,
        outbox=outbox,
        metadata=Base.metadata,
        migrations=Path(__file__).parent / "migrations",
    )
