"""At the doors of a service that forgets users: the deleted stay out, anybody else may take a copy of everything."""

import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse

from common.auth import AnyCaller
from common.db.engine import Database
from common.db.tombstones import Tombstones
from common.db.uow import UnitOfWork
from common.web.transactions import Transaction

T = TypeVar("T")


async def refuse_erased(request: Request, who: AnyCaller, uow: Transaction) -> None:
    """FastAPI dependency: 401 for the token of a deleted user, asked within the request's own transaction."""
    tombstones: Tombstones = request.app.state.tombstones
    if who.user_id is not None:
        await tombstones.refuse(uow, who.user_id)


async def refuse_erased_briefly(request: Request, who: AnyCaller) -> None:
    """As ``refuse_erased``, in a transaction that has ended before anything else begins: for routes that call outside.

    Before they write they ask again.
    """
    tombstones: Tombstones = request.app.state.tombstones
    database: Database = request.app.state.database
    if who.user_id is not None:
        async with database.transaction() as uow:
            await tombstones.refuse(uow, who.user_id)


class Belongings:
    """Reads everything of one user in short transactions, page by page: a slow reader holds no session.

    Raises UserErased as soon as the account is deleted, which cuts a copy that is under way.
    """

    def __init__(self, database: Database, tombstones: Tombstones, user_id: str) -> None:
        self._database = database
        self._tombstones = tombstones
        self.user_id = user_id

    async def all(
        self, page: Callable[[UnitOfWork, str, T | None], Awaitable[Sequence[T]]], show: Callable[[T], str]
    ) -> AsyncIterator[str]:
        """Each row as JSON text. ``page`` reads the rows that follow the given one, none when there are no more."""
        rows: Sequence[T] = ()
        while True:
            async with self._database.transaction() as uow:
                await self._tombstones.refuse(uow, self.user_id)
                rows = await page(uow, self.user_id, rows[-1] if rows else None)
            if not rows:
                return
            for row in rows:
                yield show(row)


def as_json(_facts: Mapping[str, Any], **documents: str) -> str:
    """An object as JSON text; ``documents`` are members that are JSON text already and are kept as they are."""
    facts = [f"{_text(name)}:{_text(value)}" for name, value in _facts.items()]
    return "{" + ",".join([*facts, *(f"{_text(name)}:{document}" for name, document in documents.items())]) + "}"


def streamed(facts: Mapping[str, Any], lists: Mapping[str, AsyncIterable[str]]) -> StreamingResponse:
    """An answer of ``facts`` and then ``lists``, which are read as they are sent.

    What fails on the way cuts the answer off: half a copy is never taken for a whole one.
    """
    return StreamingResponse(
        _object(facts, lists), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


async def _object(facts: Mapping[str, Any], lists: Mapping[str, AsyncIterable[str]]) -> AsyncIterator[str]:
    separator = "{"
    for name, value in facts.items():
        yield f"{separator}{_text(name)}:{_text(value)}"
        separator = ","
    for name, items in lists.items():
        yield f"{separator}{_text(name)}:["
        separator = ""
        async for item in items:
            yield separator + item
            separator = ","
        yield "]"
        separator = ","
    yield "}" if separator == "," else "{}"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_instant)


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
