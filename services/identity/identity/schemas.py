"""Bodies on the wire."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from common.web.app import Instant, WireModel
from common.web.numbers import WHOLE, Count
from common.web.text import NO_NUL, SCRIPT_BLANKS, Text, Url, UserIdText, storable, utf16_length
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
ValueId = Annotated[ShortText, Field(examples=["growth"])]
ValueText = Annotated[ShortText, Field(examples=["Growth"])]
Rank = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1, examples=[1]), WHOLE]
ShownStruggle = Annotated[str, Field(max_length=LONGEST_STRUGGLE, examples=["I doubt myself before I speak."])]


class MeView(WireModel):
    id: UserIdText
    email: str | None = Field(None, examples=["ada@example.com"])
    created_at: Instant
    issuer: str = Field(examples=["https://clerk.example.com"])

    @classmethod
    def of(cls, user: User) -> "MeView":
        return cls(id=user.id, email=user.email, created_at=user.created_at, issuer=user.issuer)


class ValueChoice(WireModel):
    value_id: ValueId
    value_text: ValueText
    rank: Rank | None = None


class ValuesChoice(WireModel):
    """The whole set; what was stored before is replaced."""

    values: Annotated[list[ValueChoice], Field(max_length=MOST_VALUES)]

    def chosen(self) -> list[ChosenValue]:
        return [ChosenValue(value.value_id, value.value_text, value.rank) for value in self.values]


class ValuesStored(WireModel):
    success: Literal[True] = True
    count: Count


class ValueView(WireModel):
    nullable: ClassVar[frozenset[str]] = frozenset({"rank"})

    id: str = Field(examples=["7d0f1c52-3a51-4f0e-9c3f-0d8a4f0b6a11"])
    user_id: UserIdText
    value_id: str = Field(examples=["growth"])
    value_text: str = Field(examples=["Growth"])
    rank: Annotated[int, Field(ge=0, examples=[1])] | None
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


_STRUGGLE_SCHEMA = {
    "description": "Text, counted in UTF-16 units once trimmed. Blank text, and anything but text, forgets it.",
    "anyOf": [
        {"type": "string", "maxLength": LONGEST_STRUGGLE, "pattern": NO_NUL},
        {"type": ["null", "boolean", "number", "array", "object"]},
    ],
    "examples": ["I doubt myself before I speak."],
}


class StruggleChange(WireModel):
    struggle: Annotated[str | None, BeforeValidator(_struggle), WithJsonSchema(_STRUGGLE_SCHEMA)] = None


class StruggleView(WireModel):
    nullable: ClassVar[frozenset[str]] = frozenset({"struggle"})

    struggle: ShownStruggle | None


class StruggleStored(WireModel):
    nullable: ClassVar[frozenset[str]] = frozenset({"struggle"})

    success: Literal[True] = True
    struggle: ShownStruggle | None


class WebhookTaken(WireModel):
    ok: Literal[True] = True
    duplicate: bool


class ClerkWebhook(BaseModel):
    """What Clerk sends. `data` depends on the type; a type that is not known here is taken and changes nothing."""

    type: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$", examples=["session.created"])]
    data: dict[str, Any]


DELETION_ID = r"^[A-Za-z0-9_-]{43}$"
DeletionId = Annotated[str, Field(pattern=DELETION_ID, examples=["Zk3v0n8yJt5q1s7w9x2c4b6m8r0e2u4i6o8p1a3s5d7"])]


class StillBilling(WireModel):
    """A subscription that deleting the account does not end: only the user can, at the store."""

    store: str | None = Field(None, examples=["app_store"])
    product: str | None = Field(None, examples=["entrain_pro_monthly"])
    renews_at: Instant | None = None
    management_url: Url | None = Field(None, examples=["https://apps.apple.com/account/subscriptions"])


class DeletionStarted(WireModel):
    deletion_id: DeletionId
    """Whoever knows it may follow the deletion: keep it, the account can no longer sign in."""
    status: Literal["pending", "completed"]
    subscription: StillBilling | None = None


class ReceiptView(WireModel):
    store: Store
    status: ReceiptStatus
    counts: Annotated[dict[str, int], Field(examples=[{"users": 1}])]
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
    deletion_id: DeletionId
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
    session_id: Annotated[str, Field(examples=["sess_2abcDEF0123456789abcdefghij"])]
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
    issuer: Annotated[str, Field(examples=["https://project.supabase.co/auth/v1"])]
    subject: Annotated[str, Field(examples=["7d0f1c52-3a51-4f0e-9c3f-0d8a4f0b6a11"])]
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
    user_id: UserIdText
    identity: HeldHere
    billing: dict[str, Any]
    media: dict[str, Any]
