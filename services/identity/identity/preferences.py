"""How a user likes to listen: the document the app calls PreferencesV3, and how an older one is read as it."""

import json
from typing import Annotated, Literal

from pydantic import Field, StrictBool, ValidationError

from common.web.app import WireModel
from common.web.numbers import WHOLE
from common.web.text import Text

SCHEMA_VERSION = 3

Level = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[Text, Field(min_length=1, max_length=100)]


class PreferredMix(WireModel):
    """Volumes, 0 silent to 1 full."""

    affirmations: Level
    binaural: Level
    background: Level


class PreferencesV3(WireModel):
    schema_version: Literal[3]
    voice_id: Annotated[Name, Field(examples=["nova"])]
    pace: Literal["slow", "normal", "fast"]
    affirmation_spacing_ms: Annotated[int, Field(strict=True, ge=0, le=3_600_000), WHOLE]
    binaural_hz: Annotated[float, Field(strict=True, ge=1, le=20_000, allow_inf_nan=False)]
    background_id: Annotated[Name, Field(examples=["ocean"])]
    mix: PreferredMix
    loop_background: StrictBool
    loop_binaural: StrictBool


DEFAULTS = PreferencesV3(
    schema_version=3,
    voice_id="neutral",
    pace="slow",
    affirmation_spacing_ms=1000,
    binaural_hz=10,
    background_id="ocean",
    mix=PreferredMix(affirmations=1, binaural=0.35, background=0.35),
    loop_background=True,
    loop_binaural=True,
)


def read_document(document: str) -> PreferencesV3:
    """A stored document of any version as today's: what does not fit takes its default, the rest is kept."""
    try:
        held = json.loads(document)
    except (ValueError, RecursionError):
        return DEFAULTS
    if not isinstance(held, dict):
        return DEFAULTS
    defaults = DEFAULTS.model_dump(by_alias=True)
    merged = {**defaults, **held, "schemaVersion": SCHEMA_VERSION}
    try:
        return PreferencesV3.model_validate(merged)
    except ValidationError as error:
        unfit = {str(fault["loc"][0]) for fault in error.errors()}
        return PreferencesV3.model_validate({**merged, **{name: defaults[name] for name in unfit}})
