"""docs/money.md leaves no row without a test."""

from tests.money_table import PAPER, rows


def test_no_row_is_without_a_test() -> None:
    lines = [line for line in PAPER.read_text().splitlines() if line.startswith("| ")]
    headings = [line for line in lines if line.endswith("| seen by |")]
    assert len(rows()) == len(lines) - len(headings) >= 60
