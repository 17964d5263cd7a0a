"""What the papers say about this repository is there: paths, commands, links and tables."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAPERS = sorted(
    path
    for path in [
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("docs/**/*.md"),
        *REPOSITORY.glob("deploy/**/*.md"),
        *REPOSITORY.glob("services/*/README.md"),
        *REPOSITORY.glob("deploy/*/README.md"),
    ]
)
ROOTS = ("libs/", "services/", "deploy/", "docs/", "tests/", ".ci/")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_ROW = re.compile(r"^\| (?P<left>.+?) \| (?P<right>.+?) \|$", re.MULTILINE)

each_paper = pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(REPOSITORY)))


def section(paper: Path, heading: str) -> str:
    """The text under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", paper.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"no heading {heading!r}"
    return found[1]


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


@each_paper
def test_links_lead_somewhere(paper: Path) -> None:
    inside = [link.partition("#")[0] for link in _LINK.findall(paper.read_text()) if "://" not in link]

    assert [link for link in inside if not (paper.parent / link).exists()] == []


@each_paper
def test_paths_named_are_there(paper: Path) -> None:
    """A path with a part in angle brackets stands for several; one must exist."""
    named = [code for code in _CODE.findall(paper.read_text()) if code.startswith(ROOTS) and " " not in code]
    patterns = [re.sub(r"<[a-z]+>", "*", name) for name in named]

    assert [name for name in patterns if not list(REPOSITORY.glob(name.rstrip("/")))] == []


@each_paper
def test_tests_named_are_there(paper: Path) -> None:
    named = re.findall(r"`(?:tests/)?(\w+/\w+\.py)::(test_\w+)`", paper.read_text())

    assert [f"{path}::{test}" for path, test in named if test not in functions_of(path)] == []


@each_paper
def test_make_targets_named_are_there(paper: Path) -> None:
    named = re.findall(r"`(?:[A-Z_]+=\S+ )?make ([a-z]+)", paper.read_text())

    assert set(named) <= targets()


@cache
def functions_of(path: str) -> set[str]:
    """The tests of a file below `tests`; none when it is not there."""
    file = REPOSITORY / "tests" / path
    return set(re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)) if file.exists() else set()


def test_who_wants_to_change_something_finds_the_place() -> None:
    rows = _ROW.findall(section(REPOSITORY / "README.md", "I want to change …"))
    places = [_LINK.findall(right) for _, right in rows[1:]]

    assert len(places) >= 20
    assert all(places)


def test_every_module_command_explains_itself() -> None:
    """Each `python -m module command` of the README and the guide is one the module knows."""
    papers = "".join((REPOSITORY / name).read_text() for name in ("README.md", "deploy/GUIDE.md"))
    named = set(re.findall(r"python -m ([a-z]+)(?![a-z.]) ?([a-z-]*)", papers))
    modules = {module for module, _ in named}

    for module in modules:
        asked = [sys.executable, "-m", module, "--help"]
        told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        missing = [command for name, command in named if name == module and command and command not in told]
        assert missing == [], module


def test_every_benchmark_is_named() -> None:
    named = re.findall(r"python -m tests\.bench\.(\w+)", (REPOSITORY / "README.md").read_text())

    assert sorted(named) == sorted(path.stem for path in (REPOSITORY / "tests" / "bench").glob("bench_*.py"))


def test_decisions_are_numbered_without_a_gap_and_fit_on_a_page() -> None:
    decisions = sorted((REPOSITORY / "docs" / "adr").glob("*.md"))

    for number, decision in enumerate(decisions, start=1):
        assert decision.name.startswith(f"{number:04d}-")
        assert decision.read_text().startswith(f"# {number:04d} · ")
        assert len(decision.read_text().splitlines()) <= 60
        for heading in ("Context", "Decision", "Consequences"):
            assert section(decision, heading).strip()
