"""The forwarder: plain ASGI over one pooled HTTP client, streaming both ways."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

import aiohttp
from aiohttp import ClientTimeout
from multidict import CIMultiDict
from prometheus_client import Counter, Histogram
from starlette.types import Receive, Scope, Send
from yarl import URL

from common.errors import InvalidInput, Unavailable
from common.internal_tokens import MintedToken
from common.observability import logger
from common.tracing import Attributes, current_trace, span
from common.web.client import tell_answer
from common.web.deadlines import BUDGET_HEADER
from gateway.bodies import ClientGone, ClientTooSlow, RequestBody, unless_client_leaves
from gateway.breaker import Breaker
from gateway.clients import ClientAddresses
from gateway.headers import passed_in, passed_out, values
from gateway.routes import Route

_CONNECT_SECONDS = 2.0
_POOL_SECONDS = 5.0
_KEEP_IDLE_SECONDS = 60.0
"""Below the 75 seconds after which services close idle sockets, so that a request rarely meets a closing one."""
_PER_UPSTREAM = 512
_RETRY_AFTER = 2
_ATTEMPTS = 2
_SERVICE_SHARE = 0.97
"""Of the time that is left; so a service that gives up can still say so itself."""
_NO_DEFAULTS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_UNANSWERED = (aiohttp.ClientError, TimeoutError, OSError)

UPSTREAM_SECONDS = Histogram("upstream_answer_seconds", "Time until a service began to answer", ["upstream"])
UPSTREAM_FAILURES = Counter("upstream_failures_total", "Attempts that a service did not answer", ["upstream", "reason"])
SENT_AGAIN = Counter("upstream_sent_again_total", "Requests sent a second time", ["upstream"])

log = logger("forwarding")


class Unanswered(aiohttp.ClientError):
    """The service closed the socket instead of answering."""


class Upstream:
    """A service as the forwarder knows it. ``origin`` is ``http://host:port``."""

    def __init__(self, name: str, origin: str) -> None:
        self.name = name
        self.origin = origin
        self.breaker = Breaker(name)
        self.seconds = UPSTREAM_SECONDS.labels(name)

    def failed(self, error: Exception) -> None:
        """Notes that it did not answer."""
        UPSTREAM_FAILURES.labels(self.name, type(error).__name__).inc()
        log.warning("upstream_unanswered", upstream=self.name, error=f"{type(error).__name__}: {error}"[:200])
        self.breaker.failed()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request on its way to a service."""

    route: Route
    method: str
    url: URL
    headers: CIMultiDict[str]
    body: RequestBody
    keyed: bool
    """The service will know it again by its ``Idempotency-Key``."""
    until: float
    """When its time is over, on the monotonic clock."""

    @property
    def repeatable(self) -> bool:
        """Whether it does no harm to send it again when no answer came."""
        return (self.keyed or self.method in ("GET", "HEAD")) and self.body.repeatable


class Forwarder:
    """Sends requests to the service of their route. ``async with`` opens and closes the pool."""

    def __init__(self, upstreams: Mapping[str, str], addresses: ClientAddresses) -> None:
        """``upstreams`` maps service names to origins."""
        self._upstreams = {name: Upstream(name, origin) for name, origin in upstreams.items()}
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

    async def forward(
        self, route: Route, method: str, token: MintedToken, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answers the request by the service's answer to ``method``.

        Raises InvalidInput, PayloadTooLarge, ClientTooSlow, and Unavailable when the service did not begin to answer.
        An answer that breaks off is left incomplete, so that the client sees it broken too.
        """
        until = monotonic() + route.total_seconds
        upstream = self._upstreams[route.service]
        headers = self._headers(route, scope, token)
        keyed = route.keyed and "Idempotency-Key" in headers
        body = RequestBody(scope["headers"], receive, route.body_bytes, keep=keyed)
        outgoing = Outgoing(route, method, _url(upstream, scope), headers, body, keyed, until)
        try:
            async with unless_client_leaves(body), await self._answer(upstream, outgoing) as answer:
                await _relay(answer, send, route, head=scope["method"] == "HEAD")
        except ClientGone:
            log.info("client_left", upstream=route.service)
            await send({"type": "http.response.start", "status": 499, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    def _headers(self, route: Route, scope: Scope, token: MintedToken) -> CIMultiDict[str]:
        headers = CIMultiDict(passed_in(scope["headers"], webhook=route.webhook))
        headers["Authorization"] = token.authorization
        if route.webhook and (given := values(scope["headers"], b"authorization")):
            headers["X-Webhook-Authorization"] = _only(given)
        headers["X-Request-Id"] = current_trace().correlation_id
        headers.extend(self._addresses.forwarded(scope))
        return headers

    async def _answer(self, upstream: Upstream, outgoing: Outgoing) -> aiohttp.ClientResponse:
        """The first answer of the service; a harmless request that got none is sent once more."""
        for attempt in range(1, _ATTEMPTS + 1):
            upstream.breaker.check()
            try:
                with span(f"{outgoing.method} {upstream.name}", "client", _noted(upstream, outgoing)) as step:
                    outgoing.headers["traceparent"] = step.traceparent
                    answer = await self._ask(upstream, outgoing)
                    tell_answer(step, answer.status)
            except _UNANSWERED as error:
                _blame_the_client(outgoing.body, error)
                upstream.failed(error)
                if attempt == _ATTEMPTS or isinstance(error, TimeoutError) or not outgoing.repeatable:
                    raise _unavailable(error) from None
                SENT_AGAIN.labels(upstream.name).inc()
                continue
            if answer.status == 503:
                upstream.breaker.failed()
            else:
                upstream.breaker.answered()
            return answer
        raise AssertionError("the last attempt answers or raises")

    async def _ask(self, upstream: Upstream, outgoing: Outgoing) -> aiohttp.ClientResponse:
        assert self._http is not None, "the forwarder is not open"
        route, started = outgoing.route, monotonic()
        left = max(outgoing.until - started, 0.001)
        outgoing.headers[BUDGET_HEADER] = str(int(min(left, route.idle_seconds) * _SERVICE_SHARE * 1000))
        answer = await self._http.request(
            outgoing.method,
            outgoing.url,
            headers=outgoing.headers,
            data=outgoing.body if outgoing.body.expected else None,
            timeout=ClientTimeout(
                total=left, connect=_POOL_SECONDS, sock_connect=_CONNECT_SECONDS, sock_read=route.idle_seconds
            ),
            allow_redirects=False,
        )
        upstream.seconds.observe(monotonic() - started)
        return answer


def _noted(upstream: Upstream, outgoing: Outgoing) -> Attributes:
    return {"http.request.method": outgoing.method, "http.route": outgoing.route.path, "peer.service": upstream.name}


def _url(upstream: Upstream, scope: Scope) -> URL:
    target = scope["raw_path"].decode("ascii")
    if scope["query_string"]:
        target += "?" + scope["query_string"].decode("ascii")
    return URL(upstream.origin + target, encoded=True)


def _blame_the_client(body: RequestBody, error: Exception) -> None:
    """Raises when it was the client's body that ended or stalled, and not the service."""
    if body.fault:
        raise body.fault from None
    in_all = isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ServerTimeoutError)
    if in_all and not body.arrived:
        raise ClientTooSlow("The request's body did not arrive in time.") from None


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


def _unavailable(error: Exception) -> Unavailable:
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
