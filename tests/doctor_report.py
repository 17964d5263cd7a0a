"""Has the doctor look at a deployment, healthy and then broken, and writes what it says into docs/doctor.md.

    python -m tests.doctor_report [--page docs/doctor.md]

Starts PostgreSQL, RabbitMQ, an S3 server and seven processes of its own; takes about two minutes.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from common.messaging.rabbit import RabbitBus
from embedded.journey import Journey
from embedded.kept_files import new_rsa_key, private_pem
from entrain.checks.policies import DEFINITIONS
from tests.support.deployment import Deployment
from tests.support.pages import write_sections
from tests.support.servers_apart import BUCKET, ServersApart, servers_apart

USER = "user_2ada"
HEALTHY = """\
Seven processes, RabbitMQ, PostgreSQL and an S3 server on one machine, Clerk, RevenueCat and the CDN played by the
stand-ins:"""
BROKEN = """\
The billing worker killed, a schema behind, a parked message, a policy of the broker removed, a bucket opened by a
policy, the key server down, and settings with a wrong database password, CDN key, RevenueCat key and webhook secret:"""
EVERYBODY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    ],
}
STATISTICS_SECONDS = 6
"""The management API tells of queues as they were some seconds ago."""


def main() -> None:
    write_sections(__doc__, "docs/doctor.md", _sections)


async def _sections(folder: Path) -> Mapping[str, str]:
    async with servers_apart(folder) as servers, servers.deployment() as deployment:
        deployment.environment.update(servers.rabbitmq.administrator)
        for policy in json.loads(DEFINITIONS.read_text())["policies"]:
            await servers.rabbitmq.api("PUT", f"policies/{BUCKET}/{policy['name']}", {**policy, "vhost": BUCKET})
        await deployment.seed()
        deployment.clerk.sign_up(USER)
        await Journey(deployment.url, deployment, tell=print).play(USER)
        await asyncio.sleep(STATISTICS_SECONDS)
        healthy = await _told(deployment, {}, "doctor", "--write")
        user = await _told(deployment, {}, "user", USER)
        wrong = await _broken(servers, deployment)
        await asyncio.sleep(STATISTICS_SECONDS)
        return {
            "A healthy deployment": f"{HEALTHY}\n\n{healthy}",
            "The same, broken": f"{BROKEN}\n\n{await _told(deployment, wrong, 'doctor')}",
            "A user, as support sees them": user,
        }


async def _broken(servers: ServersApart, deployment: Deployment) -> Mapping[str, str]:
    """Breaks much of it; the settings that are wrong."""
    await deployment.kill("billing worker")
    session = await asyncpg.connect(deployment.database_url)
    await session.execute("UPDATE identity.alembic_version SET version_num = '0001'")
    await session.close()
    async with RabbitBus(deployment.environment["RABBITMQ_URL"], name="report") as bus:
        await bus.put("media.entitlements", b"not an event", {})
    await servers.rabbitmq.api("DELETE", f"policies/{BUCKET}/waiting")
    async with servers.objects.client() as s3:
        await s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(EVERYBODY))
    deployment.clerk.faults.fail_next("unavailable", 10, where="jwks")
    before, _, host = deployment.environment["MEDIA_DATABASE_URL"].rpartition("@")
    return {
        "MEDIA_DATABASE_URL": f"{before.rpartition(':')[0]}:WrongPassword@{host}",
        "CLOUDFRONT_PRIVATE_KEY": private_pem(new_rsa_key()),
        "REVENUECAT_API_KEY": "sk_wrong_key",
        "REVENUECAT_WEBHOOK_SECRETS": "whsec_another_secret",
    }


async def _told(deployment: Deployment, changes: Mapping[str, str], *arguments: str) -> str:
    """The command, what it said, and its exit code, as a block."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "entrain", *arguments,
        env={**deployment.environment, **changes}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await child.communicate()
    said = "\n".join(line.rstrip() for line in output.decode().splitlines())
    return f"```\n$ python -m entrain {' '.join(arguments)}\n{said}\nexit code {child.returncode}\n```"


if __name__ == "__main__":
    main()
