"""Who was deleted, known for years: no late message, webhook, job or request makes rows for that person again.

Whoever is about to write for a user asks first. Asking holds a shared lock until the transaction ends, deleting takes
the same lock alone, so of two transactions at once one sees the other's work. Lock and look are one function of the
schema, ``erased_among``: its look sees what was committed while it waited for the lock; one plain statement would not.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from common.db.tables import erased_user_of
from common.db.uow import UnitOfWork
from common.errors import Unauthorized


class UserErased(Unauthorized):
    """The account was deleted: nothing is done in its name any more."""


class Tombstones:
    """Those of one schema. Ask before any row of the user is locked: the lock taken here comes first everywhere."""

    def __init__(self, schema: str) -> None:
        self._table = erased_user_of(schema)
        self._among = text(f"SELECT erased FROM {schema}.erased_among(CAST(:ids AS text[])) AS erased")
        self._alone = text("SELECT pg_advisory_xact_lock(hashtext(:name), hashtext(:user_id) & 1023)")
        self._name = f"{schema}.erased_user"

    async def among(self, uow: UnitOfWork, ids: Collection[str]) -> set[str]:
        """Which of the ids are of deleted users; none of the others is deleted before this transaction ends."""
        return set(await uow.session.scalars(self._among, {"ids": list(ids)}))

    async def refuse(self, uow: UnitOfWork, user_id: str) -> None:
        """Raises UserErased for a deleted user; anybody else stays until this transaction ends."""
        if await self.among(uow, [user_id]):
            raise UserErased

    async def bury(self, uow: UnitOfWork, user_id: str, deletion_id: str | None) -> bool:
        """Sets the tombstone, once nobody writes for the user any more; False when this deletion has set it before."""
        await uow.session.execute(self._alone, {"name": self._name, "user_id": user_id})
        row = insert(self._table).values(user_id=user_id, deletion_id=deletion_id, erased_at=uow.now)
        another = self._table.c.deletion_id.is_distinct_from(row.excluded.deletion_id)
        asked_again = row.on_conflict_do_update(
            index_elements=["user_id"],
            set_={"deletion_id": row.excluded.deletion_id},
            where=another,
        )
        return await uow.session.scalar(asked_again.returning(self._table.c.user_id)) is not None

    async def known(self, uow: UnitOfWork, ids: Collection[str]) -> set[str]:
        """As ``among``, but a look only: it holds nobody and waits for nobody."""
        mine = self._table.c.user_id.in_(ids)
        return set(await uow.session.scalars(select(self._table.c.user_id).where(mine)))

    async def erased_at(self, uow: UnitOfWork, user_id: str) -> datetime | None:
        """When the user was deleted; a look only."""
        mine = self._table.c.user_id == user_id
        at: datetime | None = await uow.session.scalar(select(self._table.c.erased_at).where(mine))
        return at
