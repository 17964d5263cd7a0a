"""Numbers in bodies, as JSON knows them: 3 and 3.0 are one number, and "3" is none."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def _whole(value: Any) -> Any:
    """3.0 as 3, anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""For a strict ``int`` in a request. Stands after its limits, which the published API would lose otherwise."""
Count = Annotated[int, Field(ge=0)]
"""How many, in an answer."""
