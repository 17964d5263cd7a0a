"""Which headers pass the gateway, either way.

A client's headers are stripped of everything a service might take for our own word. Names are folded first, since some
servers treat ``-``, ``_`` and ``.`` alike.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from common.errors import InvalidInput

RawHeaders = list[tuple[bytes, bytes]]
"""As ASGI has them: lower-case names, undecoded values."""

MAXIMUM_HEADERS = 100
MAXIMUM_HEADER_BYTES = 16 * 1024

_HOST = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"http2-settings",
    }
)
_NEVER_IN = _HOP_BY_HOP | {
    b"host",
    b"expect",
    b"authorization",
    b"cookie",
    b"cookie2",
    b"remote-user",
    b"txn-token",
    b"x-request-id",
    b"x-request-timeout-ms",
    b"x-correlation-id",
    b"traceparent",
    b"tracestate",
    b"baggage",
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-original-url",
    b"x-rewrite-url",
    b"x-http-method-override",
    b"x-http-method",
    b"x-method-override",
    b"x-webhook-authorization",
}
_NEVER_IN_PREFIXES = (
    b"x-user-",
    b"x-auth-",
    b"x-identity-",
    b"x-internal-",
    b"x-clerk-",
    b"x-forwarded-",
    b"x-remote-",
    b"x-amzn-oidc-",
    b"x-goog-",
    b"x-ms-client-principal",
    b"x-ssl-client-",
    b"x-entrain-",
)
_WEBHOOKS_ONLY = frozenset(
    {b"x-revenuecat-webhook-signature", b"webhook-id", b"webhook-timestamp", b"webhook-signature"}
)
_WEBHOOKS_ONLY_PREFIXES = (b"svix-",)
_NEVER_OUT = _HOP_BY_HOP | {b"server", b"date", b"x-powered-by", b"set-cookie", b"set-cookie2", b"via", b"alt-svc"}
_NEVER_OUT |= {b"x-request-id", b"traceparent", b"tracestate", b"strict-transport-security"}
_NEVER_OUT_PREFIXES = (b"x-internal-", b"x-debug-", b"access-control-", b"x-entrain-")


def values(headers: RawHeaders, name: bytes) -> list[bytes]:
    return [value for given, value in headers if given == name]


def check_headers(headers: RawHeaders) -> None:
    """Raises InvalidInput for more or larger headers than any client of ours sends, or without one good Host."""
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > MAXIMUM_HEADERS or size > MAXIMUM_HEADER_BYTES:
        raise InvalidInput(f"Send at most {MAXIMUM_HEADERS} headers of {MAXIMUM_HEADER_BYTES} bytes together.")
    hosts = values(headers, b"host")
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise InvalidInput("Send one valid Host header.")


def passed_in(headers: RawHeaders, *, webhook: bool) -> list[tuple[str, str]]:
    """The client's headers that go on to a service. Raises InvalidInput for values that are not UTF-8 text."""
    listed = _listed_by_connection(headers)
    passed = [(name, value) for name, value in headers if _passes_in(name, webhook) and _fold(name) not in listed]
    try:
        return [(name.decode(), value.decode()) for name, value in passed]
    except UnicodeDecodeError:
        raise InvalidInput("A header is not valid UTF-8.") from None


def passed_out(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """A service's headers that go on to the client."""
    given = [(name.lower(), value) for name, value in headers]
    listed = _listed_by_connection(given)
    return [(name, value) for name, value in given if _passes_out(name) and _fold(name) not in listed]


def _fold(name: bytes) -> bytes:
    return name.replace(b"_", b"-").replace(b".", b"-")


def _listed_by_connection(headers: RawHeaders) -> frozenset[bytes]:
    found = [value for name, value in headers if name == b"connection"]
    if not found:
        return frozenset()
    return frozenset(_fold(part.strip().lower()) for value in found for part in value.split(b","))


@lru_cache(maxsize=4096)
def _passes_in(name: bytes, webhook: bool) -> bool:
    folded = _fold(name)
    if folded in _NEVER_IN or folded.startswith(_NEVER_IN_PREFIXES):
        return False
    return webhook or not (folded in _WEBHOOKS_ONLY or folded.startswith(_WEBHOOKS_ONLY_PREFIXES))


@lru_cache(maxsize=4096)
def _passes_out(name: bytes) -> bool:
    folded = _fold(name)
    return folded not in _NEVER_OUT and not folded.startswith(_NEVER_OUT_PREFIXES)
