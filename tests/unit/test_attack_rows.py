"""The table of attacks is complete: every row has a test, and every test of it names a row."""

import subprocess
import sys
from pathlib import Path

from tests.support.attack_table import ROWS

REPOSITORY = Path(__file__).resolve().parents[2]
LETTERS = {"A": 17, "B": 17, "C": 24, "D": 7, "E": 16}


def test_every_row_is_listed_once_and_described() -> None:
    assert list(ROWS) == [f"{letter}{number}" for letter, last in LETTERS.items() for number in range(1, last + 1)]
    assert len(set(ROWS.values())) == len(ROWS)


def test_every_row_has_a_test() -> None:
    collected = [sys.executable, "-m", "pytest", "-m", "attack", "--collect-only", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(collected, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False)
    lines = {line.split(" ")[0]: line for line in ran.stdout.splitlines()}
    untested = [row for row in ROWS if "not run" not in lines.get(row, "")]
    assert untested == [], ran.stdout[-3000:]
    assert ran.returncode == 0
