"""The public address book: which path belongs to which service, and which paths need no user."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import InvalidInput, NotFound
from gateway.allowances import BROWSING, CHANGING, EXPORTING, GENERATING, NOTIFYING, PLAYING, SYNCING, Allowance

OWN = "gateway"
_BODY = 1024 * 1024
_SMALL_BODY = 64 * 1024
_MAXIMUM_TARGET = 4096
_PATH = re.compile(rb"/|(?:/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+/?")
_QUERY = re.compile(rb"[\x21-\x7e]*")
_HIDDEN = re.compile(rb"%(?:[01][0-9a-f]|2[5ef]|5c|7f)", re.IGNORECASE)
"""Escapes that a service further in might read as a separator, a dot, a control character or another escape."""


@dataclass(frozen=True, slots=True)
class Route:
    """A path template; ``{…}`` stands for one segment."""

    path: str
    methods: frozenset[str]
    service: str
    public: bool
    """Needs no user."""
    webhook: bool
    """The sender's signature headers pass, and its Authorization as ``X-Webhook-Authorization``."""
    idle_seconds: float
    """Longest silence of the service, before and within its answer."""
    total_seconds: float
    audiences: tuple[str, ...]
    """Who takes the internal token: the service, and those it may carry the token on to."""
    body_bytes: int
    """The largest body that is let through."""
    keyed: bool
    """The service honours ``Idempotency-Key``, so that a request with one may be sent again."""
    reads: Allowance | None
    writes: Allowance | None
    in_person: frozenset[str]
    """The methods that are refused to whoever acts in the user's name."""

    @property
    def allow(self) -> str:
        """The value of the ``Allow`` header."""
        implied = {"OPTIONS"} | ({"HEAD"} if "GET" in self.methods else set())
        return ", ".join(sorted(self.methods | implied))

    def allowance(self, method: str) -> Allowance | None:
        """What the request is counted against, if anything."""
        return self.reads if method in ("GET", "HEAD") else self.writes

    def upstream_method(self, method: str) -> str | None:
        """The method to send on: HEAD becomes GET where the service has no HEAD of its own. None: not allowed."""
        if method in self.methods:
            return method
        return "GET" if method == "HEAD" and "GET" in self.methods else None

    def is_personal(self, method: str) -> bool:
        """Whether only the user in person may ask with this method."""
        return self.upstream_method(method) in self.in_person


def _route(
    methods: str,
    path: str,
    service: str,
    *,
    public: bool = False,
    webhook: bool = False,
    idle: float = 30.0,
    total: float = 120.0,
    carried_to: str = "",
    body: int = _BODY,
    keyed: bool = False,
    reads: Allowance | None = None,
    writes: Allowance | None = CHANGING,
    in_person: str = "",
) -> Route:
    return Route(
        path,
        frozenset(methods.split()),
        service,
        public,
        webhook,
        idle,
        total,
        (service, *carried_to.split()),
        body,
        keyed,
        reads,
        writes,
        frozenset(in_person.split()),
    )


ROUTES: tuple[Route, ...] = (
    _route("GET", "/health", OWN, public=True),
    _route("GET", "/docs", OWN, public=True, reads=BROWSING),
    _route("GET", "/docs/{name}", OWN, public=True, reads=BROWSING),
    _route("GET", "/openapi.json", OWN, public=True, reads=BROWSING),
    _route("GET DELETE", "/me", "identity", carried_to="billing", in_person="DELETE"),
    _route("GET POST", "/me/values", "identity"),
    _route("GET PUT", "/me/struggle", "identity"),
    _route("GET PUT", "/me/preferences", "identity"),
    _route("GET", "/me/export", "identity", total=600.0, carried_to="billing media", in_person="GET", reads=EXPORTING),
    _route("GET", "/me/deletions/{id}", "identity", public=True, reads=PLAYING),
    _route("POST", "/webhooks/clerk", "identity", public=True, webhook=True, writes=NOTIFYING),
    _route("GET", "/me/subscription", "billing"),
    _route("POST", "/me/subscription/sync", "billing", body=_SMALL_BODY, writes=SYNCING, in_person="POST"),
    _route("GET", "/me/subscription/history", "billing"),
    _route("POST", "/webhooks/revenuecat", "billing", public=True, webhook=True, writes=NOTIFYING),
    _route("GET POST", "/sessions", "media", keyed=True),
    _route("GET DELETE", "/sessions/{id}", "media"),
    _route("POST", "/sessions/{id}/events", "media", body=_SMALL_BODY),
    _route("POST", "/sessions/{id}/start", "media", body=_SMALL_BODY),
    _route("POST", "/sessions/{id}/ensure-audio", "media", body=_SMALL_BODY),
    _route("GET", "/sessions/{id}/playback-bundle", "media"),
    _route("GET", "/jobs/{id}", "media"),
    _route("POST", "/affirmations/generate", "media", idle=90.0, body=_SMALL_BODY, writes=GENERATING),
    _route("GET", "/me/entitlement", "media"),
    _route("GET", "/me/curation", "media"),
    _route("GET POST", "/me/curation/preferences", "media"),
    _route("GET", "/voices", "media"),
    _route("GET HEAD", "/play/{grant}", "media", public=True, reads=PLAYING),
)


@dataclass(slots=True)
class _Node:
    children: dict[bytes, "_Node"]
    any_segment: "_Node | None" = None
    route: Route | None = None


class RouteTable:
    def __init__(self, routes: Iterable[Route] = ROUTES) -> None:
        self._root = _Node({})
        for route in routes:
            node = self._root
            for segment in route.path.encode().split(b"/")[1:]:
                if segment.startswith(b"{"):
                    node.any_segment = node = node.any_segment or _Node({})
                else:
                    node = node.children.setdefault(segment, _Node({}))
            node.route = route

    def find(self, path: bytes, query: bytes) -> Route:
        """The route of a raw request target. Raises InvalidInput for one that could be read in two ways, NotFound."""
        if len(path) + len(query) > _MAXIMUM_TARGET:
            raise InvalidInput("The address is too long.")
        if not _PATH.fullmatch(path) or _HIDDEN.search(path) or not _QUERY.fullmatch(query):
            raise InvalidInput("The address is not valid.")
        node: _Node | None = self._root
        for segment in path.split(b"/")[1:]:
            node = node.children.get(segment) or (node.any_segment if segment else None) if node else None
        if node is None or node.route is None:
            raise NotFound("There is nothing at this address.")
        return node.route
