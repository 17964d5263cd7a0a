"""Cross-origin rules for browsers; the mobile app sends no Origin and never meets them."""

from collections.abc import Collection

from gateway.headers import RawHeaders, values

_METHODS = b"GET, POST, PUT, DELETE, OPTIONS, PATCH"
_HEADERS = b"Content-Type, Authorization, X-Requested-With, Idempotency-Key"
_EXPOSED = b"X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"
_MAX_AGE = b"86400"


class CorsRules:
    """``everyone`` takes any origin, for development; otherwise only those listed."""

    def __init__(self, origins: Collection[str], *, everyone: bool = False) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._everyone = everyone

    def answer_headers(self, headers: RawHeaders) -> RawHeaders:
        """What to add to the answer of a request with these headers."""
        vary = (b"vary", b"Origin")
        origin = self._allowed_origin(headers)
        if origin is None:
            return [vary]
        return [
            vary,
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", _EXPOSED),
        ]

    def preflight_headers(self, headers: RawHeaders) -> RawHeaders:
        """What to add to the answer of an OPTIONS request, beside ``answer_headers``."""
        if self._allowed_origin(headers) is None or not values(headers, b"access-control-request-method"):
            return []
        return [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _HEADERS),
            (b"access-control-max-age", _MAX_AGE),
        ]

    def _allowed_origin(self, headers: RawHeaders) -> bytes | None:
        given = values(headers, b"origin")
        if len(given) != 1 or not (self._everyone or given[0] in self._origins):
            return None
        return given[0]
