"""Offset pages as the shipped app reads them: ``{limit, offset, hasMore}``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Query

T = TypeVar("T")
MOST = 100


@dataclass(frozen=True, slots=True)
class Page:
    """``limit`` is clamped to 1…100, ``offset`` to 0 and above."""

    limit: int
    offset: int

    @property
    def fetch(self) -> int:
        """How many rows to read: one more than shown tells whether there are more."""
        return self.limit + 1

    def cut(self, rows: Sequence[T]) -> tuple[Sequence[T], bool]:
        return rows[: self.limit], len(rows) > self.limit


def page(limit: Annotated[int, Query()] = 50, offset: Annotated[int, Query()] = 0) -> Page:
    """FastAPI dependency. What is not a number is a 400."""
    return Page(limit=min(max(limit, 1), MOST), offset=min(max(offset, 0), 2**31))


Paging = Annotated[Page, Depends(page)]
