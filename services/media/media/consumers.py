"""Events of others that media acts on."""

from common.contracts.billing import SubscriptionChanged
from common.db.uow import UnitOfWork
from common.messaging.consumers import Subscription
from media import commands

entitlements = Subscription("media.entitlements")


@entitlements.on(SubscriptionChanged)
async def store_entitlement(uow: UnitOfWork, event: SubscriptionChanged) -> None:
    await commands.store_entitlement(uow, event)
