"""Bodies on the wire."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from common.web.app import Instant, WireModel
from common.web.text import SCRIPT_BLANKS, Text, storable, utf16_length
from identity.models import (
    STORES,
    ChosenValue,
    Deletion,
    EndedSession,
    Link,
    Receipt,
    ReceiptStatus,
    Store,
    Tombstone,
    User,
    UserValue,
)
from identity.preferences import PreferencesV3

MOST_VALUES = 50
LONGEST_STRUGGLE = 200
"""In UTF-16 units after trimming, as the app counts."""

ShortText = Annotated[Text, Field(min_length=1, max_length=100)]
Rank = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]


class MeView(WireModel):
    id: str
    email: str | None = None
    created_at: Instant
    issuer: str

    @classmethod
    def of(cls, user: User) -> "MeView":
        return cls(id=user.id, email=user.email, created_at=user.created_at, issuer=user.issuer)


class ValueChoice(WireModel):
    value_id: ShortText
    value_text: ShortText
    rank: Rank | None = None


class ValuesChoice(WireModel):
    """The whole set; what was stored before is replaced."""

    values: Annotated[list[ValueChoice], Field(max_length=MOST_VALUES)]

    def chosen(self) -> list[ChosenValue]:
        return [ChosenValue(value.value_id, value.value_text, value.rank) for value in self.values]


class ValuesStored(WireModel):
    success: Literal[True] = True
    count: int


class ValueView(WireModel):
    nullable: ClassVar[frozenset[str]] = frozenset({"rank"})

    id: str
    user_id: str
    value_id: str
    value_text: str
    rank: int | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, value: UserValue) -> "ValueView":
        return cls.model_validate(value, from_attributes=True)


class ValuesView(WireModel):
    values: list[ValueView]


def _struggle(value: Any) -> str | None:
    """What the user said, trimmed; nothing said, or something that is not text, is None."""
    if not isinstance(value, str):
        return None
    said: str = storable(value).strip(SCRIPT_BLANKS)
    if utf16_length(said) > LONGEST_STRUGGLE:
        raise ValueError(f"must be at most {LONGEST_STRUGGLE} characters")
    return said or None


class StruggleChange(WireModel):
    struggle: Annotated[str | None, BeforeValidator(_struggle)] = None


class StruggleView(WireModel):
    nullable: ClassVar[frozenset[str]] = frozenset({"struggle"})

    struggle: str | None


class StruggleStored(WireModel):
    nullable: ClassVar[frozenset[str]] = frozenset({"struggle"})

    success: Literal[True] = True
    struggle: str | None


class WebhookTaken(WireModel):
    ok: Literal[True] = True
    duplicate: bool


class StillBilling(WireModel):
    """A subscription that deleting the account does not end: only the user can, at the store."""

    store: str | None = None
    product: str | None = None
    renews_at: Instant | None = None
    management_url: str | None = None


class DeletionStarted(WireModel):
    deletion_id: str
    """Whoever knows it may follow the deletion: keep it, the account can no longer sign in."""
    status: Literal["pending", "completed"]
    subscription: StillBilling | None = None


class ReceiptView(WireModel):
    store: Store
    status: ReceiptStatus
    counts: dict[str, int]
    """What was erased there, by kind."""
    attempts: int | None = None
    problem: str | None = None
    """Why the last attempt failed; it is tried again, for as long as it takes."""
    next_attempt_at: Instant | None = None
    completed_at: Instant | None = None

    @classmethod
    def of(cls, receipt: Receipt) -> "ReceiptView":
        failing = receipt.problem is not None
        return cls.model_validate(
            {
                "store": receipt.store,
                "status": receipt.status,
                "counts": receipt.counts,
                "attempts": receipt.attempts if failing else None,
                "problem": receipt.problem,
                "next_attempt_at": receipt.due_at if failing else None,
                "completed_at": receipt.completed_at,
            }
        )


class DeletionView(WireModel):
    deletion_id: str
    status: Literal["pending", "completed"]
    requested_at: Instant
    completed_at: Instant | None = None
    receipts: list[ReceiptView]

    @classmethod
    def of(cls, deletion: Deletion, receipts: Sequence[Receipt]) -> "DeletionView":
        by_store = {receipt.store: receipt for receipt in receipts}
        return cls(
            deletion_id=deletion.id,
            status=deletion.status,
            requested_at=deletion.requested_at,
            completed_at=deletion.completed_at,
            receipts=[ReceiptView.of(by_store[store]) for store in STORES],
        )


class SubjectUser(WireModel):
    user_id: str


class SignedOutSession(WireModel):
    session_id: str
    ended_at: Instant

    @classmethod
    def of(cls, session: EndedSession) -> "SignedOutSession":
        return cls(session_id=session.session_id, ended_at=session.ended_at)


class DeletedUser(WireModel):
    user_id: str
    deleted_at: Instant

    @classmethod
    def of(cls, tombstone: Tombstone) -> "DeletedUser":
        return cls(user_id=tombstone.user_id, deleted_at=tombstone.deleted_at)


class SignOuts(WireModel):
    sessions: list[SignedOutSession]
    users: list[DeletedUser]


class LinkView(WireModel):
    issuer: str
    subject: str
    created_at: Instant

    @classmethod
    def of(cls, link: Link) -> "LinkView":
        return cls(issuer=link.issuer, subject=link.subject, created_at=link.created_at)


class HeldHere(WireModel):
    """Everything identity holds about a user."""

    user: MeView
    updated_at: Instant
    struggle: str | None = None
    values: list[ValueView]
    preferences: PreferencesV3 | None = None
    links: list[LinkView]
    ended_sessions: list[SignedOutSession]


class ExportView(WireModel):
    """Everything held about a user, from every service."""

    exported_at: Instant
    user_id: str
    identity: HeldHere
    billing: dict[str, Any]
    media: dict[str, Any]
