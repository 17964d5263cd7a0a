"""Who waits for a lock: only the sessions of a test's own database count, as others are made and removed beside it."""

from tests.support.event_ledger import until
from tests.support.schemas import rows

_WAITING = """
    SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()
"""


async def waiting_for_a_lock(database_url: str) -> None:
    """Returns when a session of the database waits for one."""
    await until(lambda: rows(database_url, _WAITING))
