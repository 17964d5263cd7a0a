"""Loops of the worker live through outages of the database and of the store: what is due stays due."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from common.db.engine import REACHING_FAILED, is_outage
from media.storage import StorageUnavailable


@contextmanager
def outages_told(log: Any) -> Iterator[None]:
    """Ends the block at an outage, with a word in the log; every other error goes on."""
    try:
        yield
    except StorageUnavailable as error:
        log.warning("store_unreachable", error=str(error.__cause__)[:200])
    except REACHING_FAILED as error:
        if not is_outage(error):
            raise
        log.warning("database_unreachable", error=f"{type(error).__name__}: {error}"[:200])
