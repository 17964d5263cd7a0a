"""Sees to it that a RabbitMQ server is here for the tests. It is not started: the tests run a private node.

As root it is installed with apt. Without root, or where apt cannot install, Debian's package is unpacked into
`.cache/rabbitmq`, touching nothing else. Does nothing when a server is here already.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from debian import PrivateApt, SetupFailed, run_quietly
from progress import give_up, step

REPOSITORY = Path(__file__).resolve().parents[2]
UNPACKED = REPOSITORY / ".cache" / "rabbitmq"
SERVER = "usr/lib/rabbitmq/bin/rabbitmq-server"
ERLANG = "usr/lib/erlang"
# Erlang's own scripts name the folder Erlang was built for.
ERLANG_SCRIPTS = ("bin/erl", "bin/start", "bin/start_erl", "erts-*/bin/erl", "erts-*/bin/start", "erts-*/bin/start_erl")
PLACE = ".unpacked-at"


def main() -> int:
    """Runs the set-up; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unpack", action="store_true", help="unpack it, even as root or where one is installed")
    wanted = parser.parse_args()
    try:
        ensure(unpack_only=wanted.unpack)
    except SetupFailed as failure:
        return give_up(failure)
    return 0


def ensure(*, unpack_only: bool = False) -> None:
    """Returns when a server is here; SetupFailed with the way out when there is no way to get one."""
    if unpacked_here() or (installed() and not unpack_only):
        return
    reasons = []
    if os.geteuid() == 0 and not unpack_only:
        try:
            with step("installing RabbitMQ with apt"):
                install()
            return
        except SetupFailed as failure:
            reasons.append(str(failure))
    try:
        with step("unpacking RabbitMQ into .cache/rabbitmq"):
            unpack()
    except SetupFailed as failure:
        reasons.append(str(failure))
        way_out = "install it yourself (Debian: apt-get install rabbitmq-server) and run this again"
        raise SetupFailed(f"RabbitMQ cannot be had here: {way_out}\n" + "\n".join(reasons)) from failure


def installed() -> bool:
    """Whether the system has a server."""
    return (Path("/") / SERVER).exists() and (Path("/") / ERLANG / "bin/erl").exists()


def unpacked_here() -> bool:
    """Whether a server is unpacked in this very folder (its scripts hold the path, so a moved one does not count)."""
    place = UNPACKED / PLACE
    return place.exists() and place.read_text() == str(UNPACKED)


def install() -> None:
    """Installs Debian's package, with a fresh index; SetupFailed when apt cannot."""
    if shutil.which("apt-get") is None:
        raise SetupFailed("apt-get is not here")
    run_quietly(["apt-get", "-q", "update"])
    run_quietly(["apt-get", "-q", "install", "-y", "--no-install-recommends", "rabbitmq-server"])
    if not installed():
        raise SetupFailed("apt installed rabbitmq-server, but not where Debian keeps it")


def unpack() -> None:
    """Fetches and unpacks Debian's package and what it needs; complete only when the mark is written at the end."""
    shutil.rmtree(UNPACKED, ignore_errors=True)
    apt = PrivateApt(REPOSITORY / ".cache" / "apt")
    apt.unpack(["rabbitmq-server"], UNPACKED, together=["rabbitmq", "erlang", "elixir"])
    if not (UNPACKED / SERVER).exists():
        raise SetupFailed("the package fetched holds no server")
    for pattern in ERLANG_SCRIPTS:
        for script in (UNPACKED / ERLANG).glob(pattern):
            moved = script.read_text().replace(f"/{ERLANG}", str(UNPACKED / ERLANG))
            script.write_text(moved)
    (UNPACKED / PLACE).write_text(str(UNPACKED))


if __name__ == "__main__":
    sys.exit(main())
