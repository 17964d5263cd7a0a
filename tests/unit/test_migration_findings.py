"""Each trap a SQLite file can hold: what goes into the quarantine, for what reason, and what arrives all the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.progress import Progress
from migration.findings import judge
from migration.source import opened
from tests.support.legacy_files import BASE_MS, execute, insert, make

BROKEN = "CAST(X'63616fff' AS TEXT)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make(tmp_path / "dev.db")


def found(file: Path) -> dict[tuple[str, int], tuple[str, str]]:
    with opened(file) as source:
        findings = judge(source, Progress())
        return {(one.table, one.rowid): (one.reason, one.column) for one in findings.listed(1000)}


Trap = tuple[str, dict[str, Any], str, str]
SINGLE: tuple[Trap, ...] = (
    ("User", {"struggle": "a\0b"}, "text with a NUL character", "struggle"),
    ("User", {"email": b"\x00blob"}, "bytes in a column of texts", "email"),
    ("User", {"createdAt": "yesterday"}, "unreadable date", "createdAt"),
    ("User", {"createdAt": "2025-02-30 10:00:00"}, "unreadable date", "createdAt"),
    ("User", {"createdAt": "2025-01-01T00:00:00.0000001Z"}, "unreadable date", "createdAt"),
    ("User", {"createdAt": ""}, "unreadable date", "createdAt"),
    ("User", {"createdAt": 1.5}, "float in a column of instants", "createdAt"),
    ("User", {"createdAt": 2**62}, "date out of range", "createdAt"),
    ("User", {"createdAt": -(2**62)}, "date out of range", "createdAt"),
    ("User", {"createdAt": -62_135_596_800_000}, "date out of range", "createdAt"),
    ("User", {"createdAt": "0001-01-01 00:00:00"}, "unreadable date", "createdAt"),
    ("User", {"createdAt": "9999-12-31 23:59:59.999999"}, "unreadable date", "createdAt"),
    ("User", {"id": "k" * 2001}, "key too long", "id"),
    ("Session", {"durationSec": "ten"}, "text in a column of integers", "durationSec"),
    ("Session", {"durationSec": 10.5}, "float in a column of integers", "durationSec"),
    ("Session", {"frequencyHz": float("inf")}, "infinite number", "frequencyHz"),
    ("Session", {"frequencyHz": "fast"}, "text in a column of reals", "frequencyHz"),
    ("Session", {"source": "imported"}, "unknown source", "source"),
    ("Session", {"ownerUserId": "nobody"}, "parent that is not there", "ownerUserId"),
    ("AdminUser", {"isActive": 2}, "neither true nor false", "isActive"),
    ("AdminUser", {"isActive": "yes"}, "text in a column of booleans", "isActive"),
    ("SessionAffirmation", {"sessionId": "nowhere"}, "parent that is not there", "sessionId"),
    ("SessionAudio", {"mergedAudioAssetId": "nowhere"}, "parent that is not there", "sessionId"),
    ("UserValue", {"userId": "nobody"}, "parent that is not there", "userId"),
    ("AuditLog", {"adminUserId": "nobody"}, "parent that is not there", "adminUserId"),
)


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


HARMLESS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("User", {"id": "", "email": ""}),
    ("User", {"id": "not a uuid, ’quoted’ \\N \\. \t \r\n"}),
    ("User", {"struggle": "é vs e\u0301 🎧 \u202e " + "x" * 1_000_000}),
    ("User", {"createdAt": 0, "updatedAt": -1}),
    ("User", {"createdAt": 253_402_300_799_999, "updatedAt": -62_135_596_799_999}),
    ("User", {"createdAt": "2025-03-30 02:30:00", "updatedAt": "2025-03-30T02:30:00.123456+05:30"}),
    ("Session", {"durationSec": 2**62, "frequencyHz": 5e-324, "solfeggioHz": 0.1 + 0.2}),
    ("Session", {"affirmationsHash": "placeholder_hash_1", "goalTag": ""}),
    ("Preferences", {"userId": "user_one", "json": '{"a":1,"a":2,"\\u0000":"\\ud800"'}),
    ("Job", {"sessionId": "of a deleted session", "userId": "nobody", "payload": "{not json"}),
    ("AudioAsset", {"url": "\\\\server\\share\\a b.mp3", "metaJson": '{"x": 4284.169999999999}'}),
)


@pytest.mark.parametrize("table,values", HARMLESS)
def test_what_is_merely_odd_arrives(file: Path, table: str, values: dict[str, Any]) -> None:
    insert(file, "User", id="user_one")
    insert(file, table, **values)

    assert found(file) == {}


WISHES: tuple[Trap, ...] = (
    ("CurationPreferences", {"primaryGoal": "Wealth"}, "unknown goal", "primaryGoal"),
    ("CurationPreferences", {"primaryGoal": "calm"}, "unknown goal", "primaryGoal"),
    ("CurationPreferences", {"voicePreference": ""}, "unknown voice", "voicePreference"),
    ("CurationPreferences", {"soundPreference": "Loud"}, "unknown sound", "soundPreference"),
    ("SessionEvent", {"eventType": "pause"}, "unknown kind of event", "eventType"),
    ("SessionEvent", {"sessionId": "gone"}, "parent that is not there", "sessionId"),
    *(
        ("SessionEvent", {"metadata": text}, "text that is no JSON object", "metadata")
        for text in (
            "",
            "{not json",
            "[1]",
            "null",
            '{"a": NaN}',
            '{"a": "\\u0000"}',
            '{"a": "\\ud800"}',
            '{"a": 1e999}',
        )
    ),
    ("SessionEvent", {"metadata": '{"a":' * 100_000}, "text that is no JSON object", "metadata"),
    ("SessionEvent", {"metadata": b"{}"}, "bytes in a column of texts", "metadata"),
)


@pytest.mark.parametrize(
    "table,values,reason,column", WISHES, ids=[f"{number}-{trap[3]}" for number, trap in enumerate(WISHES)]
)
def test_what_media_does_not_know_of_wishes_and_events_goes_into_the_quarantine(
    file: Path, table: str, values: dict[str, Any], reason: str, column: str
) -> None:
    for user in ("user_one", "user_two"):
        insert(file, "User", id=user)
    insert(file, "Session", id="s")
    known = {"CurationPreferences": {"primaryGoal": "Calm"}, "SessionEvent": {"sessionId": "s", "eventType": "start"}}
    insert(file, table, userId="user_one", **known[table])
    row = insert(file, table, userId="user_two", **(known[table] | values))

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
