"""Clerk's Backend API: reading and deleting one user."""

from typing import Protocol
from urllib.parse import quote

from prometheus_client import Counter, Gauge

from common.observability import logger
from common.web.client import Answer, CallFailed, HttpClient, Throttled
from identity.clerk_events import NotUnderstood, read_profile
from identity.models import Profile

CALLS = Counter("identity_clerk_calls_total", "Calls of Clerk's Backend API", ["call", "outcome"])
KEY_REFUSED = Gauge("identity_clerk_key_refused", "1 while Clerk refuses our secret key: nothing can be asked of it")
PAUSE_WHEN_THROTTLED = 5.0
"""Seconds to leave the API alone when it says 429 and not for how long."""
PAUSE_WHEN_REFUSED = 60.0
log = logger("clerk")


class ProviderFailed(Exception):
    """Nothing was learned or done. ``problem`` is short and may be shown to the user."""

    def __init__(self, problem: str, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retry_after = retry_after


class HoldOff(ProviderFailed):
    """No call can succeed before ``pause`` seconds have passed, whoever it is about."""

    def __init__(self, problem: str, pause: float) -> None:
        super().__init__(problem, pause)
        self.pause = pause


class IdentityProvider(Protocol):
    """Each call raises ProviderFailed."""

    async def profile(self, user_id: str) -> Profile | None:
        """The user as they are now; None when the provider has none of this id."""
        ...

    async def delete(self, user_id: str) -> bool:
        """Returns once the user is gone there; False when they had been before."""
        ...


class ClerkApi:
    """``http`` must be open while this is used."""

    def __init__(self, url: str, key: str, http: HttpClient) -> None:
        self._url = url
        self._http = http
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}

    async def profile(self, user_id: str) -> Profile | None:
        answer = await self._call("profile", "GET", user_id)
        if answer is None:
            return None
        try:
            document = answer.json()
            if not isinstance(document, dict) or document.get("id") != user_id:
                raise NotUnderstood("it describes somebody else")
            return read_profile(document)
        except (CallFailed, NotUnderstood) as error:
            log.error("clerk_not_understood", problem=str(error))
            raise ProviderFailed("not understood") from None

    async def delete(self, user_id: str) -> bool:
        return await self._call("delete", "DELETE", user_id) is not None

    async def _call(self, call: str, method: str, user_id: str) -> Answer | None:
        """The answer to a call that was carried out; None when there is no such user."""
        try:
            answer = await self._answer(method, user_id)
        except ProviderFailed as error:
            CALLS.labels(call, error.problem).inc()
            raise
        KEY_REFUSED.set(0)
        CALLS.labels(call, "absent" if answer is None else "done").inc()
        return answer

    async def _answer(self, method: str, user_id: str) -> Answer | None:
        try:
            url = f"{self._url}/v1/users/{quote(user_id, safe='')}"
            answer = await self._http.call(method, url, headers=self._headers, repeatable=False)
        except Throttled as error:
            raise HoldOff("throttled", error.retry_after or PAUSE_WHEN_THROTTLED) from None
        except CallFailed as error:
            log.warning("clerk_call_failed", method=method, problem=str(error))
            raise ProviderFailed(error.outcome, error.retry_after) from None
        if answer.status == 404:
            return None
        if answer.status in (401, 403):
            KEY_REFUSED.set(1)
            log.error("clerk_key_refused", status=answer.status, remedy="check CLERK_SECRET_KEY")
            raise HoldOff("key refused", PAUSE_WHEN_REFUSED)
        if answer.status != 200:
            raise ProviderFailed(f"status {answer.status}")
        return answer
