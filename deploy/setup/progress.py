"""Progress of a set-up script: one line a step, with the seconds it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def step(what: str) -> Iterator[None]:
    """Prints `what` when it begins and the seconds it took when it ends."""
    begun = time.monotonic()
    print(f"{what} ...", end=" ", flush=True)
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - begun:.1f} s", flush=True)


def give_up(reason: object) -> int:
    """Prints why the set-up cannot go on; returns the exit status for it."""
    print(f"set-up failed: {reason}", file=sys.stderr, flush=True)
    return 1
