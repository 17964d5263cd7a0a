"""What every event has in common: a versioned type, a subject whose order is kept, and the subject's sequence.

An event's docstring says when it is emitted, and what stands under a field what the field means: `docs/events.md` and
the AsyncAPI document are made from them.
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Event(BaseModel):
    """A fact in the past tense, carrying the whole new state. Unknown fields of a newer publisher are ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    type: ClassVar[str]
    """`<owner>.<snake>.v<n>`; also the routing key."""
    about: ClassVar[str] = "user_id"
    """The field that names the subject: events of one subject are published in order."""

    sequence: int = 0
    """The subject's version after this fact; a consumer keeps the highest it has seen."""

    @property
    def subject(self) -> str:
        return str(getattr(self, self.about))

    @property
    def owner(self) -> str:
        return self.type.partition(".")[0]
