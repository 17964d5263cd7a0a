"""Each trap a SQLite file can hold: what goes into the quarantine, for what reason, and what arrives all the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.progress import Progress
from migration.findings import judge
from migration.source import opened
from tests.support.hostile_file import BROKEN, HARMLESS, KNOWN, SINGLE, WISHES
from tests.support.legacy_files import BASE_MS, execute, insert, make


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make(tmp_path / "dev.db")


def found(file: Path) -> dict[tuple[str, int], tuple[str, str]]:
    with opened(file) as source:
        findings = judge(source, Progress())
        return {(one.table, one.rowid): (one.reason, one.column) for one in findings.listed(1000)}


@pytest.mark.parametrize(
    "table,values,reason,column", SINGLE, ids=[f"{trap[0]}-{trap[3]}-{trap[2]}" for trap in SINGLE]
)
def test_a_trap_goes_into_the_quarantine(
    file: Path, table: str, values: dict[str, Any], reason: str, column: str
) -> None:
    clean = insert(file, "Job")
    row = insert(file, table, **values)

    assert found(file) == {(table, row): (reason, column)}
    assert clean == 1


@pytest.mark.parametrize("table,values", HARMLESS)
def test_what_is_merely_odd_arrives(file: Path, table: str, values: dict[str, Any]) -> None:
    insert(file, "User", id="user_one")
    insert(file, table, **values)

    assert found(file) == {}


@pytest.mark.parametrize(
    "table,values,reason,column", WISHES, ids=[f"{number}-{trap[3]}" for number, trap in enumerate(WISHES)]
)
def test_what_media_does_not_know_of_wishes_and_events_goes_into_the_quarantine(
    file: Path, table: str, values: dict[str, Any], reason: str, column: str
) -> None:
    for user in ("user_one", "user_two"):
        insert(file, "User", id=user)
    insert(file, "Session", id="s")
    insert(file, table, userId="user_one", **KNOWN[table])
    row = insert(file, table, userId="user_two", **(KNOWN[table] | values))

    assert found(file) == {(table, row): (reason, column)}


def test_text_that_is_no_utf8_is_found_and_nothing_beside_it(file: Path) -> None:
    rows = [insert(file, "User") for _ in range(3)]
    execute(file, f'UPDATE "User" SET struggle = {BROKEN} WHERE rowid = ?', [rows[1]])

    assert found(file) == {("User", rows[1]): ("text that is no UTF-8", "struggle")}


def test_what_belongs_to_a_row_in_quarantine_goes_with_it(file: Path) -> None:
    user = insert(file, "User", id="user_one", struggle="a\0b")
    value = insert(file, "UserValue", userId="user_one")
    session = insert(file, "Session", id="s", ownerUserId="user_one", title=b"blob")
    line = insert(file, "SessionAffirmation", sessionId="s", idx=0)
    insert(file, "Session", id="kept", ownerUserId="user_one")

    lost = "parent that is in quarantine"
    assert found(file) == {
        ("User", user): ("text with a NUL character", "struggle"),
        ("UserValue", value): (lost, "userId"),
        ("Session", session): ("bytes in a column of texts", "title"),
        ("SessionAffirmation", line): (lost, "sessionId"),
    }


def test_sessions_whose_ids_differ_in_case_only_are_neither_of_them_chosen(file: Path) -> None:
    lower = "c3d4e5f6-a7b8-9012-cdef-123456789012"
    rows = [insert(file, "Session", id=one) for one in (lower, lower.upper(), "another")]

    reason = ("keys that differ in case only", "id")
    assert found(file) == {("Session", rows[0]): reason, ("Session", rows[1]): reason}


def without_keys(file: Path, table: str, columns: str) -> Callable[..., int]:
    """The table made anew without any constraint, as a hand with a database browser can."""
    execute(file, f'DROP TABLE "{table}"')
    execute(file, f'CREATE TABLE "{table}" ({columns})')
    return lambda **values: insert(file, table, **values)


def test_keys_that_are_there_twice_or_not_at_all(file: Path) -> None:
    add = without_keys(file, "User", '"id" TEXT, "email" TEXT, "createdAt" DATETIME, "updatedAt" DATETIME')
    times = {"email": "a", "createdAt": BASE_MS, "updatedAt": BASE_MS}
    rows = [add(id=key, **times) for key in ("one", "one", None, "two")]

    assert found(file) == {
        ("User", rows[0]): ("key that is there twice", "id"),
        ("User", rows[1]): ("key that is there twice", "id"),
        ("User", rows[2]): ("missing value", "id"),
    }


def test_two_lines_in_one_place_are_neither_of_them_chosen(file: Path) -> None:
    insert(file, "Session", id="s")
    add = without_keys(file, "SessionAffirmation", '"id" TEXT, "sessionId" TEXT, "idx" INTEGER, "text" TEXT')
    rows = [add(id=f"{number}", sessionId="s", idx=place, text="x") for number, place in enumerate((0, 0, 1, 2**40))]

    assert found(file) == {
        ("SessionAffirmation", rows[0]): ("key that is there twice", "idx"),
        ("SessionAffirmation", rows[1]): ("key that is there twice", "idx"),
        ("SessionAffirmation", rows[3]): ("number too large for its column", "idx"),
    }


def test_what_the_prototype_never_kept_unique_need_not_be(file: Path) -> None:
    insert(file, "User", id="user_one")
    insert(file, "Session", id="s")
    insert(file, "AudioAsset", id="shared")
    insert(file, "SessionAudio", sessionId="s", mergedAudioAssetId="shared")
    for _ in range(2):
        insert(file, "SessionAudioAsset", sessionId="s", kind="affirmation_line", lineIndex=0)
        insert(file, "UserValue", userId="user_one", valueId="peace")

    assert found(file) == {}
