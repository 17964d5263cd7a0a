"""Whether RevenueCat answers our key, without making a customer there."""

from urllib.parse import quote

from common.db.driver import LOST
from entrain.checks.databases import session
from entrain.deployment import Deployment
from entrain.findings import Check, Outcome, fail, ok, said, warn
from entrain.outside import FAILED, ask

_CHANGED_LAST = """
    SELECT app_user_id FROM billing.change JOIN billing.snapshot ON app_user_id = user_id ORDER BY id DESC LIMIT 1
"""
"""Somebody who was read, and is likely to be there still. By the key of changes: none leads to readings."""
NO_ID = "x" * 1500
"""Longer than any id RevenueCat takes: asking for it answers whether the key is good and makes nobody a customer."""


async def _key(deployment: Deployment) -> Outcome:
    """Reads a customer who is known to be there: RevenueCat makes a new one of an id it does not know."""
    settings = deployment.billing
    try:
        async with session(settings.direct_url) as opened:
            known = await opened.fetchval(_CHANGED_LAST)
    except LOST:
        known = None  # the database's own checks tell
    url = f"{settings.revenuecat_api_url}/v1/subscribers/{quote(known or NO_ID, safe='')}"
    headers = {"Authorization": f"Bearer {settings.revenuecat_api_key.get_secret_value()}"}
    try:
        reply = await ask(url, headers={**headers, "Accept": "application/json"})
    except FAILED as error:
        return fail(said(error), "check REVENUECAT_API_URL and the way out of the network")
    if reply.status in (401, 403):
        advice = "put a secret key of the project's (API keys, version 1) into REVENUECAT_API_KEY"
        return fail(f"RevenueCat refuses the key ({reply.status})", advice)
    if known is None and reply.status in (400, 404, 414):
        return ok("accepted; no customer is known yet to be read")
    if reply.status == 200 and known is not None:
        return ok("accepted; a known customer was read")
    return warn(f"RevenueCat answered {reply.status}", "look again later; see its status page")


CHECKS = (Check("revenuecat.key", _key),)
