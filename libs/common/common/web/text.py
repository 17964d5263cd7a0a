"""Text from outside that can be stored and sent back: JSON can carry characters that UTF-8 and PostgreSQL cannot."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

NO_NUL = r"^[^\u0000]*$"
NOT_BLANK = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"
"""What the published API says, in patterns, of text in a request."""

SCRIPT_BLANKS = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What JavaScript's `trim` takes away, for ``str.strip``; Python's own idea of a blank differs."""


def storable(value: Any) -> Any:
    """Text with each half of a broken surrogate pair replaced by U+FFFD; anything but text as it is.

    The app cuts its inputs by UTF-16 units, which can halve an emoji. Raises ValueError for a NUL.
    """
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def utf16_length(text: str) -> int:
    """The length as the app counts it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def one_of(*values: str) -> Any:
    """For a field of an answer: what the published API says it may be."""
    return Field(json_schema_extra={"enum": list(values)})


Text = Annotated[str, Field(strict=True, json_schema_extra={"pattern": NO_NUL}), BeforeValidator(storable)]
"""Text in a request body."""
Url = Annotated[str, Field(json_schema_extra={"format": "uri"})]
"""An absolute address in an answer."""
UserIdText = Annotated[str, Field(examples=["user_2abcDEF0123456789abcdefghij"])]
