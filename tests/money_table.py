"""Runs every test that docs/money.md names and prints its tables with the results: ``python -m tests.money_table``."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAPER = Path(__file__).resolve().parents[1] / "docs" / "money.md"
_ROW = re.compile(r"^\| (?P<what>.+?) \| (?P<tests>`.+?`) \|$", re.MULTILINE)


def rows() -> list[tuple[str, list[str]]]:
    """What each row says, and the tests it names as pytest takes them."""
    found = _ROW.findall(PAPER.read_text())
    return [(what, [f"tests/{name}" for name in re.findall(r"`([^`]+)`", named)]) for what, named in found]


class Outcomes:
    """A plugin that notes how each test went, whatever its parameters."""

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self.passed: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("[")[0]
        if report.failed:
            self.failed.add(name)
        elif report.when == "call" and report.passed:
            self.passed[name] = self.passed.get(name, 0) + 1

    def lines(self) -> Iterator[str]:
        for what, names in rows():
            bad = [name for name in names if name in self.failed or name not in self.passed]
            cases = sum(self.passed.get(name, 0) for name in names)
            yield f"{'FAILED' if bad else 'passed'} ({cases:3})  {what}" + "".join(f"\n        {name}" for name in bad)


def main() -> int:
    outcomes = Outcomes()
    named = sorted({name for _, names in rows() for name in names})
    code = pytest.main(["-q", "--no-header", *named], plugins=[outcomes])
    print("\n".join(outcomes.lines()))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
