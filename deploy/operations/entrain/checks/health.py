"""Whether every process answers, and is ready."""

from functools import partial
from urllib.parse import urlsplit

from entrain.deployment import INTERNAL_OFFSET, OWNERS, Deployment, is_nearby
from entrain.findings import Check, Outcome, fail, ok, said, skip, warn
from entrain.outside import FAILED, ask

PROCESSES = ("gateway", *(f"{service}-{role}" for service in OWNERS for role in ("api", "worker")))


async def _answers(process: str, deployment: Deployment) -> Outcome:
    service, _, role = process.partition("-")
    given = deployment.health.get(process)
    if role == "worker" and given is None and deployment.broker_url(service) is None:
        return skip("no RABBITMQ_URL, and so no separate worker")
    url = given or _address(deployment, service, role)
    if url is None:
        return warn("its address is not known", f"name it: --health {process}=http://host:port")
    try:
        live, ready = await ask(f"{url}/health/live"), await ask(f"{url}/health/ready")
    except FAILED as error:
        advice = f"start {_command(service, role)}, or name where it is: --health {process}=http://host:port"
        return fail(f"{url} does not answer: {said(error)}", advice)
    if live.status != 200:
        return fail(f"{url}/health/live answered {live.status}", f"read the log of {process} and start it again")
    return _readiness(process, url, ready.status, ready.document() or {})


def _readiness(process: str, url: str, status: int, told: dict[str, dict[str, str]]) -> Outcome:
    if status != 200:
        missing = "; ".join(f"{name}: {problem}" for name, problem in told.get("missing", {}).items())
        return fail(
            f"{url} is not ready: {missing or status}", "the other findings say what is down; its log says more"
        )
    if impaired := told.get("impaired"):
        problems = "; ".join(f"{name}: {problem}" for name, problem in impaired.items())
        return warn(f"{url} is ready, but {problems}", f"read the log of {process}")
    return ok(f"{url} is ready")


def _command(service: str, role: str) -> str:
    return f"`python -m {service} {role or 'api'}`"


def _address(deployment: Deployment, service: str, role: str) -> str | None:
    """Where a process listens, as far as other settings tell."""
    if service == "gateway":
        return _gateway(deployment)
    api = deployment.gateway.upstreams[service].rstrip("/")
    if role == "api":
        return api
    parts = urlsplit(api)
    host = parts.hostname or ""
    worker = host if is_nearby(api) else host.replace("-api", "", 1).replace(service, f"{service}-worker", 1)
    return f"http://{worker}:{(parts.port or 80) + INTERNAL_OFFSET}"


def _gateway(deployment: Deployment) -> str | None:
    """The internal listener: beside its keys, or above the public port on this machine."""
    for service in OWNERS:
        settings = deployment.settings.get(service)
        if keys := getattr(settings, "gateway_jwks_url", None):
            parts = urlsplit(keys)
            return f"{parts.scheme}://{parts.netloc}"
    parts = urlsplit(deployment.public_url)
    if not is_nearby(deployment.public_url) or parts.port is None:
        return None
    return f"http://{parts.hostname}:{parts.port + INTERNAL_OFFSET}"


CHECKS = tuple(Check(f"health.{process}", partial(_answers, process)) for process in PROCESSES)
