"""What identity hears from others."""

from common.contracts import billing, media
from common.db.uow import UnitOfWork
from common.messaging.consumers import Subscription
from identity import deletions as saga

deletions = Subscription("identity.deletions")


@deletions.on(billing.UserDataErased)
async def complete_receipt_of_billing(uow: UnitOfWork, event: billing.UserDataErased) -> None:
    await saga.complete_receipt(uow, event.deletion_id, event.user_id, event.store, event.counts)


@deletions.on(media.UserDataErased)
async def complete_receipt_of_media(uow: UnitOfWork, event: media.UserDataErased) -> None:
    await saga.complete_receipt(uow, event.deletion_id, event.user_id, event.store, event.counts)
