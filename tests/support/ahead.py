"""Things that take a server a while to make and to remove: made one ahead of need, removed behind the tests' backs."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

SPARES = 2


class Ahead:
    """``take()`` returns a thing that ``make`` made in a thread of ours; ``give_back`` has it removed there.

    What goes wrong in the thread is raised by ``take`` and by ``close``.
    """

    def __init__(self, make: Callable[[], str], remove: Callable[[str], None]) -> None:
        self._make = make
        self._remove = remove
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._spares: deque[Future[str]] = deque()
        self._removals: list[Future[None]] = []

    def take(self) -> str:
        while len(self._spares) <= SPARES:
            self._spares.append(self._thread.submit(self._make))
        return self._spares.popleft().result()

    def give_back(self, thing: str) -> None:
        self._removals.append(self._thread.submit(self._remove, thing))

    def close(self) -> None:
        self._thread.shutdown()
        for removal in self._removals:
            removal.result()
