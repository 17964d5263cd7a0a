"""The public ASGI application: rules for every request, then the gateway's own pages or the forwarder."""

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import DomainError, MethodNotAllowed
from common.observability import logger
from gateway.admission import Admission
from gateway.cors import CorsRules
from gateway.forwarding import Forwarder
from gateway.headers import RawHeaders, check_headers
from gateway.routes import OWN, RouteTable

_SECURITY: RawHeaders = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_NOT_STORED = (b"cache-control", b"no-store")

log = logger("edge")


class Edge:
    """Answers every request in the envelope, whatever happens. Only HTTP; there are no sockets to upgrade to."""

    def __init__(
        self,
        table: RouteTable,
        admission: Admission,
        forwarder: Forwarder,
        own: ASGIApp,
        cors: CorsRules,
        *,
        https: bool = False,
    ) -> None:
        """``own`` serves the gateway's own pages; ``https`` says that clients reach us so."""
        self._table = table
        self._admission = admission
        self._forwarder = forwarder
        self._own = own
        self._cors = cors
        self._always = [*_SECURITY, *([_HSTS] if https else [])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = False
        added = [*self._always, *self._cors.answer_headers(scope["headers"])]

        async def send_added(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _with_added(message["headers"], added)
            await send(message)

        try:
            await self._dispatch(scope, receive, send_added, added)
        except DomainError as error:
            if started:
                raise
            answer = JSONResponse(error.envelope(), error.status, headers=error.headers)
            await answer(scope, receive, send_added)
        except Exception as error:  # the client gets an envelope, the log gets the fault
            log.error("unexpected_error", exc_info=error)
            if not started:
                body = {"code": "INTERNAL_ERROR", "message": "Something went wrong on our side."}
                await JSONResponse(body, 500)(scope, receive, send_added)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send, added: RawHeaders) -> None:
        check_headers(scope["headers"])
        route = self._table.find(scope["raw_path"], scope["query_string"])
        scope["route"] = route
        method = scope["method"]
        if method == "OPTIONS":
            headers = [(b"allow", route.allow.encode()), *self._cors.preflight_headers(scope["headers"])]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        upstream_method = route.upstream_method(method)
        if upstream_method is None:
            raise MethodNotAllowed("This address does not take that method.", headers={"Allow": route.allow})
        token = await self._admission.admit(route, scope, added)
        if route.service == OWN:
            await self._own(scope, receive, send)
        else:
            await self._forwarder.forward(route, upstream_method, token, scope, receive, send)


def _with_added(headers: RawHeaders, added: RawHeaders) -> RawHeaders:
    names = {name for name, _ in headers}
    kept = [*headers, *(header for header in added if header[0] == b"vary" or header[0] not in names)]
    return kept if b"cache-control" in names else [*kept, _NOT_STORED]
