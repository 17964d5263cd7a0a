"""Deletes erased users' customers at RevenueCat, one a step, noted before and after: a kill repeats one call."""

from billing import erasure
from billing.erasure import Removal
from billing.revenuecat import IdRefused, NotAsked, ReadingFailed, SubscriberRegistry
from common.db.engine import Database
from common.observability import logger
from common.tracing import job

log = logger("removing")


class SubscriberRemover:
    """Any number of workers may: deleting a customer twice does no harm, and one of them announces the end."""

    def __init__(self, database: Database, registry: SubscriberRegistry) -> None:
        self._database = database
        self._registry = registry

    async def work_off(self) -> int:
        """Takes every step that is due; returns how many."""
        steps = 0
        while await self._step():
            steps += 1
        return steps

    async def _step(self) -> bool:
        async with self._database.transaction() as uow:
            removal = await erasure.next_removal(uow)
        if removal is None:
            return False
        if removal.app_user_id is not None:
            with job("delete subscriber", None, None):
                await self._delete(removal, removal.app_user_id)
        return True

    async def _delete(self, removal: Removal, app_user_id: str) -> None:
        try:
            existed = await self._registry.delete(app_user_id)
        except IdRefused as error:
            log.warning("customer_cannot_be_deleted", problem=str(error))
            existed = False
        except ReadingFailed as error:
            log.warning("customer_not_deleted", problem=str(error))
            async with self._database.transaction() as uow:
                await erasure.postpone(uow, removal, error.retry_after, answered=isinstance(error, NotAsked))
            return
        async with self._database.transaction() as uow:
            await erasure.removed(uow, removal, existed)
