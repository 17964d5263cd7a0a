"""``python -m identity api | worker | migrate | invariants | parked | link | unlink | links | deletions``."""

import asyncio
import sys

from common.command_line import parser, run
from common.observability import configure_logging, logger
from common.service import Service
from identity.service import build
from identity.settings import IdentitySettings
from identity.support import add_commands, run_command

PORT = 8701


def main() -> int:
    root, commands = parser("identity", port=PORT, summary="Who a user is, what they value, and what they prefer")
    add_commands(commands)
    arguments = root.parse_args()
    settings = IdentitySettings.load()

    def started() -> Service:
        if arguments.command in ("api", "worker"):
            _say_what_is_off(settings)
        return build(settings)

    if not hasattr(arguments, "support"):
        return run(arguments, settings, started)
    configure_logging(settings.service, level=settings.log_level, style=settings.log_format)
    return asyncio.run(run_command(build(settings), arguments))


def _say_what_is_off(settings: IdentitySettings) -> None:
    log = logger("identity")
    if not settings.clerk_webhook_signing_secrets:
        log.warning("webhooks_not_taken", remedy="set CLERK_WEBHOOK_SIGNING_SECRETS")
    if settings.clerk_secret_key is None:
        log.warning("provider_not_asked", remedy="set CLERK_SECRET_KEY")


if __name__ == "__main__":
    sys.exit(main())
