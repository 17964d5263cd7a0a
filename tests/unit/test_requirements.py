"""The images' package lists: cut from the lock, complete for their service, free of tools and stand-ins."""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker_files import stages

REPOSITORY = Path(__file__).resolve().parents[2]
LISTS = sorted((REPOSITORY / "deploy" / "requirements").glob("*.txt"))
IMAGES_OF_GUESTS = ["backup", "operations"]
SERVICES = sorted(folder.name for folder in (REPOSITORY / "services").glob("*/"))
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)( ;[^\\\n]*)?", re.MULTILINE)


@cache
def pins(path: Path) -> dict[tuple[str, str], frozenset[str]]:
    """The hashes by package and version."""
    found = {}
    for block in re.split(r"\n(?=\S)", path.read_text().strip()):
        if (pin := _PIN.match(block)) is not None:
            found[pin[1], pin[2]] = frozenset(re.findall(r"--hash=(\S+)", block))
    return found


def asked_for(member: str) -> set[str]:
    """The packages a member of the workspace names itself."""
    project: dict[str, Any] = tomllib.loads((REPOSITORY / member / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[<>=!~ ]", wanted)[0] for wanted in project["dependencies"]}
    return {name for name in names if not name.startswith("entrain-")}


def test_every_image_has_its_list() -> None:
    assert [path.stem for path in LISTS] == sorted([*SERVICES, *IMAGES_OF_GUESTS])


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_a_list_is_a_part_of_the_lock(path: Path) -> None:
    lock = pins(REPOSITORY / "requirements.lock")
    listed = pins(path)

    assert listed
    assert {pin for pin, hashes in listed.items() if lock.get(pin) != hashes} == set(), "run `make lock`"
    assert all(listed.values()), "every package has a hash"


@pytest.mark.parametrize(
    "member", [f"services/{name}" for name in SERVICES] + [f"deploy/{name}" for name in IMAGES_OF_GUESTS]
)
def test_a_list_holds_what_its_member_asks_for(member: str) -> None:
    listed = {name for name, _ in pins(REPOSITORY / "deploy" / "requirements" / f"{Path(member).name}.txt")}

    assert asked_for(member) | asked_for("libs/common") <= listed


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_a_list_holds_no_tool_and_no_stand_in(path: Path) -> None:
    tools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    unwanted = {re.split(r"[\[<>=]", tool)[0] for tool in tools} - asked_for("libs/common") - {"pyyaml"}
    stand_ins = asked_for("deploy/embedded") - asked_for("services/media") - asked_for("libs/common")

    assert {name for name, _ in pins(path)} & (unwanted | stand_ins) == set()


@pytest.mark.parametrize("path", [*LISTS, REPOSITORY / "requirements.lock"], ids=lambda path: path.stem)
def test_a_list_names_no_host(path: Path) -> None:
    assert "://" not in path.read_text()


def test_the_operators_image_holds_every_service_they_ask() -> None:
    copied = {step.words[-1]: step.words[0] for step in stages()["operations-build"] if step.keyword == "COPY"}
    sources = {name: f"services/{name}/{name}" for name in SERVICES}

    assert {**sources, "common": "libs/common/common", "entrain": "deploy/operations/entrain"}.items() <= copied.items()
