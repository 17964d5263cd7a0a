"""``python -m identity api | worker | migrate | parked``."""

import sys

from common.command_line import parser, run
from identity.service import build
from identity.settings import IdentitySettings

PORT = 8701


def main() -> int:
    root, _ = parser("identity", port=PORT, summary="Who a user is, what they value, and what they prefer")
    arguments = root.parse_args()
    settings = IdentitySettings.load()
    return run(arguments, settings, lambda: build(settings))


if __name__ == "__main__":
    sys.exit(main())
