"""What the world sees at the public address."""

import asyncio
import ssl
from datetime import UTC, datetime
from urllib.parse import urlsplit

from entrain.deployment import Deployment, is_nearby
from entrain.findings import Check, Outcome, fail, ok, said, warn
from entrain.outside import FAILED, Reply, ask

RENEWED_DAYS_BEFORE = 14
NOBODY, NOWHERE = "/me", "/doctor/nothing-is-here"


async def _encrypted(deployment: Deployment) -> Outcome:
    url = urlsplit(deployment.public_url)
    if url.scheme != "https":
        if is_nearby(deployment.public_url):
            return ok(f"{deployment.public_url}, on this machine")
        return fail(
            f"{deployment.public_url} is not encrypted", "end TLS in front of the gateway; PUBLIC_URL is https://…"
        )
    try:
        until = await _good_until(url.hostname or "", url.port or 443)
    except ssl.SSLError as error:
        return fail(f"the certificate is refused: {said(error)}", "renew it, with its chain, for this host")
    except OSError as error:
        return fail(f"{url.netloc} cannot be reached: {said(error)}", "check DNS and the load balancer")
    days = (until - datetime.now(UTC)).days
    if days < RENEWED_DAYS_BEFORE:
        return warn(f"the certificate ends in {days} days", "see why it was not renewed by itself")
    return ok(f"{url.netloc}, certificate good for {days} days")


async def _good_until(host: str, port: int) -> datetime:
    _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
    try:
        certificate = writer.get_extra_info("peercert")
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    finally:
        writer.close()


async def _refuses_strangers(deployment: Deployment) -> Outcome:
    return await _envelope(deployment, NOBODY, 401)


async def _knows_its_paths(deployment: Deployment) -> Outcome:
    return await _envelope(deployment, NOWHERE, 404)


async def _envelope(deployment: Deployment, path: str, expected: int) -> Outcome:
    url = f"{deployment.public_url}{path}"
    try:
        reply = await ask(url)
    except FAILED as error:
        advice = "start `python -m gateway api`; check DNS and the load balancer, and that PUBLIC_URL is right"
        return fail(f"GET {url}: {said(error)}", advice)
    return _judged(url, reply, expected)


def _judged(url: str, reply: Reply, expected: int) -> Outcome:
    if reply.status == expected and reply.is_envelope:
        return ok(f"GET {url} answered {expected} in the error envelope")
    if reply.status == expected:
        return fail(f"GET {url} answered {expected}, not from the gateway", "something in front of it answers instead")
    advice = "nobody may come in without a token" if reply.status == 200 else "see the gateway's log"
    return fail(f"GET {url} answered {reply.status} instead of {expected}", advice)


CHECKS = (
    Check("public.tls", _encrypted),
    Check("public.unauthorized", _refuses_strangers),
    Check("public.not-found", _knows_its_paths),
)
