"""What a schema forgets: rows that were kept for long enough go, in short transactions, and tables are measured.

Run in every worker. Two at once take different rows; none waits for the other.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import Counter, Gauge
from sqlalchemy import ColumnElement, Date, Delete, Table, delete, select, text, tuple_
from sqlmodel import SQLModel

from common.db.batches import until_none_is_left
from common.db.engine import Database
from common.db.tables import inbox_of, outbox_of
from common.db.uow import UnitOfWork
from common.observability import logger

EVERY_SECONDS = 3600.0
AT_ONCE = 1000
PUBLISHED_KEPT = timedelta(days=7)
HANDLED_KEPT = timedelta(days=30)
"""No bus keeps a message that long but a parked one, and what is parked was never handled."""
ROWS_FORGOTTEN = Counter("retention_rows_total", "Rows removed because they were kept long enough", ["schema", "table"])
TABLE_BYTES = Gauge("table_size_bytes", "Space a table takes with its indexes", ["schema", "table"])
TABLE_ROWS = Gauge("table_rows", "Rows of a table, as PostgreSQL estimates them", ["schema", "table"])
_SIZES = text("""
    SELECT relname, pg_total_relation_size(oid), greatest(reltuples, 0) FROM pg_class
    WHERE relnamespace = to_regnamespace(:schema) AND relkind = 'r'
""")
log = logger("retention")


@dataclass(frozen=True, slots=True)
class Retention:
    """Rows of ``table`` go once their column ``since`` lies ``kept`` back; with ``only``, those for which it holds."""

    table: Table
    since: str
    kept: timedelta
    only: ColumnElement[bool] | None = None

    @classmethod
    def of(
        cls, model: type[SQLModel], since: str, kept: timedelta, only: ColumnElement[bool] | None = None
    ) -> "Retention":
        return cls(model.metadata.tables[f"{model.metadata.schema}.{model.__tablename__}"], since, kept, only)

    def statement(self, now: datetime) -> Delete:
        """Removes some of what is due."""
        column = self.table.c[self.since]
        before = now - self.kept
        due = column < (before.date() if isinstance(column.type, Date) else before)
        keys = self.table.primary_key.columns
        old = select(*keys).where(due if self.only is None else due & self.only)
        old = old.limit(AT_ONCE).with_for_update(skip_locked=True, of=self.table)
        return delete(self.table).where(tuple_(*keys).in_(old))


class Forgetting:
    """Keeps one schema to its retentions, those of outbox and inbox included."""

    def __init__(self, database: Database, schema: str, retentions: Sequence[Retention]) -> None:
        self._database = database
        self._schema = schema
        self._retentions = [
            Retention(outbox_of(schema), "published_at", PUBLISHED_KEPT),
            Retention(inbox_of(schema), "handled_at", HANDLED_KEPT),
            *retentions,
        ]

    async def run(self) -> None:
        while True:
            await self.once()
            await self._measure()
            await asyncio.sleep(EVERY_SECONDS)

    async def once(self) -> dict[str, int]:
        """Removes all that is due; how many rows went of each table that lost any."""
        gone: dict[str, int] = {}
        for retention in self._retentions:
            count = await until_none_is_left(self._database, lambda uow, due=retention: _remove(uow, due))  # type: ignore[misc]
            if count:
                gone[retention.table.name] = gone.get(retention.table.name, 0) + count
                ROWS_FORGOTTEN.labels(self._schema, retention.table.name).inc(count)
        if gone:
            log.info("rows_forgotten", schema=self._schema, **gone)
        return gone

    async def _measure(self) -> None:
        async with self._database.transaction() as uow:
            sizes = (await uow.session.execute(_SIZES, {"schema": self._schema})).all()
        for table, size, count in sizes:
            TABLE_BYTES.labels(self._schema, table).set(size)
            TABLE_ROWS.labels(self._schema, table).set(count)


async def _remove(uow: UnitOfWork, retention: Retention) -> int:
    result = await uow.session.execute(retention.statement(uow.now))
    return int(result.rowcount)  # type: ignore[attr-defined]
