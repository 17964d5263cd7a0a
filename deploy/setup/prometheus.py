"""Sees to it that Prometheus and promtool are here for the tests. Nothing is started or installed.

Where the system has none, Debian's package is unpacked into `.cache/prometheus`, touching nothing else, as any user.
"""

import argparse
import shutil
import sys
from pathlib import Path

from debian import PrivateApt, SetupFailed
from progress import give_up, step

REPOSITORY = Path(__file__).resolve().parents[2]
UNPACKED = REPOSITORY / ".cache" / "prometheus"
PROGRAMS = ("prometheus", "promtool")


def main() -> int:
    """Runs the set-up; the exit status."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        ensure()
    except SetupFailed as failure:
        return give_up(f"Prometheus cannot be had here: apt-get install prometheus, then run this again\n{failure}")
    return 0


def ensure() -> None:
    """Returns when both programs are here; SetupFailed when there is no way to get them."""
    if all(program(name) for name in PROGRAMS):
        return
    with step("unpacking Prometheus into .cache/prometheus"):
        shutil.rmtree(UNPACKED, ignore_errors=True)
        fresh = UNPACKED.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        PrivateApt(REPOSITORY / ".cache" / "apt").unpack(["prometheus"], fresh)
        fresh.rename(UNPACKED)
    if missing := [name for name in PROGRAMS if not program(name)]:
        raise SetupFailed(f"the package fetched holds no {missing[0]}")


def program(name: str) -> str | None:
    """Where the program is; the unpacked one comes first."""
    return shutil.which(name, path=str(UNPACKED / "usr" / "bin")) or shutil.which(name)


if __name__ == "__main__":
    sys.exit(main())
