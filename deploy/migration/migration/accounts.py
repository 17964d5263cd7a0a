"""Whose account each of the prototype's user ids becomes: as it is, unless a mapping names another.

The mapping is a CSV file of `old id,account id`; in place of the account's id may stand an address that its user has
verified. An empty old id stands for users' sessions that lost their owner.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

UNOWNED = "legacy:unowned"
"""Owns users' sessions that have no owner any more. Nobody signs in under it; without it they would be everybody's."""
LEGACY_ISSUER = "legacy"
"""Stands for the issuer of users who are no accounts: the prototype made their ids up."""
CLERK_UNNAMED = "clerk"
"""What identity calls Clerk's issuer until a first token has named it: where nobody said which one it is."""
CLERK_IDS = "user_"


class BadMapping(Exception):
    """The mapping cannot be used; the message says which line."""


class ClerkUnusable(Exception):
    """Clerk could not be asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """``mapping`` by old id. ``issuer`` is the identity provider's, for ids that are its accounts."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    issuer: str = CLERK_UNNAMED
    leading: frozenset[str] = frozenset()
    """Old ids whose row is their account's, where several become one account."""
    unmatched: tuple[int, ...] = ()
    """Rows of users whose address was looked for and is nobody's account, or more than one's."""

    def of(self, old_id: str) -> str:
        return self.mapping.get(old_id, old_id)

    def leads(self, old_id: str) -> bool:
        """Whether the account's own rows come from this user, and not from another that became the same account."""
        return old_id not in self.mapping or old_id in self.leading

    def is_account(self, old_id: str) -> bool:
        """Whether the provider can know this user: made-up ids of the prototype it cannot."""
        return old_id in self.mapping or old_id.startswith(CLERK_IDS)

    def owner(self, old_id: str | None, source: str) -> str | None:
        """Of a session. Only the catalogue's belong to nobody, and thereby to everybody."""
        if old_id is not None:
            return self.of(old_id)
        return None if source == "catalog" else self.mapping.get("", UNOWNED)

    def issuer_of(self, account: str) -> str:
        return self.issuer if account.startswith(CLERK_IDS) else LEGACY_ISSUER


def read_mapping(file: Path) -> dict[str, str]:
    """Raises BadMapping, or OSError when the file cannot be read."""
    mapping: dict[str, str] = {}
    with file.open(newline="", encoding="utf-8-sig") as opened:
        for number, row in enumerate(csv.reader(opened), start=1):
            if not row or (number == 1 and row[0].strip().lower() in ("old", "old_id", "old id")):
                continue
            if len(row) != 2 or not row[1].strip():
                raise BadMapping(f"{file.name}, line {number}: write `old id,account id`")
            if row[0] in mapping:
                raise BadMapping(f"{file.name}, line {number}: this old id stands there twice")
            mapping[row[0]] = row[1].strip()
    return mapping


def leading_ids(mapping: Mapping[str, str], present: frozenset[str]) -> frozenset[str]:
    """Of the old ids that become one account: the account's own id where the file has it, else the first mapped."""
    taken = {account for account in mapping.values() if account in present and account not in mapping}
    leading = []
    for old_id, account in mapping.items():
        if old_id in present and account not in taken:
            taken.add(account)
            leading.append(old_id)
    return frozenset(leading)
