"""Every trap that a file of the prototype can hold, one by one and all in one file."""

from pathlib import Path
from typing import Any

from tests.support.legacy_files import Amounts, execute, fill, insert

BROKEN = "CAST(X'63616fff' AS TEXT)"
"""Text that is no UTF-8, in SQL."""
Trap = tuple[str, dict[str, Any], str, str]
"""Table, values, and the reason and the column under which the row goes into the quarantine."""
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
"""What is merely odd, and arrives."""
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
"""What media does not know of wishes and events: beside the values of ``KNOWN``."""
KNOWN: dict[str, dict[str, Any]] = {
    "CurationPreferences": {"primaryGoal": "Calm"},
    "SessionEvent": {"sessionId": "s", "eventType": "start"},
}
CASES = "c3d4e5f6-a7b8-9012-cdef-00000000000a"


def fill_hostile(file: Path, amounts: Amounts) -> int:
    """A full file with every trap and every oddity in it; how many rows belong into the quarantine."""
    fill(file, amounts)
    for user in ("user_one", "user_broken"):
        insert(file, "User", id=user)
    insert(file, "Session", id="s")
    for table, values in HARMLESS:
        insert(file, table, **values)
    for table, values, _, _ in SINGLE:
        insert(file, table, **values)
    for number, (table, values, _, _) in enumerate(WISHES):
        insert(file, "User", id=f"user_wish{number}")
        insert(file, table, userId=f"user_wish{number}", **(KNOWN[table] | values))
    for session_id in (CASES, CASES.upper()):
        insert(file, "Session", id=session_id)
    insert(file, "UserValue", userId="user_broken", valueText="of somebody in quarantine")
    execute(file, f"UPDATE User SET struggle = {BROKEN} WHERE id = 'user_broken'")
    execute(file, 'CREATE TABLE "Feedback" (words TEXT, score)')
    execute(file, 'INSERT INTO "Feedback" VALUES (?, ?), (?, ?)', ("kept", 1.5, "kept", 1.5))
    execute(file, "ALTER TABLE User ADD COLUMN nickname TEXT")
    return len(SINGLE) + len(WISHES) + 2 + 2
