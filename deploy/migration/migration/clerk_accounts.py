"""Whose account an address is, asked of Clerk: the one user who has shown that it is theirs."""

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import Field, SecretStr

from common.progress import Progress
from common.settings import Settings, read_as
from common.web.client import CallFailed, HttpClient, Patience
from migration.accounts import ClerkUnusable

PATIENCE = Patience(connect=3.0, read=10.0, total=60.0)
RETRIES = 5
MOST = 100
"""Users of one address that are looked at. Clerk lets an address be verified by one, but be claimed by many."""


class ClerkAccess(Settings):
    """How Clerk is reached, by identity's own variables."""

    model_config = read_as("identity")
    service: ClassVar[str] = "migration"

    clerk_secret_key: SecretStr | None = Field(None, description="`sk_live_…` or `sk_test_…`")
    clerk_api_url: str = Field("https://api.clerk.com", description="where Clerk's Backend API is, without `/v1`")


async def accounts_of(addresses: Mapping[str, str], progress: Progress) -> dict[str, str]:
    """``addresses`` by old id; the account of each address that exactly one user has verified, by old id too.

    Raises ClerkUnusable; then nothing is known of anybody.
    """
    access = ClerkAccess.load()
    if access.clerk_secret_key is None:
        raise ClerkUnusable("addresses are looked up at Clerk: set CLERK_SECRET_KEY, or name accounts by their ids")
    headers = {"Authorization": f"Bearer {access.clerk_secret_key.get_secret_value()}", "Accept": "application/json"}
    found: dict[str, str] = {}
    http = HttpClient("clerk", patience=PATIENCE, retries=RETRIES)
    with progress.step("looking up addresses at Clerk") as told:
        async with http:
            for number, (old_id, address) in enumerate(addresses.items(), start=1):
                url = f"{access.clerk_api_url}/v1/users?email_address={quote(address, safe='')}&limit={MOST}"
                owners = [user["id"] for user in await _users(http, url, headers) if _has_verified(user, address)]
                if len(owners) == 1:
                    found[old_id] = owners[0]
                told(number, len(addresses))
    return found


async def _users(http: HttpClient, url: str, headers: Mapping[str, str]) -> list[dict[str, Any]]:
    try:
        answer = await http.get(url, headers=headers)
        if answer.status in (401, 403):
            raise ClerkUnusable("Clerk refuses the key: check CLERK_SECRET_KEY")
        users: list[dict[str, Any]] = answer.json() if answer.status == 200 else []
    except CallFailed as error:
        raise ClerkUnusable(f"Clerk could not be asked ({error}); nothing was moved, run the command again") from None
    if answer.status != 200:
        raise ClerkUnusable(f"Clerk answered {answer.status}; nothing was moved")
    return users


def _has_verified(user: Mapping[str, Any], address: str) -> bool:
    return any(
        one["email_address"].lower() == address.lower() and (one["verification"] or {}).get("status") == "verified"
        for one in user["email_addresses"]
    )
