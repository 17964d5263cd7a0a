"""One HTTP question, within bounds, answered by whatever came back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from yarl import URL

LARGEST = 256 * 1024
_PATIENCE = aiohttp.ClientTimeout(total=30)
FAILED = (aiohttp.ClientError, OSError, TimeoutError)
"""What asking raises when there is no answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """``asked_at`` lies in the middle between the question and the answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    asked_at: datetime

    def document(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def is_envelope(self) -> bool:
        """Whether this is our error envelope."""
        document = self.document()
        return isinstance(document, dict) and {"code", "message"} <= document.keys()

    def clock_ahead(self) -> float | None:
        """Seconds by which the far clock is ahead of ours, to a second; None when it does not say."""
        try:
            stamped = parsedate_to_datetime(self.headers["Date"])
            kept = float(self.headers.get("Age", "0"))
        except (KeyError, ValueError):
            return None
        # the header cuts fractions off: on average half a second
        told = stamped.replace(tzinfo=UTC) + timedelta(seconds=kept + 0.5)
        return (told - self.asked_at).total_seconds()


async def ask(
    url: str, method: str = "GET", *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Reply:
    """The answer, whatever its status; redirects are not followed. Raises one of FAILED."""
    before = datetime.now(UTC)
    async with (
        aiohttp.ClientSession(timeout=_PATIENCE, cookie_jar=aiohttp.DummyCookieJar()) as http,
        http.request(method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False) as response,
    ):
        after = datetime.now(UTC)
        content = await response.content.read(LARGEST)
        return Reply(response.status, response.headers, content, before + (after - before) / 2)
