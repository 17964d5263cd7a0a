"""A row's canonical form: SQLite writes plain tables down as Python does single values, to the last byte."""

from pathlib import Path

import pytest

from common.progress import Progress
from migration.findings import judge
from migration.lines import by_key, line_writer, portions
from migration.source import Source, opened
from migration.values import EARLIEST, LATEST, copy_lines
from tests.support.legacy_files import execute, fill, insert, make, writing

SPECIAL = "back\\slash \\N \\. tab\t line\n return\r \b\f\v bell\x07 del\x7f é 😀 \u2028"


def both_ways(source: Source, name: str) -> tuple[bytes, bytes]:
    table, findings = source.tables[name], judge(source, Progress())
    writer = line_writer(findings, table)
    assert writer is not None, f"{name} is plain"
    where = findings.where_clean(table)
    rows = [row for batch in source.read(table, where, by_key(table)) for row in batch.exact]
    return b"".join(
        part.text for part in portions(source.connection, table, writer.compared(), where, by_key(table))
    ), copy_lines(rows)


def test_sqlite_writes_rows_down_as_python_does(file: Path) -> None:
    make(file)
    insert(file, "User", id="one", email=SPECIAL, struggle=SPECIAL, createdAt=EARLIEST, updatedAt=LATEST)
    insert(file, "User", id="Two", struggle=None, createdAt=-1, updatedAt=0)
    insert(file, "User", id="", struggle="", createdAt=0)
    numbers = {"stepIndex": -(2**63), "totalSteps": 2**63 - 1}
    insert(file, "UserPath", userId="one", isActive=1, lastActionDone=0, createdAt=0, **numbers)
    for name, count in (("User", 3), ("UserPath", 1)):
        with opened(file) as source:
            lines, expected = both_ways(source, name)
        assert lines == expected
        assert lines.count(b"\n") == count


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE User SET createdAt = '2025-06-01 12:00:00'",
        "UPDATE User SET struggle = CAST(X'ff' AS TEXT)",
        "UPDATE User SET struggle = X'01'",
        'ALTER TABLE User ADD COLUMN "nickname"',
    ],
)
def test_a_table_with_anything_odd_in_it_is_taken_apart(file: Path, statement: str) -> None:
    fill(file)
    execute(file, statement)
    with opened(file) as source:
        findings = judge(source, Progress())
        assert line_writer(findings, source.tables["User"]) is None
        assert line_writer(findings, source.tables["UserValue"]) is not None


def test_a_file_that_keeps_its_texts_in_other_bytes_is_taken_apart(file: Path) -> None:
    with writing(file) as database:
        database.execute("PRAGMA encoding = 'UTF-16le'")
        database.execute("CREATE TABLE first (one)")
    with opened(fill(file)) as source:
        assert not judge(source, Progress()).plain
