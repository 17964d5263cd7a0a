"""How far the clocks of the parts differ from ours: signatures, tokens and leases are judged by them."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from common.db.driver import LOST
from entrain.checks.databases import session
from entrain.deployment import Deployment
from entrain.findings import Check, Outcome, fail, ok, said, skip, warn
from entrain.outside import FAILED, ask

FAIR, BAD = 3.0, 30.0
"""Seconds; a header tells whole seconds only."""
_ADVICE = "keep both machines' clocks by NTP; if every clock here differs alike, it is the one this runs on"


async def _database(deployment: Deployment) -> Outcome:
    try:
        async with session(deployment.owner("identity").direct_url) as opened:
            before = datetime.now(UTC)
            told: datetime = await opened.fetchval("SELECT clock_timestamp()")
            after = datetime.now(UTC)
    except LOST as error:
        return fail(said(error), "see database.identity")
    return _judged((told - (before + (after - before) / 2)).total_seconds())


async def _of(address: Callable[[Deployment], str | None], deployment: Deployment) -> Outcome:
    url = address(deployment)
    if url is None:
        return skip("not set")
    try:
        ahead = (await ask(url)).clock_ahead()
    except FAILED as error:
        return fail(f"{url}: {said(error)}", "check the address and the way there")
    return skip(f"{url} does not tell its time") if ahead is None else _judged(ahead)


def _judged(ahead: float) -> Outcome:
    told = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} ours"
    if abs(ahead) <= FAIR:
        return ok(told)
    return warn(told, _ADVICE) if abs(ahead) <= BAD else fail(told, _ADVICE)


def _storage(deployment: Deployment) -> str:
    return deployment.media.aws_endpoint_url_s3 or f"https://s3.{deployment.media.aws_region}.amazonaws.com"


CHECKS = (
    Check("clock.database", _database),
    Check("clock.gateway", partial(_of, lambda deployment: f"{deployment.public_url}/health")),
    Check("clock.storage", partial(_of, _storage)),
    Check("clock.clerk", partial(_of, lambda deployment: deployment.gateway.jwks_url)),
    Check("clock.revenuecat", partial(_of, lambda deployment: deployment.billing.revenuecat_api_url)),
)
