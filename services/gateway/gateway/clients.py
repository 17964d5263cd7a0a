"""Where a request comes from, as far as that can be believed."""

import ipaddress
from collections.abc import Collection

from starlette.types import Scope

from gateway.headers import values


class ClientAddresses:
    """Rebuilds ``X-Forwarded-*`` for the services. What a peer claims counts only when the peer is a trusted proxy."""

    def __init__(self, trusted: Collection[str], public_url: str | None) -> None:
        self._trusted = [ipaddress.ip_network(network) for network in trusted]
        self._public = public_url.split("://", 1) if public_url else None

    @property
    def trusts_anyone(self) -> bool:
        return bool(self._trusted)

    def address(self, scope: Scope) -> str:
        """The address of the client: the peer, or the nearest one before the trusted proxies."""
        peer = scope["client"][0] if scope.get("client") else ""
        if not self._is_trusted(peer):
            return peer
        claimed = b",".join(values(scope["headers"], b"x-forwarded-for")).decode("latin-1").split(",")
        for hop in reversed([part.strip() for part in claimed]):
            if not _is_address(hop):
                break
            peer = hop
            if not self._is_trusted(hop):
                break
        return peer

    def forwarded(self, scope: Scope) -> list[tuple[str, str]]:
        """``X-Forwarded-For``, ``-Proto`` and ``-Host``: what clients see, as configured or else as they asked."""
        proto, host = self._public or [scope["scheme"], values(scope["headers"], b"host")[0].decode("latin-1")]
        return [
            ("X-Forwarded-For", self.address(scope)),
            ("X-Forwarded-Proto", proto),
            ("X-Forwarded-Host", host),
        ]

    def _is_trusted(self, address: str) -> bool:
        if not self._trusted or not _is_address(address):
            return False
        return any(ipaddress.ip_address(address) in network for network in self._trusted)


def shared_by_one(address: str) -> str:
    """What stands for the owner of an address when requests are counted: of IPv6, the network one customer is given."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
