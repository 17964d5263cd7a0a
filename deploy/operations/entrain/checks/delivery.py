"""Whether audio is heard with our signature, and with nothing less."""

from common.clock import utc_now
from entrain.checks.storage import REFUSED, some_object
from entrain.deployment import Deployment
from entrain.findings import Check, Outcome, fail, ok, said, warn
from entrain.outside import FAILED, Reply, ask
from media.delivery import audio_urls
from media.settings import MediaSettings
from media.storage import S3Storage

_ONE_BYTE = {"Range": "bytes=0-0"}


async def _signed_and_nothing_less(deployment: Deployment) -> Outcome:
    settings = deployment.media
    try:
        key = await some_object(settings)
        if key is None:
            return warn("the bucket is empty", "run `python -m media seed-catalog`, then look again")
        async with S3Storage(settings) as storage:
            url = await audio_urls(settings, storage, utc_now).url(key)
    except REFUSED as error:
        return fail(said(error), "see storage.bucket")
    try:
        signed = await ask(url, headers=_ONE_BYTE)
        bare, altered = await ask(url.partition("?")[0]), await ask(_altered(url))
    except FAILED as error:
        return fail(f"{url.partition('?')[0]}: {said(error)}", "check CLOUDFRONT_DOMAIN, its DNS and its certificate")
    return _judged(settings, key, signed, {"unsigned": bare, "with an altered signature": altered})


def _altered(url: str) -> str:
    """The same with one letter of the signature changed."""
    before, mark, signature = url.partition("Signature=")
    letter = signature[20]
    return f"{before}{mark}{signature[:20]}{'A' if letter != 'A' else 'B'}{signature[21:]}"


def _judged(settings: MediaSettings, key: str, signed: Reply, refused: dict[str, Reply]) -> Outcome:
    for how, reply in refused.items():
        if reply.status < 400:
            advice = "have the distribution's behaviour demand the key group, and the bucket open to it alone"
            return fail(f"{key} is given out {how} ({reply.status})", advice)
    if signed.status in (200, 206):
        told = ", ".join(f"{reply.status} {how}" for how, reply in refused.items())
        return ok(f"{key}: {signed.status} signed, {told}")
    if settings.cloudfront_key_pair_id is None:
        return fail(f"{key}: {signed.status} with a presigned URL", "see storage.bucket and clock.storage")
    if signed.status == 403:
        advice = (
            "the public half of CLOUDFRONT_PRIVATE_KEY must be CLOUDFRONT_KEY_PAIR_ID in the distribution's key "
            "group; if it is, the distribution may not read the bucket (origin access control)"
        )
        return fail(f"{key}: 403 with our signature by {settings.cloudfront_key_pair_id}", advice)
    return fail(f"{key}: {signed.status} with our signature", "check the distribution's origin and its path")


CHECKS = (Check("delivery.signature", _signed_and_nothing_less),)
