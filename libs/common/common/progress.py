"""What a long step says of itself: its name, how far it is, how long it took. Numbers only, never a value."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

EVERY_SECONDS = 2.0
Told = Callable[[int, int], None]
"""Takes how many are done, and of how many; 0 of them when nobody knows."""


class Progress:
    """One line when a step begins to take long, one every EVERY_SECONDS, and one at its end."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self.seconds: dict[str, float] = {}
        """How long each finished step took."""

    @contextmanager
    def step(self, what: str) -> Iterator[Told]:
        begun = told_at = time.monotonic()
        last = 0

        def told(done: int, total: int) -> None:
            nonlocal told_at, last
            last, now = done, time.monotonic()
            if now - told_at >= EVERY_SECONDS:
                told_at = now
                share = f" of {total:,} ({100 * done // total} %)" if total else ""
                self.say(f"{what}: {done:,}{share}")

        yield told
        self.seconds[what] = round(time.monotonic() - begun, 3)
        count = f"{last:,}, " if last else ""
        self.say(f"{what}: {count}{self.seconds[what]:.1f} s")

    def say(self, line: str) -> None:
        print(line, file=self._out, flush=True)
