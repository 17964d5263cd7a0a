"""Whether each service would start with these settings."""

from functools import partial

from entrain.deployment import CLASSES, OWNERS, Deployment
from entrain.findings import Check, Outcome, fail, ok, warn

_ADVICE = "set it as .env.example describes it; every process of the service exits 78 until then"


async def _complete(service: str, deployment: Deployment) -> Outcome:
    if faults := deployment.faults.get(service):
        return fail("; ".join(faults), _ADVICE)
    settings = deployment.settings[service]
    production = settings.entrain_env == "production"
    if service in OWNERS:
        owner = deployment.owner(service)
        if not (owner.gateway_jwks_url or owner.gateway_public_keys):
            return fail("neither GATEWAY_JWKS_URL nor GATEWAY_PUBLIC_KEYS is set", _ADVICE)
    if production and deployment.broker_url(service) is None:
        return _without_broker(service)
    if production and service == "gateway" and not deployment.gateway.public_url:
        return warn("PUBLIC_URL is not set", "set PUBLIC_URL to the address the app uses: https://api.example.com")
    return ok(f"complete, {settings.entrain_env}")


def _without_broker(service: str) -> Outcome:
    if service in OWNERS:
        return fail("RABBITMQ_URL is not set: no worker starts", "set RABBITMQ_URL for the service's worker")
    return warn("RABBITMQ_URL is not set", "set it: without it a token is good until it ends, also after a sign-out")


CHECKS = tuple(Check(f"settings.{service}", partial(_complete, service)) for service in CLASSES)
