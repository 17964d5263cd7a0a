"""Events of others that media acts on."""

from common.contracts.billing import SubscriptionChanged
from common.contracts.identity import UserDeleted
from common.db.uow import UnitOfWork
from common.messaging.consumers import Subscription
from media import commands, erasure

entitlements = Subscription("media.entitlements")
users = Subscription("media.users")


@entitlements.on(SubscriptionChanged)
async def store_entitlement(uow: UnitOfWork, event: SubscriptionChanged) -> None:
    await commands.store_entitlement(uow, event)


@users.on(UserDeleted)
async def erase_user(uow: UnitOfWork, event: UserDeleted) -> None:
    await erasure.erase_user(uow, event.user_id, event.deletion_id)
