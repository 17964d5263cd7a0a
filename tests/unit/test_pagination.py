"""Pages as the shipped app asks for them and reads them."""

from typing import Any

import pytest
from fastapi import FastAPI

from common.web.app import create_app
from common.web.pagination import MOST, Page, Paging
from tests.support.callers import served

ROWS = [f"row {number}" for number in range(5)]


def shelf() -> FastAPI:
    app = create_app("shelf", title="Shelf")

    @app.get("/rows")
    async def rows(paging: Paging) -> dict[str, Any]:
        found = ROWS[paging.offset : paging.offset + paging.fetch]
        shown, more = paging.cut(found)
        return {"rows": shown, "limit": paging.limit, "offset": paging.offset, "hasMore": more}

    return app


@pytest.mark.parametrize(
    "query, limit, offset",
    [
        ("", 50, 0),
        ("?limit=2&offset=1", 2, 1),
        ("?limit=100", 100, 0),
        ("?limit=101", MOST, 0),
        ("?limit=0", 1, 0),
        ("?limit=-7&offset=-1", 1, 0),
        ("?offset=999999999999999999999", 50, 2**31),
    ],
)
async def test_limit_and_offset_are_clamped(query: str, limit: int, offset: int) -> None:
    async with served(shelf()) as api:
        answer = await api.get(f"/rows{query}")
    assert answer.status == 200
    assert (answer.json["limit"], answer.json["offset"]) == (limit, offset)


@pytest.mark.parametrize("query", ["limit=abc", "limit=1.5", "offset=x", "limit=", "limit=NaN", "limit=" + "9" * 5000])
async def test_what_is_no_number_is_400(query: str) -> None:
    async with served(shelf()) as api:
        answer = await api.get(f"/rows?{query}")
    assert (answer.status, answer.json["code"]) == (400, "VALIDATION_ERROR")
    assert answer.json["details"]["fieldErrors"].keys() == {query.partition("=")[0]}


async def test_following_the_pages_gives_every_row_once() -> None:
    seen: list[str] = []
    async with served(shelf()) as api:
        more = True
        while more:
            answer = await api.get(f"/rows?limit=2&offset={len(seen)}")
            seen += answer.json["rows"]
            more = answer.json["hasMore"]
    assert seen == ROWS


@pytest.mark.parametrize("found, more", [(0, False), (1, False), (2, False), (3, True)])
def test_there_is_more_only_when_a_further_row_was_found(found: int, more: bool) -> None:
    page = Page(limit=2, offset=0)
    rows, has_more = page.cut(ROWS[:found][: page.fetch])
    assert (list(rows), has_more) == (ROWS[: min(found, 2)], more)
