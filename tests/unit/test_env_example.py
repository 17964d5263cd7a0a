"""`.env.example` against the settings classes: complete, true, and nothing more."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices
from pydantic_core import PydanticUndefined

from billing.settings import BillingSettings
from common.settings import Settings
from gateway.settings import GatewaySettings
from identity.settings import IdentitySettings
from media.settings import MediaSettings

EXAMPLE = Path(__file__).resolve().parents[2] / ".env.example"
CLASSES: tuple[type[Settings], ...] = (GatewaySettings, IdentitySettings, BillingSettings, MediaSettings)
SERVICES = {settings.service for settings in CLASSES}

_SECTION = re.compile(r"# == ([a-z ]+) ==")
_VARIABLE = re.compile(r"(# )?([A-Z][A-Z0-9_]*)=(.*)")


@dataclass(frozen=True)
class Shown:
    """One variable of the file: the services of its section, whether it must be given, and the value it shows."""

    readers: frozenset[str]
    demanded: bool
    value: str
    meaning: str


def shown() -> dict[str, Shown]:
    found: dict[str, Shown] = {}
    readers: frozenset[str] = frozenset()
    meaning: list[str] = []
    for line in EXAMPLE.read_text("utf-8").splitlines():
        if section := _SECTION.fullmatch(line):
            readers = frozenset(section[1].split())
        elif variable := _VARIABLE.fullmatch(line):
            assert variable[2] not in found, f"{variable[2]} stands there twice"
            found[variable[2]] = Shown(readers, not variable[1], variable[3], " ".join(meaning))
        elif line.startswith("# "):
            meaning.append(line[2:])
        else:
            assert not line, f"neither a comment nor a variable: {line}"
            meaning = []
    return found


def fields() -> dict[str, dict[str, Any]]:
    """Every variable's shared name, and the field of each service that reads it."""
    found: dict[str, dict[str, Any]] = {}
    for settings in CLASSES:
        for field in settings.model_fields.values():
            assert isinstance(field.validation_alias, AliasChoices)
            name = str(field.validation_alias.choices[-1])
            found.setdefault(name, {})[settings.service] = field
    return found


FIELDS = fields()


def test_every_setting_is_there_and_no_other() -> None:
    assert sorted(shown()) == sorted(FIELDS)


def test_every_setting_stands_under_the_services_that_read_it() -> None:
    there = {name: set(variable.readers) for name, variable in shown().items()}
    assert there == {name: set(readers) for name, readers in FIELDS.items()}
    assert set().union(*there.values()) == SERVICES


def test_exactly_what_some_service_demands_stands_open_and_has_no_value() -> None:
    demanded = {name for name, variable in shown().items() if variable.demanded}
    assert demanded == {
        name for name, readers in FIELDS.items() if any(field.is_required() for field in readers.values())
    }
    assert {variable.value for variable in shown().values() if variable.demanded} == {""}


def test_every_setting_is_explained_there_and_in_its_class() -> None:
    for name, variable in shown().items():
        assert len(variable.meaning) >= 10, name
        for field in FIELDS[name].values():
            assert field.description, name


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_default_shown_is_the_default(name: str) -> None:
    defaults = [field.get_default(call_default_factory=True) for field in FIELDS[name].values()]
    written = {_written(default) for default in defaults if default not in (PydanticUndefined, None, ())}
    if written:
        assert shown()[name].value in written


def test_no_value_in_the_file_could_be_mistaken_for_a_secret_to_use() -> None:
    for name, variable in shown().items():
        if any("Secret" in str(field.annotation) for field in FIELDS[name].values()):
            harmless = not variable.value or "…" in variable.value or "user:password@" in variable.value
            assert harmless, name


def _written(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default)
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float) and default.is_integer():
        return str(int(default))
    return str(default)
