"""The inbox: a message's effects happen once, however often it is delivered."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.tables import inbox_of
from common.messaging.envelope import Envelope


async def first_sight(session: AsyncSession, schema: str, consumer: str, envelope: Envelope) -> bool:
    """Whether ``consumer`` sees this message for the first time. The mark commits or rolls back with the effects."""
    row = insert(inbox_of(schema)).values(consumer=consumer, message_id=envelope.message_id).on_conflict_do_nothing()
    result = await session.execute(row)
    return bool(result.rowcount)  # type: ignore[attr-defined]
