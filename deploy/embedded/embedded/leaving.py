"""The last journey: a person who has bought, written and listened deletes the account and watches it go.

Like the first one it knows only public addresses, and is played by tests and by ``python -m embedded leave``.
"""

from dataclasses import dataclass
from typing import Any

import aiohttp

from embedded.journey import Journey, JourneyFailed

GONE_SECONDS = 90.0
LINES = ["I leave this place in peace.", "I take everything along that is mine."]


@dataclass(frozen=True)
class Left:
    """What there was, and how it went. ``deletion`` is the last answer of ``GET /me/deletions/{id}``."""

    export: dict[str, Any]
    started: dict[str, Any]
    deletion: dict[str, Any]


class Leaving(Journey):
    """``await Leaving(url, outside, tell=print).leave("user_ada")``. Raises JourneyFailed."""

    async def leave(self, user_id: str) -> Left:
        self._user = user_id
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as self._http:
            await self._arrive()
            await self._buy()
            await self._settle_in()
            export = await self._take_along()
            started = await self._call("DELETE", "/me", status=202)
            self._tell(f"asked to be deleted: {started['deletionId'][:8]}…, {started['status']}")
            if billing := started.get("subscription"):
                self._tell(f"still billing, until it is ended there: {billing['product']} at {billing['store']}")
            deletion = await self._watch(started["deletionId"])
            await self._stay_away()
        return Left(export, started, deletion)

    async def _settle_in(self) -> None:
        await self._call("POST", "/me/values", {"values": [{"valueId": "calm", "valueText": "Calm"}]})
        await self._call("PUT", "/me/struggle", {"struggle": "letting go"})
        created = await self._call("POST", "/sessions", self._draft(LINES), status=201)
        await self._rendered(created["id"])
        self._tell("chose a value, named a struggle, wrote a session and had it rendered")

    async def _take_along(self) -> dict[str, Any]:
        export = await self._call("GET", "/me/export")
        self._expect("the export's parts", {"identity", "billing", "media"} <= export.keys(), True)
        self._tell(f"took everything along: {', '.join(export)}")
        return export

    async def _watch(self, deletion_id: str) -> dict[str, Any]:
        """Nobody is signed in any more: the id alone opens it."""
        told: set[str] = set()
        latest: dict[str, Any] = {}

        async def completed() -> bool:
            nonlocal latest
            async with self._http.get(f"{self._url}/me/deletions/{deletion_id}") as answer:
                self._expect("the deletion's status code", answer.status, 200)
                latest = await answer.json()
            for receipt in latest["receipts"]:
                if receipt["status"] != "pending" and receipt["store"] not in told:
                    told.add(receipt["store"])
                    self._tell(_receipt(receipt))
            return bool(latest["status"] == "completed")

        try:
            await self._until("every store has given its receipt", completed, GONE_SECONDS)
        except JourneyFailed as failure:
            raise JourneyFailed(f"{failure}: {latest}") from None
        self._tell(f"deleted everywhere at {latest['completedAt']}")
        return latest

    async def _stay_away(self) -> None:
        for path in ("/me", "/me/subscription", "/sessions"):
            refused = await self._call("GET", path, status=401)
            self._expect(f"{path} afterwards", refused["code"], "UNAUTHORIZED")
        self._tell("the token that was good a moment ago is refused everywhere: 401")


def _receipt(receipt: dict[str, Any]) -> str:
    counts = ", ".join(f"{count} {kind}" for kind, count in receipt["counts"].items())
    return f"  receipt of {receipt['store']:<10}  {receipt['status']}{f': {counts}' if counts else ''}"
