"""SECURITY.md leaves no threat without a control in the code and a test that proves it."""

import re
from pathlib import Path

PAPER = Path(__file__).resolve().parents[2] / "SECURITY.md"
HEAD = "| threat | control | proved by |"


def test_every_threat_has_a_control_and_a_test() -> None:
    tables = [block for block in PAPER.read_text("utf-8").split("\n\n") if block.startswith(HEAD)]
    rows = [row.strip("|").split(" | ") for table in tables for row in table.strip().splitlines()[2:]]

    assert len(rows) >= 40
    for threat, control, tests in rows:
        assert re.search(r"\]\([a-z./]+[a-z_]+|\]\(requirements\.lock", control), threat
        assert re.fullmatch(r"`\w+/\w+\.py::test_\w+`(, `\w+/\w+\.py::test_\w+`)*", tests.strip()), threat
