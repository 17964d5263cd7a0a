"""What stands between a client and the object store and has bad days: it refuses, is slow, cuts, or spoils."""

import aiohttp
from aiohttp import web

from embedded.faults import FaultList
from embedded.local_server import LocalServer
from embedded.object_store import PrivateObjectStore


class Doorstep(LocalServer):
    """Passes requests on to the store as they came, except those a fault is waiting for or ``spoil`` changes."""

    def __init__(self, store: PrivateObjectStore) -> None:
        super().__init__(0)
        self.faults = FaultList()
        self.spoils = ""
        self._store = store

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.faults.middleware], client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        return app

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.spoils and self.spoils in request.path_qs:
            body = body[:-1] + b"\0"
        async with (
            aiohttp.ClientSession(auto_decompress=False) as http,
            http.request(
                request.method, self._store.endpoint + request.raw_path, headers=request.headers, data=body
            ) as answer,
        ):
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in {"transfer-encoding"}}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())
