"""What must hold of users."""

from collections.abc import Sequence

from common.db.engine import Database
from common.invariants import Invariant, by_query

_OF_THE_DELETED = "SELECT tombstone.user_id FROM identity.tombstone JOIN identity.user AS kept ON kept.id = user_id"


def invariants(database: Database) -> Sequence[Invariant]:
    return (
        Invariant(
            "nothing_kept_of_the_deleted",
            "no deleted user is known here",
            "a fault of the program: keep the rows, and see `python -m identity deletions`",
            by_query(database, _OF_THE_DELETED),
        ),
    )
