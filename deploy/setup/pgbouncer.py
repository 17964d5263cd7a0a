"""Sees to it that PgBouncer is here for the tests, which go through it as through a hosted database's pooler.

Debian's package is unpacked into `.cache/pgbouncer`, as root too: installed, it would be started. Does nothing when it
is there already.
"""

import argparse
import shutil
import sys
from pathlib import Path

from debian import PrivateApt, SetupFailed
from progress import give_up, step

REPOSITORY = Path(__file__).resolve().parents[2]
UNPACKED = REPOSITORY / ".cache" / "pgbouncer"
PROGRAM = "usr/sbin/pgbouncer"


def main() -> int:
    """Runs the set-up; the exit status."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        ensure()
    except SetupFailed as failure:
        return give_up(failure)
    return 0


def ensure() -> None:
    """Returns when it is here; SetupFailed with the way out when there is no way to get it."""
    if (UNPACKED / PROGRAM).exists():
        return
    scratch = UNPACKED.with_name("pgbouncer-unfinished")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with step("unpacking PgBouncer into .cache/pgbouncer"):
            PrivateApt(REPOSITORY / ".cache" / "apt-pgbouncer").unpack(["pgbouncer"], scratch, together=["pgbouncer"])
    except SetupFailed as failure:
        raise SetupFailed(f"PgBouncer cannot be had here, and the tests need it: {failure}") from failure
    if not (scratch / PROGRAM).exists():
        raise SetupFailed("the package fetched holds no pgbouncer")
    shutil.rmtree(UNPACKED, ignore_errors=True)
    scratch.rename(UNPACKED)


if __name__ == "__main__":
    sys.exit(main())
