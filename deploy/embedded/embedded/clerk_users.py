"""The users the Clerk stand-in knows, in the form its Backend API and its webhooks show them."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from common.clock import Clock
from embedded.session_tokens import ksuid_like

EMPTY_LISTS = ("phone_numbers", "web3_wallets", "external_accounts", "enterprise_accounts")
EMPTY_FIELDS = (
    "username",
    "first_name",
    "last_name",
    "primary_phone_number_id",
    "primary_web3_wallet_id",
    "external_id",
    "last_sign_in_at",
    "last_active_at",
    "legal_accepted_at",
    "locale",
)
FALSE_FLAGS = ("has_image", "two_factor_enabled", "totp_enabled", "backup_code_enabled", "banned", "locked")


class ClerkUsers:
    """User documents by id; times inside are Unix milliseconds, ``updated_at`` grows with every change. ``deleted``
    holds ids that existed once.
    """

    def __init__(self, clock: Clock, saved: Mapping[str, Any]) -> None:
        self._clock = clock
        self._users: dict[str, dict[str, Any]] = dict(saved.get("users", {}))
        self.deleted: set[str] = set(saved.get("deleted", []))

    def get(self, user_id: str) -> dict[str, Any] | None:
        return self._users.get(user_id)

    def of_addresses(self, addresses: Collection[str]) -> list[dict[str, Any]]:
        """The users who have one of the addresses, verified or not; everybody when none is named."""
        wanted = {address.lower() for address in addresses}
        return [user for user in self._users.values() if not wanted or wanted & _addresses(user)]

    def create(self, user_id: str, email: str | None) -> dict[str, Any]:
        """A new user with one verified address, ``<name>@example.com`` by default."""
        now = self._milliseconds()
        user = {
            "id": user_id,
            "object": "user",
            "image_url": "",
            "password_enabled": True,
            "public_metadata": {},
            "private_metadata": {},
            "unsafe_metadata": {},
            "created_at": now,
            "updated_at": now,
            **dict.fromkeys(EMPTY_FIELDS),
            **{name: [] for name in EMPTY_LISTS},
            **dict.fromkeys(FALSE_FLAGS, False),
            **_one_address(email or f"{user_id.removeprefix('user_').lower()}@example.com"),
        }
        self._users[user_id] = user
        return user

    def change_email(self, user_id: str, email: str) -> dict[str, Any]:
        """Raises KeyError for an unknown user."""
        user = self._users[user_id]
        self._users[user_id] = {**user, **_one_address(email), "updated_at": self._after(user["updated_at"])}
        return self._users[user_id]

    def delete(self, user_id: str) -> dict[str, Any]:
        """What Clerk answers and sends for a deletion. Raises KeyError for an unknown user."""
        del self._users[user_id]
        self.deleted.add(user_id)
        return {"id": user_id, "object": "user", "deleted": True}

    def dump(self) -> dict[str, Any]:
        """What ``saved`` takes."""
        return {"users": self._users, "deleted": sorted(self.deleted)}

    def _milliseconds(self) -> int:
        return int(self._clock().timestamp() * 1000)

    def _after(self, milliseconds: int) -> int:
        return max(self._milliseconds(), milliseconds + 1)


def session_document(session_id: str, user_id: str, now: datetime) -> dict[str, Any]:
    """A session that has just ended, as webhooks show it."""
    at = int(now.timestamp() * 1000)
    return {
        "id": session_id,
        "object": "session",
        "user_id": user_id,
        "client_id": ksuid_like("client"),
        "status": "ended",
        "last_active_at": at,
        "expire_at": at,
        "abandon_at": at,
        "created_at": at,
        "updated_at": at,
    }


def webhook_body(event: str, data: Mapping[str, Any], instance_id: str, now: datetime) -> str:
    """The envelope around ``data``, as compact JSON."""
    envelope = {
        "data": data,
        "event_attributes": {"http_request": {"client_ip": "127.0.0.1", "user_agent": "stand-in"}},
        "instance_id": instance_id,
        "object": "event",
        "timestamp": int(now.timestamp() * 1000),
        "type": event,
    }
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False)


def _addresses(user: Mapping[str, Any]) -> set[str]:
    return {one["email_address"].lower() for one in user["email_addresses"]}


def _one_address(email: str) -> dict[str, Any]:
    address_id = ksuid_like("idn")
    address = {
        "id": address_id,
        "object": "email_address",
        "email_address": email,
        "verification": {"status": "verified", "strategy": "email_code"},
        "linked_to": [],
    }
    return {"primary_email_address_id": address_id, "email_addresses": [address]}
