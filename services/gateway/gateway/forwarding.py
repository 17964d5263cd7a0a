"""The forwarder: plain ASGI over one pooled HTTP client, streaming both ways."""

from collections.abc import Mapping

import aiohttp
from aiohttp import ClientTimeout
from multidict import CIMultiDict
from prometheus_client import Counter, Histogram
from starlette.types import Receive, Scope, Send
from yarl import URL

from common.errors import InvalidInput, Unavailable
from common.observability import current_trace, logger
from gateway.bodies import ClientGone, RequestBody, unless_client_leaves
from gateway.callers import Callers
from gateway.clients import ClientAddresses
from gateway.headers import passed_in, passed_out, values
from gateway.routes import Route

_CONNECT_SECONDS = 2.0
_POOL_SECONDS = 5.0
_KEEP_IDLE_SECONDS = 60.0
"""Below the 75 seconds after which services close idle sockets, so that a request rarely meets a closing one."""
_PER_UPSTREAM = 512
_RETRY_AFTER = 2
_NO_DEFAULTS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_UNANSWERED = (aiohttp.ClientError, TimeoutError, OSError)

UPSTREAM_SECONDS = Histogram("upstream_answer_seconds", "Time until a service began to answer", ["upstream"])
UPSTREAM_FAILURES = Counter("upstream_failures_total", "Requests a service did not answer", ["upstream", "reason"])

log = logger("forwarding")


class Unanswered(aiohttp.ClientError):
    """The service closed the socket instead of answering."""


class Forwarder:
    """Sends requests to the service of their route. ``async with`` opens and closes the pool."""

    def __init__(self, upstreams: Mapping[str, str], callers: Callers, addresses: ClientAddresses) -> None:
        """``upstreams`` maps service names to origins (``http://host:port``)."""
        self._upstreams = dict(upstreams)
        self._callers = callers
        self._addresses = addresses
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Forwarder":
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=_PER_UPSTREAM, keepalive_timeout=_KEEP_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_NO_DEFAULTS,
            middlewares=(_sent_once,),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def forward(self, route: Route, method: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request by the service's answer to ``method``.

        Raises Unauthorized, InvalidInput, PayloadTooLarge, and Unavailable when the service did not begin to answer. An
        answer that breaks off is left incomplete, so that the client sees it broken too.
        """
        headers = await self._headers(route, scope)
        body = RequestBody(scope["headers"], receive)
        try:
            async with unless_client_leaves(body), await self._answer(route, method, scope, headers, body) as answer:
                await _relay(answer, send, route, head=scope["method"] == "HEAD")
        except ClientGone:
            log.info("client_left", upstream=route.service)
            await send({"type": "http.response.start", "status": 499, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    async def _headers(self, route: Route, scope: Scope) -> CIMultiDict[str]:
        trace = current_trace()
        given = values(scope["headers"], b"authorization")
        headers = CIMultiDict(passed_in(scope["headers"], webhook=route.webhook))
        if route.public:
            headers["Authorization"] = self._callers.anonymous(route.audiences, trace.correlation_id)
        else:
            headers["Authorization"] = await self._callers.signed_in(given, route.audiences, trace.correlation_id)
        if route.webhook and given:
            headers["X-Webhook-Authorization"] = _only(given)
        headers["X-Request-Id"] = trace.correlation_id
        headers["traceparent"] = trace.traceparent
        headers.extend(self._addresses.forwarded(scope))
        return headers

    async def _answer(
        self, route: Route, method: str, scope: Scope, headers: CIMultiDict[str], body: RequestBody
    ) -> aiohttp.ClientResponse:
        assert self._http is not None, "the forwarder is not open"
        target = scope["raw_path"].decode("ascii")
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("ascii")
        url = URL(self._upstreams[route.service] + target, encoded=True)
        timeout = ClientTimeout(
            total=route.total_seconds,
            connect=_POOL_SECONDS,
            sock_connect=_CONNECT_SECONDS,
            sock_read=route.idle_seconds,
        )
        for attempt in (1, 2):
            try:
                with UPSTREAM_SECONDS.labels(route.service).time():
                    return await self._http.request(
                        method,
                        url,
                        headers=headers,
                        data=body if body.expected else None,
                        timeout=timeout,
                        allow_redirects=False,
                    )
            except _UNANSWERED as error:
                if body.fault:
                    raise body.fault from None
                harmless = method in ("GET", "HEAD") and not body.expected
                if attempt == 2 or not harmless or isinstance(error, TimeoutError):
                    raise _unavailable(route, error) from None
        raise AssertionError("the second attempt answers or raises")


async def _sent_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keeps the HTTP client from repeating a PUT or DELETE by itself: what is sent again is decided here."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise Unanswered(f"{type(error).__name__}: {error}") from error


async def _relay(answer: aiohttp.ClientResponse, send: Send, route: Route, *, head: bool) -> None:
    await send(
        {"type": "http.response.start", "status": answer.status, "headers": passed_out(answer.raw_headers)},
    )
    if head:
        await send({"type": "http.response.body", "body": b""})
        return
    try:
        while True:
            chunk = await answer.content.readany()
            last = answer.content.at_eof()
            await send({"type": "http.response.body", "body": chunk, "more_body": not last})
            if last:
                return
    except _UNANSWERED as error:
        UPSTREAM_FAILURES.labels(route.service, "broke_off").inc()
        log.warning("answer_broke_off", upstream=route.service, error=f"{type(error).__name__}: {error}"[:200])


def _unavailable(route: Route, error: Exception) -> Unavailable:
    UPSTREAM_FAILURES.labels(route.service, type(error).__name__).inc()
    log.warning("upstream_unanswered", upstream=route.service, error=f"{type(error).__name__}: {error}"[:200])
    if isinstance(error, TimeoutError):
        return Unavailable("This takes too long at the moment; try again shortly.", retry_after=_RETRY_AFTER)
    return Unavailable("The service is busy or restarting; try again shortly.", retry_after=_RETRY_AFTER)


def _only(given: list[bytes]) -> str:
    if len(given) != 1:
        raise InvalidInput("Send one Authorization header.")
    try:
        return given[0].decode()
    except UnicodeDecodeError:
        raise InvalidInput("A header is not valid UTF-8.") from None
