"""Gives back to the system what a render took: glibc keeps what a thread has freed, and a worker waits long."""

import ctypes
from collections.abc import Callable


def _trimmer() -> Callable[[int], int]:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # another C library, which has its own way
        return lambda _: 0
    return trim


_trim = _trimmer()


def give_back() -> None:
    """Takes a few milliseconds."""
    _trim(0)
