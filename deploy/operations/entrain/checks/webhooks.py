"""Whether the running services take webhooks with our secrets and no others.

A body without an event is sent: with a good signature it is refused for what it says (400), and nothing is stored.
"""

import base64
import hashlib
import hmac
import itertools
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from common.db.driver import LOST
from entrain.checks.databases import session
from entrain.deployment import Deployment
from entrain.findings import Check, Outcome, fail, ok, said, warn
from entrain.outside import FAILED, Reply, ask
from identity.svix import NotFromClerk, key_of

BODY = b"{}"
SILENT_HOURS = 48
_LAST = {
    "billing": "SELECT max(received_at) FROM billing.webhook_event",
    "identity": "SELECT max(received_at) FROM identity.webhook_seen",
}


async def _revenuecat(deployment: Deployment) -> Outcome:
    settings = deployment.billing
    secrets = [secret.get_secret_value() for secret in settings.revenuecat_webhook_secrets]
    values = [value.get_secret_value() for value in settings.revenuecat_webhook_authorization]
    url = f"{deployment.public_url}/webhooks/revenuecat"
    try:
        forged = await ask(url, "POST", headers=_revenuecat_headers("Bearer forged by the doctor", "forged"), body=BODY)
        if forged.status != 401:
            return _not_refused(url, forged)
        for value, secret in itertools.product(values or [""], secrets or [""]):
            signed = await ask(url, "POST", headers=_revenuecat_headers(value, secret), body=BODY)
            if signed.status != 400:
                return _other_secret("billing", "REVENUECAT_WEBHOOK_SECRETS and …_AUTHORIZATION", signed)
    except FAILED as error:
        return fail(f"{url}: {said(error)}", "see public.unauthorized")
    return ok("a forged one gets 401; ours are known")


def _revenuecat_headers(value: str, secret: str) -> dict[str, str]:
    stamp = str(int(time.time()))
    signature = hmac.new(secret.encode(), f"{stamp}.".encode() + BODY, hashlib.sha256).hexdigest()
    authorization = {"Authorization": value} if value else {}
    return {**authorization, "X-RevenueCat-Webhook-Signature": f"t={stamp},v1={signature}", **_JSON}


async def _clerk(deployment: Deployment) -> Outcome:
    secrets = deployment.identity.clerk_webhook_signing_secrets
    if not secrets:
        advice = "set it from Clerk's dashboard, Webhooks: without it nobody is signed out or deleted from there"
        return warn("CLERK_WEBHOOK_SIGNING_SECRETS is not set", advice)
    url = f"{deployment.public_url}/webhooks/clerk"
    try:
        forged = await ask(url, "POST", headers=_clerk_headers(b"forged by the doctor"), body=BODY)
        if forged.status != 400 or _message(forged) != NotFromClerk().message:
            return _not_refused(url, forged)
        for secret in secrets:
            signed = await ask(url, "POST", headers=_clerk_headers(key_of(secret.get_secret_value())), body=BODY)
            if signed.status != 400 or _message(signed) == NotFromClerk().message:
                return _other_secret("identity", "CLERK_WEBHOOK_SIGNING_SECRETS", signed)
    except FAILED as error:
        return fail(f"{url}: {said(error)}", "see public.unauthorized")
    return ok("a forged one is refused; ours are known")


def _clerk_headers(key: bytes) -> dict[str, str]:
    message, stamp = "msg_doctor", str(int(time.time()))
    signature = base64.b64encode(hmac.digest(key, f"{message}.{stamp}.".encode() + BODY, hashlib.sha256)).decode()
    return {"svix-id": message, "svix-timestamp": stamp, "svix-signature": f"v1,{signature}", **_JSON}


_JSON: Mapping[str, str] = {"Content-Type": "application/json"}


def _message(reply: Reply) -> Any:
    document = reply.document()
    return document.get("message") if isinstance(document, dict) else None


def _not_refused(url: str, reply: Reply) -> Outcome:
    return fail(
        f"a forged signature to {url} is answered {reply.status}",
        "see the log of the service",
    )


def _other_secret(service: str, variables: str, reply: Reply) -> Outcome:
    if reply.status in (400, 401):
        advice = f"the running {service} has another value of {variables}: give it and the provider this one"
        return fail("the running service does not know our secret", advice)
    return fail(f"a good signature is answered {reply.status}", f"see health.{service}-api and its log")


async def _last(service: str, deployment: Deployment) -> Outcome:
    provider = {"billing": "RevenueCat", "identity": "Clerk"}[service]
    try:
        async with session(deployment.owner(service).direct_url) as opened:
            at: datetime | None = await opened.fetchval(_LAST[service])
    except LOST as error:
        return fail(said(error), f"see database.{service} and revision.{service}")
    advice = f"send a test event from {provider}'s dashboard, and see there how the last ones were answered"
    if at is None:
        return warn(f"{provider} has never sent one", advice)
    hours = (datetime.now(UTC) - at).total_seconds() / 3600
    told = f"{provider}'s last came {hours:.1f} h ago"
    return warn(told, advice) if hours > SILENT_HOURS else ok(told)


async def _last_of_revenuecat(deployment: Deployment) -> Outcome:
    return await _last("billing", deployment)


async def _last_of_clerk(deployment: Deployment) -> Outcome:
    return await _last("identity", deployment)


CHECKS = (
    Check("webhook.revenuecat", _revenuecat),
    Check("webhook.clerk", _clerk),
    Check("webhook.last-revenuecat", _last_of_revenuecat),
    Check("webhook.last-clerk", _last_of_clerk),
)
