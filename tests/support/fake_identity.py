"""Identity as the gateway sees it: what it is asked about users and sign-outs, and an echo for everything else."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from common.clock import wire_time
from tests.support.running_gateway import EchoService, claims_of

MOST = 50
"""How many of a kind one answer holds, the newest."""


class FakeIdentity(EchoService):
    """``links`` maps (issuer, subject) to a user; ``ended`` and ``deleted`` map ids to when. ``down`` answers 503."""

    def __init__(self) -> None:
        super().__init__()
        self.links: dict[tuple[str, str], str] = {}
        self.ended: dict[str, datetime] = {}
        self.deleted: dict[str, datetime] = {}
        self.down = False
        self.held = asyncio.Event()
        self.held.set()
        self.looked_up: list[str] = []
        self.asked_since: list[str] = []

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._internal_only])
        app.router.add_get("/internal/users", self._user)
        app.router.add_get("/internal/sign-outs", self._sign_outs)
        app.router.add_route("*", "/{rest:.*}", self._echo)
        return app

    @web.middleware
    async def _internal_only(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """The gateway asks in nobody's name, and for identity alone."""
        if request.path.startswith("/internal/"):
            claims = claims_of(request.headers.get("Authorization"))
            if claims["aud"] != "identity" or "sub" in claims:
                return web.Response(status=401)
            if self.down:
                return web.Response(status=503)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _user(self, request: web.Request) -> web.Response:
        subject = request.query["subject"]
        self.looked_up.append(subject)
        await self.held.wait()
        return web.json_response({"userId": self.links.get((request.query["issuer"], subject), subject)})

    async def _sign_outs(self, request: web.Request) -> web.Response:
        self.asked_since.append(request.query["since"])
        since = datetime.fromisoformat(request.query["since"]).astimezone(UTC)
        return web.json_response(
            {
                "sessions": [{"sessionId": name, "endedAt": at} for name, at in _newest(self.ended, since)],
                "users": [{"userId": name, "deletedAt": at} for name, at in _newest(self.deleted, since)],
            }
        )


def _newest(signed_out: dict[str, datetime], since: datetime) -> list[tuple[str, str]]:
    later = sorted(((at, name) for name, at in signed_out.items() if at >= since), reverse=True)
    return [(name, wire_time(at)) for at, name in later[:MOST]]
