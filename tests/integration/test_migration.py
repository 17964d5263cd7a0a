"""A whole file, of any generation, to the services and the archive: what arrives, is proved, and is left alone."""

import base64
import io
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.progress import Progress
from media.lines import hash_of_lines
from migration import moving
from migration.findings import judge
from migration.lines import archive_query, by_key, joined, line_writer
from migration.source import opened
from tests.support import legacy_files
from tests.support.hand_clock import START, HandClock
from tests.support.hostile_file import fill_hostile
from tests.support.legacy_files import Amounts, execute, fill, insert, make
from tests.support.legacy_schema import GENERATIONS
from tests.support.migration import Target, certificate, source_rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DATES = (
    "moderatedAt",
    "createdAt",
    "updatedAt",
    "generatedAt",
    "occurredAt",
    "renewsAt",
    "lastCompletedAt",
    "activatedAt",
)
FLAGS = ("isActive", "isTest", "autoFlagged", "lastActionDone")


def as_archived(row: dict[str, Any]) -> dict[str, Any]:
    """A row of Prisma's, put into PostgreSQL's types by hand."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name in DATES and value is not None:
            found[name] = EPOCH + timedelta(milliseconds=value)
        elif name in FLAGS and value is not None:
            found[name] = bool(value)
        else:
            found[name] = value
    found["_rowid"] = found.pop("#")
    return found


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_file_of_any_generation_arrives_whole(
    generation: int, target: Target, file: Path, report: Path
) -> None:
    fill(file, generation=generation)

    ended = await target.run("run", file, "--report", report, TZ="America/New_York")

    assert ended.returncode == 0, ended.stderr
    shown = certificate(report)
    assert shown["complete"]
    assert shown["source"]["migrationsApplied"] == generation
    for table in shown["tables"]:
        name = table["table"]
        expected = sorted((as_archived(row) for row in source_rows(file, name)), key=lambda row: row["_rowid"])
        columns = ", ".join(f'"{column}"' for column in expected[0])
        archived = await target.rows(f'SELECT {columns} FROM legacy."{name}" ORDER BY _rowid')
        assert archived == expected, name
        assert table["rows"] == table["archived"] == len(expected)
        assert table["fileDigest"] == table["archiveDigest"]
    assert {home["expectedDigest"] == home["foundDigest"] for home in shown["services"]} == {True}
    assert report.with_suffix(".html").read_text().count("✓") == len(shown["tables"]) + len(shown["services"])


async def test_the_services_find_what_the_prototype_knew(target: Target, file: Path) -> None:
    fill(file)

    assert (await target.run("run", file)).returncode == 0

    for old in source_rows(file, "Session"):
        (new,) = await target.rows("SELECT * FROM media.session WHERE id = $1", old["id"])
        texts = [line["text"] for line in source_rows(file, "SessionAffirmation") if line["sessionId"] == old["id"]]
        lines = await target.rows(
            "SELECT text FROM media.session_line WHERE session_id = $1 ORDER BY position", old["id"]
        )
        assert [line["text"] for line in lines] == texts
        assert new["lines_hash"] == hash_of_lines(texts)
        assert (new["title"], new["goal_tag"], new["voice_id"]) == (old["title"], old["goalTag"], old["voiceId"])
        assert new["frequency_hz"] == old["frequencyHz"]
        assert new["created_at"] == EPOCH + timedelta(milliseconds=old["createdAt"])
    for old in source_rows(file, "User"):
        (user,) = await target.rows('SELECT * FROM identity."user" WHERE id = $1', old["id"])
        assert user["email"] == (None if old["email"].endswith("@clerk.dev") else old["email"])
        assert (user["struggle"], user["version"]) == (old["struggle"], 1)
        assert (user["lookup_at"] is not None) == (user["email"] is None and old["id"].startswith("user_"))
        values = "SELECT value_id FROM identity.user_value WHERE user_id = $1 ORDER BY position"
        assert [row["value_id"] for row in await target.rows(values, old["id"])] == ["peace", "growth", "joy"]
        (stored,) = await target.rows("SELECT document FROM identity.preferences WHERE user_id = $1", old["id"])
        assert stored["document"] == '{"schemaVersion":3, "voiceId":"nova","voiceId":"onyx"}'


async def test_each_session_without_a_file_is_queued_once_and_told_of_once(target: Target, file: Path) -> None:
    fill(file)

    for _ in range(2):
        assert (await target.run("run", file)).returncode == 0

    sessions = len(source_rows(file, "Session"))
    jobs = await target.rows(
        "SELECT j.lines_hash = s.lines_hash AS same, s.version"
        " FROM media.job j JOIN media.session s ON s.id = j.session_id"
    )
    assert [(job["same"], job["version"]) for job in jobs] == [(True, 2)] * sessions
    bodies = [json.loads(row["body"]) for row in await target.rows("SELECT body FROM media.outbox")]
    assert [(body["type"], body["sequence"]) for body in bodies] == [("media.audio_requested.v1", 2)] * sessions


async def test_who_can_have_paid_is_read_at_the_provider_the_known_customers_first(target: Target, file: Path) -> None:
    make(file)
    for user in ("user_one", "user_two", "default-user-id"):
        insert(file, "User", id=user)
    insert(file, "EntitlementState", userId="user_two", plan="pro", status="active")

    assert (await target.run("run", file)).returncode == 0

    found = await target.rows("SELECT user_id FROM billing.refresh ORDER BY due_at")
    assert [row["user_id"] for row in found] == ["user_two", "user_one"]
    assert await target.value("SELECT count(*) FROM billing.customer") == 0


async def test_todays_sessions_use_up_todays_free_tier_once(
    target: Target, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "utc_now", HandClock())
    make(file)
    insert(file, "User", id="user_one")
    now = round(START.timestamp() * 1000)
    for age in (0, 0, 48):
        insert(file, "Session", ownerUserId="user_one", createdAt=now - age * 3_600_000)

    for _ in range(2):
        assert (await target.run("run", file)).returncode == 0

    (used,) = await target.rows("SELECT user_id, starts, creations FROM media.daily_use")
    assert used == {"user_id": "user_one", "starts": 2, "creations": 2}


async def test_wishes_and_events_are_found_by_media_in_the_order_they_happened(
    target: Target, file: Path, report: Path
) -> None:
    make(file)
    metadata = (
        None,
        "{}",
        '{"longer": [1, 1.50, -0.0, 1e20, 2E-7, true, null],'
        ' "b": {"z": "\\u00e9\\u0001\\n\\"", "a": "’"}, "b": {"é": ""}}',
    )
    insert(file, "User", id="user_one")
    insert(file, "User", id="user_two")
    insert(file, "CurationPreferences", userId="user_one", primaryGoal="Calm", voicePreference="More space")
    insert(file, "CurationPreferences", userId="user_two", primaryGoal="Wealth")
    session = "C3D4E5F6-a7b8-9012-cdef-123456789012"
    insert(file, "Session", id=session, ownerUserId="user_one")
    for number, text in enumerate(metadata):
        event = {"eventType": "complete", "metadata": text, "occurredAt": 1_760_000_000_000 - number}
        insert(file, "SessionEvent", userId="user_one", sessionId=session, **event)
    insert(file, "SessionEvent", userId="user_one", sessionId="gone", eventType="start")

    for command in ("run", "run", "verify"):
        ended = await target.run(command, file, "--report", report)
        assert ended.returncode == 0, ended.stderr
        shown = certificate(report)
        assert shown["quarantine"]["byReason"] == {"parent that is not there": 1, "unknown goal": 1}
        digests = {home["table"]: home for home in shown["services"]}
        for table in ("media.curation_profile", "media.listening_event"):
            assert digests[table]["expectedDigest"] == digests[table]["foundDigest"]

    (wishes,) = await target.rows("SELECT * FROM media.curation_profile")
    assert (wishes["user_id"], wishes["primary_goal"], wishes["voice_preference"], wishes["sound_preference"]) == (
        "user_one", "Calm", "More space", None,
    )  # fmt: skip
    events = await target.rows("SELECT *, details::text AS said FROM media.listening_event ORDER BY id DESC")
    assert {event["session_id"] for event in events} == {session.lower()}
    assert [event["kind"] for event in events] == ["complete"] * 3
    assert [event["occurred_at"] for event in events] == [
        EPOCH + timedelta(milliseconds=1_760_000_000_000 - number) for number in range(3)
    ]
    assert all(event["id"] < 0 for event in events), "media counts its own from 1"
    read = [None if text is None else json.loads(text) for text in metadata]
    assert [None if event["said"] is None else json.loads(event["said"]) for event in events] == read

    await target.run("rollback", 1)
    await target.run("rollback", 2)
    assert await target.value("SELECT count(*) FROM media.listening_event") == 0
    assert await target.value("SELECT count(*) FROM media.curation_profile") == 0


async def test_what_its_owner_changed_or_removed_since_is_listed_and_left_alone(
    target: Target, file: Path, report: Path
) -> None:
    fill(file)
    await target.run("run", file)
    await target.execute("UPDATE identity.\"user\" SET struggle = 'new', version = 5 WHERE id = 'default-user-id'")
    gone = source_rows(file, "Session")[-1]
    await target.execute("DELETE FROM media.session WHERE id = $1", gone["id"])

    ended = await target.run("run", file, "--report", report)

    assert ended.returncode == 0, ended.stderr
    homes = {home["table"]: home for home in certificate(report)["services"]}
    (user,) = [row for row in source_rows(file, "User") if row["id"] == "default-user-id"]
    assert homes["identity.user"]["changedSince"] == {"count": 1, "rowids": [user["#"]]}
    assert homes["media.session"]["removedSince"] == {"count": 1, "rowids": [gone["#"]]}
    assert homes["media.session_line"]["removedSince"]["count"] == 6
    assert await target.value("SELECT struggle FROM identity.\"user\" WHERE id = 'default-user-id'") == "new"
    assert await target.value("SELECT count(*) FROM media.session WHERE id = $1", gone["id"]) == 0


async def test_any_text_and_date_arrives_as_it_was_in_archive_and_service(
    target: Target, file: Path, report: Path
) -> None:
    make(file)
    text = "back\\slash \\N \\. tab\t line\n return\r \b\f\v é 😀"
    insert(file, "User", id="user_one", struggle=text, createdAt=-62135596799999, updatedAt=253402300799999)
    insert(file, "Session", id="one", ownerUserId="user_one", createdAt=0)
    for place in range(3):
        insert(file, "SessionAffirmation", sessionId="one", idx=place, text=f"{place} {text}", moderatedAt=-1)
    insert(file, "Job", payload=text, error=text, createdAt=0)

    ended = await target.run("run", file, "--report", report, TZ="America/New_York")

    assert ended.returncode == 0, ended.stderr
    for table in ("User", "SessionAffirmation", "Job"):
        expected = [as_archived(row) for row in source_rows(file, table)]
        columns = ", ".join(f'"{column}"' for column in expected[0])
        assert await target.rows(f'SELECT {columns} FROM legacy."{table}" ORDER BY _rowid') == expected
    lines = await target.rows("SELECT text FROM media.session_line ORDER BY position")
    assert [line["text"] for line in lines] == [f"{place} {text}" for place in range(3)]

    await target.execute("UPDATE media.session_line SET text = 'new' WHERE position = 1")
    assert (await target.run("verify", file, "--report", report)).returncode == 0
    (changed,) = [home for home in certificate(report)["services"] if home["table"] == "media.session_line"]
    assert changed["changedSince"] == {"count": 1, "rowids": [2]}
    assert changed["expectedDigest"] != changed["foundDigest"]


async def test_postgresql_writes_the_archive_down_as_sqlite_does_the_file(target: Target, file: Path) -> None:
    fill(file)
    insert(file, "UserPath", userId="default-user-id", createdAt=-62135596799999, updatedAt=253402300799999)
    assert (await target.run("run", file)).returncode == 0
    with opened(file) as source:
        findings = judge(source, Progress())
        assert findings.plain.keys() == source.tables.keys() - {"Session"}, "all but the one that holds floats"
        session = await asyncpg.connect(target.admin_url)
        for name in findings.plain:
            table = source.tables[name]
            writer = line_writer(findings, table)
            assert writer is not None
            order = "t.sessionId, t.idx" if name == "SessionAffirmation" else by_key(table)
            (lines,) = source.connection.execute(
                f"SELECT {joined('line')} FROM (SELECT {writer.compared()} AS line FROM {name} t ORDER BY {order})"
            ).fetchone()
            found = io.BytesIO()
            await session.copy_from_query(archive_query(table), output=found)
            assert found.getvalue() == (lines or b""), name
        await session.close()


async def test_a_value_altered_in_the_archive_is_found(target: Target, file: Path, report: Path) -> None:
    fill(file)
    await target.run("run", file)
    await target.execute("UPDATE legacy.\"Job\" SET payload = payload || ' ' WHERE _rowid = 3")
    await target.execute('DELETE FROM legacy."AuditLog"')

    assert (await target.run("verify", file, "--report", report)).returncode == 1

    tables = {table["table"]: table for table in certificate(report)["tables"]}
    assert tables["Job"]["different"] == {"count": 1, "rowids": [3]}
    assert tables["AuditLog"]["missing"] == {"count": 1, "rowids": [1]}
    assert [name for name, table in tables.items() if not table["proved"]] == ["Job", "AuditLog"]
    await target.execute('DELETE FROM legacy."Job" WHERE _rowid = 3')
    assert (await target.run("run", file)).returncode == 0, "what is missing is added again"


async def test_a_file_of_nothing_but_traps_and_oddities_is_accounted_for(
    target: Target, file: Path, report: Path
) -> None:
    traps = fill_hostile(file, Amounts())

    for command in ("run", "run", "verify"):
        ended = await target.run(command, file, "--report", report, TZ="Asia/Kolkata")
        assert ended.returncode == 0, ended.stderr
        shown = certificate(report)
        assert shown["quarantine"]["rows"] == traps
        assert sum(table["quarantined"] for table in shown["tables"]) == traps
        assert [table for table in shown["tables"] if table["fileDigest"] != table["archiveDigest"]] == []
    assert await target.value("SELECT count(*) FROM legacy.quarantine") == traps


async def test_unknown_tables_and_columns_are_named_and_kept(target: Target, file: Path, report: Path) -> None:
    make(file)
    execute(file, 'CREATE TABLE "Feedback" (words TEXT, score)')
    for _ in range(2):
        execute(file, "INSERT INTO Feedback VALUES (?, ?)", ("fine\0 ", b"\xff"))
    execute(file, 'ALTER TABLE "User" ADD COLUMN "nickname"')
    insert(file, "User", id="user_one", nickname=b"\x00\x01")

    ended = await target.run("run", file, "--report", report)

    assert ended.returncode == 0, ended.stderr
    shown = certificate(report)
    assert shown["source"]["unknownColumns"] == {"User": ["nickname"]}
    assert shown["unknownTables"]["Feedback"] == {"rows": 2, "kept": 2, "ofDeletedAccounts": 0}
    kept = await target.rows("SELECT row_json FROM legacy.other_row WHERE table_name = 'Feedback'")
    assert [json.loads(row["row_json"])["score"] for row in kept] == [{"$blob": "/w=="}] * 2
    raw = json.loads(await target.value('SELECT _raw FROM legacy."User"'))
    assert base64.b64decode(raw["nickname"]["$blob"]) == b"\x00\x01"
    await target.execute("DELETE FROM legacy.other_row WHERE copy = 1")
    assert (await target.run("verify", file)).returncode == 1


async def test_a_run_is_taken_back_but_for_what_was_changed_since(target: Target, file: Path, report: Path) -> None:
    fill(file)
    await target.run("run", file, "--report", report)
    run = certificate(report)["run"]
    kept = source_rows(file, "Session")[0]["id"]
    await target.execute("UPDATE media.session SET title = 'mine now' WHERE id = $1", kept)

    ended = await target.run("rollback", run, "--report", report)

    assert ended.returncode == 1
    assert certificate(report)["keptBecauseChanged"]["media.session"] == 1
    for table, count in (
        ("media.session", 1), ("media.session_line", 6), ("media.job", 1), ("identity.user_value", 0),
        ('identity."user"', 0), ("billing.refresh", 0), ('legacy."Session"', 1), ('legacy."User"', 0),
        ('legacy."Job"', 0), ("legacy.other_row", 0),
    ):  # fmt: skip
        assert await target.value(f"SELECT count(*) FROM {table}") == count, table
    assert (await target.run("rollback", run)).returncode == 2
    assert (await target.run("run", file)).returncode == 0, "and it can be moved again"


async def test_a_rehearsal_says_what_it_would_do_and_writes_nothing(target: Target, file: Path, report: Path) -> None:
    fill(file)

    ended = await target.run("run", file, "--dry-run", "--report", report)

    assert ended.returncode == 0, ended.stderr
    assert certificate(report)["wouldMove"]["media.session"] == len(source_rows(file, "Session"))
    assert await target.value("SELECT to_regclass('legacy.run')") is None
    assert await target.value("SELECT count(*) FROM media.session") == 0


async def test_usage_errors_are_told_from_incomplete_runs(target: Target, file: Path, tmp_path: Path) -> None:
    make(file)
    nothing, text, mapping = tmp_path / "nothing.db", tmp_path / "text.db", tmp_path / "users.csv"
    text.write_text("words, words, words")
    mapping.write_text("nobody-of-this-file,user_jo\n")

    assert (await target.run("run", nothing)).returncode == 2
    assert (await target.run("run", text)).returncode == 2
    assert (await target.run("run", file, "--users", mapping)).returncode == 2
    assert (await target.run("run", file, "--storage", tmp_path / "no")).returncode == 2
    assert (await target.run("verify", file)).returncode == 2, "nothing has been moved yet"
    assert (await target.run("rollback", 1)).returncode == 2
    assert (await target.run()).returncode == 2


async def test_no_value_of_the_file_is_printed_or_certified(target: Target, file: Path, report: Path) -> None:
    make(file)
    insert(file, "User", id="user_secretid", email="secret-mail@mail.test", struggle="secret-struggle")
    insert(file, "Session", ownerUserId="user_secretid", title="secret-title", source="secret-source")
    insert(file, "AudioAsset", url="C:\\Users\\secret-name\\a.mp3", createdAt="secret-date")
    insert(file, "Preferences", userId="user_gone", json="secret-json")

    said = ""
    for command in ("inspect", "run", "verify"):
        ended = await target.run(command, file, "--report", report)
        said += ended.stdout + ended.stderr + report.read_text()
        assert ended.returncode == 0, ended.stderr
    said += report.with_suffix(".html").read_text()

    assert certificate(report)["quarantine"]["rows"] == 3
    assert "secret" not in said


async def test_a_second_run_of_the_same_file_changes_no_row(target: Target, file: Path) -> None:
    fill(file, Amounts(users=3, sessions=2, lines=3))
    snapshots = []
    for _ in range(2):
        assert (await target.run("run", file)).returncode == 0
        tables = await target.rows(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname = ANY($1) AND tablename <> 'run' ORDER BY 1", ["identity", "billing", "media", "legacy"]
        )  # fmt: skip
        content = [await target.rows(f"SELECT t::text FROM {table['name']} t ORDER BY 1") for table in tables]
        snapshots.append(sha256(repr(content).encode()).hexdigest())

    assert snapshots[0] == snapshots[1]


async def test_rows_that_came_later_are_added_by_a_later_run(target: Target, file: Path) -> None:
    fill(file)
    await target.run("run", file)
    insert(file, "User", id="user_late")
    insert(file, "Session", id="s-late", ownerUserId="user_late")
    insert(file, "SessionAffirmation", sessionId="s-late", idx=0, text="I came late.")

    assert (await target.run("run", file)).returncode == 0

    assert await target.value("SELECT text FROM media.session_line WHERE session_id = 's-late'") == "I came late."
    assert await target.value("SELECT count(*) FROM media.job WHERE session_id = 's-late'") == 1


def test_the_generator_is_what_it_says(file: Path) -> None:
    fill(file, Amounts(users=2, sessions=1, lines=2), generation=1)

    assert not {"struggle"} & set(source_rows(file, "User")[0])
    assert len(source_rows(file, "SessionAffirmation")) == (2 + legacy_files.Amounts().catalogue) * 2
