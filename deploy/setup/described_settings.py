"""Every variable of every process, as the settings classes describe it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from billing.settings import BillingSettings
from common.settings import Settings
from gateway.settings import GatewaySettings
from identity.settings import IdentitySettings
from media.settings import MediaSettings

CLASSES: tuple[type[Settings], ...] = (GatewaySettings, IdentitySettings, BillingSettings, MediaSettings)

OTHERS = {
    "LEGACY_DATABASE_URL": "`python -m migration`: the database of the archive. Without it DATABASE_URL is taken",
    "BACKUP_DATABASE_URL": "`python -m backup create`: the database, as a role that may read every schema",
    "RESTORE_DATABASE_URL": "`python -m backup restore`: an empty database, as its owner",
    "RABBITMQ_API_URL": "`deploy/rabbitmq/apply_definitions.py`, and the doctor: the broker's management API",
    "RABBITMQ_API_USER": "the same: its administrator",
    "RABBITMQ_API_PASSWORD": "the same: the administrator's password",
    "RABBITMQ_VHOST": "the same: the virtual host, where it is not `/`",
    "PG_BIN": "`make run`, tests: the folder of PostgreSQL's programs. Without it one is looked for",
    "HEALTH_URL": "the images' health check: the address it asks. The image sets its API's",
}
"""What is read from the environment by no settings class of a service, and by whom."""


@dataclass(frozen=True)
class Reading:
    """How one service takes a variable: the field, and its JSON Schema."""

    field: FieldInfo
    schema: dict[str, Any]

    @property
    def shape(self) -> dict[str, Any]:
        """The schema of a value that is given."""
        options: list[dict[str, Any]] = self.schema.get("anyOf", [self.schema])
        return next(option for option in options if option["type"] != "null")

    @property
    def default(self) -> str:
        """As an operator would write it; empty for none."""
        default = self.schema.get("default")
        if isinstance(default, list):
            return ",".join(default)
        if isinstance(default, bool):
            return str(default).lower()
        return "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)

    @property
    def secret(self) -> bool:
        return bool(self.shape.get("items", self.shape).get("writeOnly"))

    @property
    def limits(self) -> str:
        """The bounds of a number; empty for none."""
        above, low, high = (self.shape.get(bound) for bound in ("exclusiveMinimum", "minimum", "maximum"))
        if above is not None:
            return f"above {above:g}, at most {high:g}"
        return "" if low is None else f"{low} to {high}"

    @property
    def kind(self) -> str:
        """Type and range in words."""
        shape = self.shape
        if "enum" in shape:
            return ", ".join(f"`{choice}`" for choice in shape["enum"])
        words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "array": "list"}
        shortest = f"at least {shape['minLength']} characters" if shape.get("minLength", 0) > 1 else ""
        pattern = f"`{shape['pattern']}`" if "pattern" in shape else ""
        parts = (words.get(shape["type"], "text"), self.limits, shortest, pattern)
        return ("secret " if self.secret else "") + ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Variable:
    """A variable by its shared name, and how each service that reads it takes it."""

    name: str
    readers: tuple[str, ...]
    readings: tuple[Reading, ...]

    @property
    def demanded(self) -> bool:
        return any(reading.field.is_required() for reading in self.readings)

    @property
    def secret(self) -> bool:
        return any(reading.secret for reading in self.readings)

    @property
    def default(self) -> str:
        return next((reading.default for reading in self.readings if reading.default), "")

    @property
    def example(self) -> str:
        """What to show behind the name: the default, or an example where there is none."""
        examples = [str(example) for reading in self.readings for example in reading.field.examples or ()]
        return self.default or next(iter(examples), "")

    @property
    def meaning(self) -> str:
        """Each service's words, those of the most services first."""
        words = Counter(reading.field.description or "" for reading in self.readings)
        return ". ".join(text for text, _ in words.most_common())


def names_of(field: FieldInfo) -> list[str]:
    """The environment names of a field, the service's own first and the shared one last."""
    assert isinstance(field.validation_alias, AliasChoices)
    return [str(choice) for choice in field.validation_alias.choices]


def variables() -> list[Variable]:
    """Those that most services read first, then in the order of the classes."""
    found: dict[str, dict[str, Reading]] = {}
    for settings in CLASSES:
        shapes = settings.model_json_schema(by_alias=False)["properties"]
        for field, info in settings.model_fields.items():
            found.setdefault(names_of(info)[-1], {})[settings.service] = Reading(info, shapes[field])
    listed = [Variable(name, tuple(readings), tuple(readings.values())) for name, readings in found.items()]
    groups = list(dict.fromkeys(variable.readers for variable in listed))
    return sorted(listed, key=lambda variable: (-len(variable.readers), groups.index(variable.readers)))
