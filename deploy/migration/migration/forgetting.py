"""Takes users whose accounts were deleted out of the archive, with everything that was theirs."""

from itertools import chain

from common.progress import Progress
from migration.accounts import Accounts
from migration.legacy_tables import ASSET_USES, BY_NAME, TABLES, LegacyTable, Mention, Reference
from migration.postgres import Connection
from migration.source import quoted
from migration.values import namings

_MENTIONED = {
    "quarantine": "row_json",
    "other_row": "row_json",
    "conflict": "row_key",
    "audio_file": "session_id",
}
"""The archive's own books, and the column in which an id may stand."""

_NAMED = """
    {column} = ANY($1::text[]) OR EXISTS (SELECT 1 FROM unnest($2::text[]) AS naming WHERE strpos({column}, naming) > 0)
"""
_NAMES = """
    EXISTS (SELECT 1 FROM unnest($1::text[]) AS id WHERE {column} = id OR strpos({column}, to_json(id)::text) > 0)
"""


class Forgetting:
    """``gone``: accounts that were deleted. One transaction takes out all of them, or none."""

    def __init__(self, legacy: Connection, accounts: Accounts, gone: set[str], progress: Progress) -> None:
        self._legacy = legacy
        self._accounts = accounts
        self._gone = gone
        self._progress = progress
        self._theirs: dict[str, set[str]] = {}
        """Keys of their rows, by table."""

    async def forget(self) -> dict[str, int]:
        """How many rows went, by table of the archive."""
        with self._progress.step("taking deleted accounts out of the archive") as told:
            async with self._legacy.transaction():
                await self._find_users()
                for table in TABLES[1:]:
                    self._theirs[table.name] = await self._owned(table)
                # an asset goes with the last row that names it
                self._theirs["AudioAsset"] = await self._assets("= ANY") - await self._assets("<> ALL")
                removed = {table.name: await self._remove(table) for table in reversed(TABLES)}
                removed |= {book: await self._remove_mentions(book, column) for book, column in _MENTIONED.items()}
                told(sum(removed.values()), 0)
        return {name: count for name, count in removed.items() if count}

    async def _find_users(self) -> None:
        ids = [row[0] for row in await self._legacy.fetch('SELECT id FROM legacy."User"')]
        self._theirs["User"] = {old_id for old_id in ids if self._accounts.of(old_id) in self._gone}

    async def _owned(self, table: LegacyTable) -> set[str]:
        """Rows that refer to a row of theirs, or mention one."""
        found: set[str] = set()
        naming: tuple[Reference | Mention, ...] = (*table.references, *table.mentions)
        for named in naming:
            if keys := sorted(self._theirs.get(named.table, ())):
                where = _NAMES.format(column=quoted(named.column))
                query = f"SELECT {quoted(table.key)} FROM legacy.{quoted(table.name)} WHERE {where}"
                found |= {row[0] for row in await self._legacy.fetch(query, keys)}
        return found

    async def _assets(self, theirs: str) -> set[str]:
        """Assets that rows of theirs name (``= ANY``), or rows of others (``<> ALL``)."""
        found: set[str] = set()
        for name, column in ASSET_USES:
            key = BY_NAME[name].key
            query = f"SELECT {quoted(column)} FROM legacy.{quoted(name)} WHERE {quoted(key)} {theirs}($1::text[])"
            found |= {row[0] for row in await self._legacy.fetch(query, sorted(self._theirs[name])) if row[0]}
        return found

    async def _remove(self, table: LegacyTable) -> int:
        query = f"DELETE FROM legacy.{quoted(table.name)} WHERE {quoted(table.key)} = ANY($1::text[])"
        return _count(await self._legacy.execute(query, sorted(self._theirs[table.name])))

    async def _remove_mentions(self, book: str, column: str) -> int:
        ids = sorted((self._theirs["User"] | self._theirs["Session"] | self._gone) - {""})
        query = f"DELETE FROM legacy.{book} WHERE {_NAMED.format(column=column)}"
        return _count(await self._legacy.execute(query, ids, list(chain.from_iterable(map(namings, ids)))))


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
