"""Files that no prototype ever wrote, but a hand may have: what cannot be moved is kept whole, and said."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from migration import commands
from migration.commands import Options
from migration.findings import LONGEST_KEY
from tests.support.legacy_files import execute, insert, make, writing
from tests.support.migration import Meanwhile, Target, certificate

UPPER, LOWER = "USER_ONE", "user_one"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make(tmp_path / "dev.db")


async def moved(target: Target, file: Path, report: Path) -> dict[str, Any]:
    """The certificate of a run that accounts for everything, as a later look does."""
    for command in ("run", "verify"):
        ended = await target.run(command, file, "--report", report)
        assert ended.returncode == 0, ended.stderr
    return certificate(report)


def made_again(file: Path, table: str, pattern: str, instead: str) -> None:
    """The empty table, with its definition changed."""
    with writing(file) as database:
        (definition,) = database.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        changed = re.sub(pattern, instead, definition)
        assert changed != definition
        database.execute(f'DROP TABLE "{table}"')
        database.execute(changed)


async def test_an_owner_too_long_for_an_index_holds_up_nobody(target: Target, file: Path, report: Path) -> None:
    owner = "k" * (LONGEST_KEY + 1)
    insert(file, "User", id=owner)
    insert(file, "Session", id="theirs", ownerUserId=owner)
    insert(file, "Session", id="another")

    shown = await moved(target, file, report)

    assert shown["quarantine"]["byReason"] == {"key too long": 2}
    assert [row["id"] for row in await target.rows("SELECT id FROM media.session")] == ["another"]


async def test_a_parent_that_differs_in_case_is_none_whatever_the_column_says(
    target: Target, file: Path, report: Path
) -> None:
    for table in ("User", "UserValue", "Session", "SessionAffirmation"):
        made_again(file, table, r'" TEXT', '" TEXT COLLATE NOCASE')
    insert(file, "User", id=LOWER)
    insert(file, "UserValue", id="of nobody", userId=UPPER)
    insert(file, "UserValue", id="theirs", userId=LOWER)
    for number, session_id in enumerate(("B", "a", "c")):
        insert(file, "Session", id=session_id)
        insert(file, "SessionAffirmation", sessionId=session_id, idx=number)

    shown = await moved(target, file, report)

    assert shown["quarantine"]["byReason"] == {"parent that is not there": 1}
    assert [row["id"] for row in await target.rows("SELECT id FROM identity.user_value")] == ["theirs"]
    assert await target.value("SELECT count(*) FROM media.session_line") == 3


async def test_a_row_that_found_no_place_is_never_taken_for_one_its_owner_removed(
    target: Target, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(file, "User", id="user_one")
    row = insert(file, "UserValue", userId="user_one")
    for name, url in target.environment.items():
        monkeypatch.setenv(name, url)

    shown = await commands.run(Options(file), Meanwhile(target, "moving UserValue", 'DELETE FROM identity."user"'))

    (values,) = [home for home in shown["services"] if home["table"] == "identity.user_value"]
    assert values["conflicts"] == {"count": 1, "rowids": [row]}
    assert values["removedSince"]["count"] == 0
    assert not shown["complete"]


async def test_a_table_that_lacks_what_it_always_had_is_kept_whole_as_one_nobody_knows(
    target: Target, file: Path, report: Path
) -> None:
    made_again(file, "UserValue", r'"valueText" TEXT NOT NULL,', "")
    insert(file, "User", id="user_one")
    insert(file, "UserValue", userId="user_one")
    execute(file, 'ALTER TABLE Job ADD COLUMN "rowid" TEXT')
    insert(file, "Job", rowid="not a number")

    shown = await moved(target, file, report)

    for table in ("UserValue", "Job"):
        assert shown["unknownTables"][table] == {"rows": 1, "kept": 1, "ofDeletedAccounts": 0}
    assert await target.value('SELECT id FROM identity."user"') == "user_one"


async def test_columns_that_the_file_computes_are_columns(target: Target, file: Path, report: Path) -> None:
    computed = '"valueText" TEXT NOT NULL GENERATED ALWAYS AS ("valueId" || \'!\')'
    made_again(file, "UserValue", r'"valueText" TEXT NOT NULL', computed)
    execute(file, "ALTER TABLE User ADD COLUMN shout TEXT AS (upper(email))")
    insert(file, "User", id="user_one", email="jo@mail.test")
    execute(
        file, "INSERT INTO UserValue (id, userId, valueId, createdAt, updatedAt) VALUES ('v', 'user_one', 'joy', 1, 1)"
    )

    shown = await moved(target, file, report)

    assert shown["source"]["unknownColumns"] == {"User": ["shout"]}
    assert await target.value("SELECT value_text FROM identity.user_value") == "joy!"


async def test_events_that_would_have_the_same_number_go_to_the_quarantine(
    target: Target, file: Path, report: Path
) -> None:
    insert(file, "User", id="user_one")
    insert(file, "Session", id="s", ownerUserId="user_one")
    with writing(file) as database:
        event = "INSERT INTO SessionEvent VALUES (?, 'user_one', 's', 'start', NULL, '2025-01-01 00:00:00')"
        database.execute("BEGIN")
        database.executemany(event, [(f"ev-{number}",) for number in range(6000)])
        database.execute("COMMIT")

    shown = await moved(target, file, report)

    twice = shown["quarantine"]["byReason"]["number that another event has"]
    assert twice > 0
    assert await target.value("SELECT count(*) FROM media.listening_event") == 6000 - twice


async def test_a_broken_text_that_sqlite_would_alter_while_reading_is_refused(target: Target, tmp_path: Path) -> None:
    file = tmp_path / "wide.db"
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA encoding = 'UTF-16le'")
        database.execute("CREATE TABLE Feedback (words TEXT)")
        database.execute("INSERT INTO Feedback VALUES (CAST(X'41003DD84200' AS TEXT))")
    database.close()

    ended = await target.run("run", file)

    assert (ended.returncode, "Feedback.words holds a text that is no UTF-16le" in ended.stderr) == (2, True)
    assert await target.value("SELECT to_regclass('legacy.run')") is None


async def test_a_file_whose_index_misses_rows_is_refused(target: Target, file: Path) -> None:
    insert(file, "User", id="user_one")
    with writing(file) as database:
        database.execute("CREATE TABLE Feedback (id TEXT PRIMARY KEY)")
        place = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_Feedback_1'"
        (empty,) = database.execute(place).fetchone()
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_master SET rootpage = ? WHERE name = 'sqlite_autoindex_User_1'", (empty,))

    for command in ("inspect", "run"):
        ended = await target.run(command, file)
        assert (ended.returncode, "an index of User leads to 0 of its 1 rows" in ended.stderr) == (2, True), (
            ended.stderr
        )


async def test_a_damaged_file_is_refused(target: Target, file: Path) -> None:
    execute(file, "CREATE TABLE Feedback (words TEXT NOT NULL)")
    execute(file, "INSERT INTO Feedback VALUES ('some')")
    with writing(file) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'Feedback'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as opened:
        opened.seek((page - 1) * size + 8)
        opened.write(b"\xff\xff")

    for command in ("inspect", "run"):
        ended = await target.run(command, file)
        assert (ended.returncode, "integrity_check" in ended.stderr) == (2, True), ended.stderr
