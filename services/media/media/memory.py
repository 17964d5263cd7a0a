"""How a worker's memory stays flat: one heap for all threads, and what a render took goes back to the system.

glibc gives threads heaps of their own and keeps what they have freed there, while a worker waits long for the next
session. Other C libraries do otherwise, and are left alone.
"""

import ctypes

_libc = ctypes.CDLL(None)
_M_ARENA_MAX = -8  # malloc.h


def share_one_heap() -> None:
    """To be called before the first thread begins."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Takes a few milliseconds."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
