"""docs/money.md names tests that are there."""

import ast
from functools import cache
from pathlib import Path

from tests.money_table import PAPER, rows

REPOSITORY = Path(__file__).resolve().parents[2]


@cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse((REPOSITORY / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_named_is_there() -> None:
    named = [name.split("::") for _, names in rows() for name in names]
    assert [f"{path}::{test}" for path, test in named if test not in functions_of(path)] == []


def test_no_row_is_without_a_test() -> None:
    lines = [line for line in PAPER.read_text().splitlines() if line.startswith("| ")]
    headings = [line for line in lines if line.endswith("| seen by |")]
    assert len(rows()) == len(lines) - len(headings) >= 60
