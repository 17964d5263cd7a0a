"""Bodies on the wire."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from common.web.app import Instant, WireModel
from common.web.text import SCRIPT_BLANKS, Text, storable, utf16_length
from identity.models import ChosenValue, User, UserValue

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
