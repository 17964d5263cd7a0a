"""What the settings classes say of every variable: enough for an operator, and nothing that could be used as it stands.

`.env.example` and docs/settings.md are made from it; tests/contract/test_events.py compares them with the code.
"""

import re
from pathlib import Path

import pytest

from described_settings import CLASSES, OTHERS, Variable, names_of, variables

REPOSITORY = Path(__file__).resolve().parents[2]
VARIABLES = {variable.name: variable for variable in variables()}
TOLD_TO_ALL = {"CLERK_PUBLISHABLE_KEY", "CLERK_JWT_KEY", "GATEWAY_PUBLIC_KEYS"}

each_variable = pytest.mark.parametrize("variable", VARIABLES.values(), ids=VARIABLES.keys())


@each_variable
def test_a_variable_says_what_it_is_for_and_what_is_so_without_it(variable: Variable) -> None:
    assert len(variable.meaning) >= 10
    if not (variable.demanded or variable.default):
        assert re.search(r"\b[Ww]ithout (it|one|any|both)\b", variable.meaning)


@each_variable
def test_services_that_read_a_variable_take_it_alike(variable: Variable) -> None:
    defaults = {reading.default for reading in variable.readings if reading.default}
    assert len(defaults) <= 1
    assert len({(reading.secret, reading.shape["type"]) for reading in variable.readings}) == 1


@each_variable
def test_a_secret_has_no_default_and_no_example_that_could_be_used(variable: Variable) -> None:
    if variable.secret:
        assert variable.default == ""
        assert variable.example == "" or "…" in variable.example or "user:password@" in variable.example


def test_what_is_named_like_a_secret_is_kept_like_one() -> None:
    named = {name for name in VARIABLES if re.search(r"(KEY|KEYS|SECRET|SECRETS|PASSWORD|AUTHORIZATION)$", name)}
    assert {name for name in named if not VARIABLES[name].secret} == TOLD_TO_ALL


def test_nothing_is_read_from_the_environment_that_is_not_described() -> None:
    folders = (REPOSITORY / folder for folder in ("libs", "services", "deploy"))
    code = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[)[\"']([A-Z][A-Z0-9_]+)", code))
    described = {name for settings in CLASSES for field in settings.model_fields.values() for name in names_of(field)}
    assert "CLERK_ISSUERS" in read
    assert read - described - set(OTHERS) - {"PATH"} == set()
    prefixes = set(re.findall(r'read_as\("([a-z]+)"\)', code)) - {settings.service for settings in CLASSES}
    assert "legacy" in prefixes
    assert {name for name in prefixes if f"{name.upper()}_DATABASE_URL" not in OTHERS} == set()
