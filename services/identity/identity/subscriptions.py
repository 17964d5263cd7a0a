"""What still bills a user who wants to be deleted, as billing knows it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from common.observability import logger
from common.web.client import CallFailed, HttpClient, Patience
from identity.schemas import StillBilling

BRIEFLY = Patience(connect=1.0, read=2.0, total=2.0)
"""A deletion does not wait for long to tell a courtesy."""
log = logger("subscriptions")


class Subscriptions:
    """``http`` must be open while this is used."""

    def __init__(self, billing_url: str, http: HttpClient) -> None:
        self._url = f"{billing_url}/me/subscription"
        self._http = http

    async def still_billing(self, authorization: str) -> StillBilling | None:
        """The subscription of whose token this is; None when nothing bills, or billing cannot tell."""
        try:
            answer = await self._http.get(self._url, headers={"Authorization": authorization})
            if answer.status == 200:
                return _still_billing(answer.json())
            log.warning("subscription_not_told", status=answer.status)
        except (CallFailed, ValidationError) as error:
            log.warning("subscription_not_told", problem=f"{type(error).__name__}: {error}"[:200])
        return None


def _still_billing(told: Any) -> StillBilling | None:
    """One that renews, or whose store is still trying to collect."""
    if not isinstance(told, Mapping) or not (told.get("willRenew") is True or told.get("status") == "grace"):
        return None
    named = {"product": "productId", "store": "store", "renewsAt": "renewsAt", "managementUrl": "managementUrl"}
    return StillBilling.model_validate({ours: told.get(theirs) for ours, theirs in named.items()})
