"""What billing hears from others."""

from billing import erasure
from common.contracts.identity import UserDeleted
from common.db.uow import UnitOfWork
from common.messaging.consumers import Subscription

users = Subscription("billing.users")


@users.on(UserDeleted)
async def erase_user(uow: UnitOfWork, event: UserDeleted) -> None:
    await erasure.erase_user(uow, event.user_id, event.deletion_id)
