"""RevenueCat's REST API v1: reading and deleting one customer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import quote

from prometheus_client import Counter, Gauge

from billing.commands import Reading
from billing.pacing import HeldOff, RequestBudget
from billing.snapshot import MalformedSnapshot, parse_snapshot
from common.observability import logger
from common.web.client import Answer, CallFailed, HttpClient, Throttled

READINGS = Counter("billing_readings_total", "Readings of customers at RevenueCat", ["outcome"])
REMOVALS = Counter("billing_removals_total", "Deletions of customers at RevenueCat", ["outcome"])
KEY_REFUSED = Gauge("billing_revenuecat_key_refused", "1 while RevenueCat refuses our API key: nothing can be read")
PAUSE_WHEN_THROTTLED = 5.0
"""Seconds to leave the API alone when it says 429 and not for how long."""
log = logger("revenuecat")


class ReadingFailed(Exception):
    """Nothing was learned about the customer. ``retry_after``: seconds, if it is known when to try again."""

    def __init__(self, problem: str, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


class NotAsked(ReadingFailed):
    """The provider did not take the call: nothing has happened there."""


class KeyRefused(NotAsked):
    """Our API key is not accepted: an operator must act."""


class IdRefused(NotAsked):
    """The API does not take this id, whenever it is asked."""


class SubscriberSource(Protocol):
    async def read(self, app_user_id: str) -> Reading:
        """The customer as they are now. Raises ReadingFailed.

        Asking makes a customer of an id the provider does not know, so ask only for ids of users, of verified webhooks
        and of claims.
        """
        ...


class SubscriberRegistry(Protocol):
    async def delete(self, app_user_id: str) -> bool:
        """Deletes the customer with every id it has; False when there is none. Raises ReadingFailed.

        The subscription in the store goes on: only its owner can end that.
        """
        ...


class RevenueCatApi:
    """``http`` must be open while this is used."""

    def __init__(self, url: str, key: str, http: HttpClient, budget: RequestBudget) -> None:
        self._url = url
        self._http = http
        self._budget = budget
        # no X-Platform: it would count as the customer having used the app
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}

    async def read(self, app_user_id: str) -> Reading:
        with _counted(READINGS, "read"):
            answer = await self._call("GET", app_user_id)
            if answer.status not in (200, 201):
                raise _refusal(answer.status)
            return _reading(answer)

    async def delete(self, app_user_id: str) -> bool:
        with _counted(REMOVALS, "deleted"):
            answer = await self._call("DELETE", app_user_id)
            if answer.status == 404:
                return False
            if answer.status != 200:
                raise _refusal(answer.status)
            if not _says_deleted(answer):
                raise ReadingFailed("answered 200 without saying that the customer is deleted")
            return True

    async def _call(self, method: str, app_user_id: str) -> Answer:
        try:
            await self._budget.take()
            url = f"{self._url}/v1/subscribers/{quote(app_user_id, safe='')}"
            return await self._http.call(method, url, headers=self._headers)
        except HeldOff as error:
            raise NotAsked("waiting as asked", error.retry_after) from None
        except Throttled as error:
            self._budget.hold_off(error.retry_after or PAUSE_WHEN_THROTTLED)
            raise NotAsked(str(error), error.retry_after or PAUSE_WHEN_THROTTLED) from None
        except CallFailed as error:
            raise ReadingFailed(str(error), error.retry_after) from None


@contextmanager
def _counted(calls: Counter, done: str) -> Iterator[None]:
    try:
        yield
    except ReadingFailed as error:
        calls.labels(type(error).__name__).inc()
        raise
    calls.labels(done).inc()
    KEY_REFUSED.set(0)


def _reading(answer: Answer) -> Reading:
    try:
        document = answer.json()
        return Reading(parse_snapshot(document), _kept(document))
    except CallFailed as error:
        raise ReadingFailed(str(error)) from None
    except MalformedSnapshot as error:
        log.error("snapshot_not_understood", problem=str(error))
        raise ReadingFailed(f"not understood: {error}") from None


def _says_deleted(answer: Answer) -> bool:
    try:
        document = answer.json()
    except CallFailed:
        return False
    return isinstance(document, dict) and document.get("deleted") is True


def _refusal(status: int) -> ReadingFailed:
    if status in (401, 403):
        KEY_REFUSED.set(1)
        log.error("revenuecat_key_refused", status=status, remedy="check REVENUECAT_API_KEY")
        return KeyRefused(f"the API key is refused with status {status}")
    if status in (400, 404):
        return IdRefused(f"status {status}")
    return ReadingFailed(f"status {status}")


def _kept(document: dict[str, Any]) -> str:
    """The answer as JSON text that PostgreSQL can hold, without what it tells about the person."""
    subscriber = {name: value for name, value in document["subscriber"].items() if name != "subscriber_attributes"}
    return json.dumps({"request_date_ms": document["request_date_ms"], "subscriber": subscriber})
