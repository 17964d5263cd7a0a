"""Whether session tokens can be judged: the issuers' keys, and that they are the right issuers'."""

from urllib.parse import urlsplit

from common.key_documents import BadKeySet, read_key_set
from common.signatures import PublicKey
from entrain.deployment import Deployment
from entrain.findings import Check, Outcome, fail, ok, said, skip, warn
from entrain.outside import FAILED, ask
from gateway.supabase import issuer_of_project

CLERK_ALGORITHMS = ("RS256",)
SUPABASE_ALGORITHMS = ("ES256", "RS256")
_DOWN = "nobody new can sign in, and after a day nobody at all"


async def _clerk(deployment: Deployment) -> Outcome:
    settings = deployment.gateway
    url = settings.jwks_url
    if url is None:
        return ok("CLERK_JWT_KEY alone: rotated by hand")
    try:
        keys = await _published(url, CLERK_ALGORITHMS)
    except (BadKeySet, *FAILED) as error:
        advice = f"check CLERK_PUBLISHABLE_KEY or CLERK_JWKS_URL and the way out of the network: {_DOWN}"
        return fail(f"{url}: {said(error)}", advice)
    origin = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    seen = f"{len(keys)} usable key(s) at {url}"
    if not any(issuer.startswith(origin) for issuer in settings.issuers):
        expected = ", ".join(sorted(settings.issuers))
        return warn(f"{seen}, but the issuer is {expected}", "CLERK_JWKS_URL and CLERK_ISSUERS must be one instance's")
    return ok(f"{seen}, the issuer's own")


async def _supabase(deployment: Deployment) -> Outcome:
    project = deployment.gateway.supabase_url
    if project is None:
        return skip("no SUPABASE_URL")
    url = f"{issuer_of_project(project)}/.well-known/jwks.json"
    try:
        keys = await _published(url, SUPABASE_ALGORITHMS)
    except (BadKeySet, *FAILED) as error:
        advice = "switch the project to asymmetric signing keys (Project settings, JWT keys); check SUPABASE_URL"
        return fail(f"{url}: {said(error)}", advice)
    return ok(f"{len(keys)} usable key(s) at {url}")


async def _published(url: str, algorithms: tuple[str, ...]) -> dict[str, list[PublicKey]]:
    reply = await ask(url)
    if reply.status != 200:
        raise BadKeySet(f"status {reply.status}")
    return read_key_set(reply.body, algorithms)


async def _secret_key(deployment: Deployment) -> Outcome:
    """The secret key opens the instance whose keys the gateway believes."""
    settings = deployment.identity
    if settings.clerk_secret_key is None:
        return warn("CLERK_SECRET_KEY is not set", "set it: without it accounts are not deleted at Clerk")
    key = settings.clerk_secret_key.get_secret_value()
    try:
        reply = await ask(f"{settings.clerk_api_url}/v1/jwks", headers={"Authorization": f"Bearer {key}"})
        url = deployment.gateway.jwks_url
        published = await _published(url, CLERK_ALGORITHMS) if url else None
    except (BadKeySet, *FAILED) as error:
        return fail(said(error), "check CLERK_API_URL and the way out of the network; see issuer.clerk")
    if reply.status in (401, 403):
        return fail(f"Clerk refuses the key ({reply.status})", "put the instance's secret key into CLERK_SECRET_KEY")
    try:
        own = read_key_set(reply.body, CLERK_ALGORITHMS)
    except BadKeySet as error:
        return fail(f"{settings.clerk_api_url}/v1/jwks answered {reply.status}: {said(error)}", "check CLERK_API_URL")
    if published is not None and not own.keys() & published.keys():
        return fail("the key is of another Clerk instance", "take CLERK_SECRET_KEY from the publishable key's instance")
    return ok("accepted, of the instance whose keys the gateway uses")


CHECKS = (
    Check("issuer.clerk", _clerk),
    Check("issuer.supabase", _supabase),
    Check("clerk.secret-key", _secret_key),
)
