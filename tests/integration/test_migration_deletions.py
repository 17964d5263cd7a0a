"""Accounts that were deleted here: of them nothing comes back, and nothing stays in the archive."""

from pathlib import Path

from tests.support.erasure import tables_naming
from tests.support.legacy_files import execute, fill, insert, make
from tests.support.migration import Target, certificate, source_rows


async def test_who_was_deleted_here_does_not_come_back_anywhere(target: Target, file: Path, report: Path) -> None:
    make(file)
    for user in ("user_gone", "user_here"):
        insert(file, "User", id=user)
        insert(file, "UserValue", userId=user)
        insert(file, "Session", id=f"of {user}", ownerUserId=user)
        insert(file, "SessionAffirmation", sessionId=f"of {user}", idx=0)
    insert(file, "Session", ownerUserId="user_gone", title=b"also odd")
    await target.execute("INSERT INTO media.erased_user VALUES ('user_gone', NULL, now())")

    ended = await target.run("run", file, "--report", report)

    assert ended.returncode == 0, ended.stderr
    tables = {table["table"]: table for table in certificate(report)["tables"]}
    assert [tables[name]["ofDeletedAccounts"] for name in ("User", "UserValue", "Session", "SessionAffirmation")] == [
        1, 1, 2, 1,
    ]  # fmt: skip
    for table in ('identity."user"', "identity.user_value", "media.session", "media.session_line", "billing.refresh",
                  'legacy."User"', 'legacy."Session"', 'legacy."SessionAffirmation"'):  # fmt: skip
        assert await target.value(f"SELECT count(*) FROM {table}") == 1, table
    assert await target.value("SELECT count(*) FROM legacy.quarantine") == 0


async def test_an_account_that_is_deleted_later_leaves_the_archive_too(
    target: Target, file: Path, report: Path, database_url: str
) -> None:
    fill(file)
    gone = source_rows(file, "User")[-1]["id"]
    for odd in (b"bytes", "b\0ad"):
        insert(file, "UserValue", userId=gone, valueId=odd)
    sessions = [row["id"] for row in source_rows(file, "Session") if row["ownerUserId"] == gone]
    assert sessions
    assert (await target.run("run", file)).returncode == 0
    assert await target.value("SELECT count(*) FROM legacy.quarantine") == 2
    assert (await target.run("forget")).returncode == 0
    assert await target.value('SELECT count(*) FROM legacy."User"') == len(source_rows(file, "User")), "nobody yet"

    for statement in (
        "INSERT INTO identity.tombstone VALUES ($1, now())",
        'DELETE FROM identity."user" WHERE id = $1',
        "DELETE FROM media.session WHERE owner_user_id = $1",
        "DELETE FROM media.curation_profile WHERE user_id = $1",
        "DELETE FROM media.listening_event WHERE user_id = $1",
        "DELETE FROM media.daily_use WHERE user_id = $1",
        "DELETE FROM billing.refresh WHERE user_id = $1",
    ):
        await target.execute(statement, gone)
    ended = await target.run("forget", "--report", report)

    assert ended.returncode == 0, ended.stderr
    assert await tables_naming(database_url, "legacy", [gone, *sessions], kept=("run",)) == set()
    removed = certificate(report)["removed"]
    assert (removed["User"], removed["Session"], removed["quarantine"]) == (1, len(sessions), 2)
    for table in ("User", "Session", "UserPath", "Job", "AudioAsset"):
        left = await target.value(f'SELECT count(*) FROM legacy."{table}"')
        assert 0 < left == len(source_rows(file, table)) - removed.get(table, 0), table
    assert (await target.run("verify", file)).returncode == 0


async def test_rows_of_unknown_tables_that_name_an_erased_user_are_forgotten_and_accounted_for(
    target: Target, file: Path, report: Path
) -> None:
    make(file)
    insert(file, "User", id="user_g\u00f6ne")
    insert(file, "Session", id="their session", ownerUserId="user_g\u00f6ne")
    execute(file, 'CREATE TABLE "Feedback" (who TEXT, more TEXT)')
    naming = (("user_g\u00f6ne", None), ("x", '{"user": "user_g\u00f6ne"}'), ("x", '["their session"]'))
    for row in (*naming, ("user_g\u00f6ne2", '{"user": "nobody"}')):
        execute(file, "INSERT INTO Feedback VALUES (?, ?)", row)
    assert (await target.run("run", file)).returncode == 0
    assert await target.value("SELECT count(*) FROM legacy.other_row WHERE table_name = 'Feedback'") == 4
    await target.execute("INSERT INTO identity.tombstone VALUES ('user_g\u00f6ne', now())")

    assert (await target.run("forget")).returncode == 0

    for command in ("verify", "run"):  # neither misses them nor brings them back
        ended = await target.run(command, file, "--report", report)
        assert ended.returncode == 0, ended.stderr
        shown = certificate(report)["unknownTables"]["Feedback"]
        assert shown == {"rows": 4, "kept": 1, "ofDeletedAccounts": 3}, command
    assert await target.value("SELECT count(*) FROM legacy.other_row WHERE table_name = 'Feedback'") == 1
    await target.execute("DELETE FROM legacy.other_row WHERE table_name = 'Feedback'")
    assert (await target.run("verify", file)).returncode == 1, "the one that names nobody is still missed"


async def test_a_row_in_quarantine_that_names_an_erased_user_anywhere_is_forgotten_and_accounted_for(
    target: Target, file: Path, report: Path
) -> None:
    make(file)
    insert(file, "User", id="user_gone")
    insert(file, "User", id="user_here")
    for text in ("user_gone", '{"with": "user_gone"}', "nobody else"):
        insert(file, "UserValue", userId="user_here", valueId=b"bytes", valueText=text)
    assert (await target.run("run", file)).returncode == 0
    assert await target.value("SELECT count(*) FROM legacy.quarantine") == 3
    await target.execute("INSERT INTO identity.tombstone VALUES ('user_gone', now())")

    assert (await target.run("forget")).returncode == 0

    for command in ("verify", "run"):  # neither misses them nor brings them back
        ended = await target.run(command, file, "--report", report)
        assert ended.returncode == 0, ended.stderr
        (table,) = [table for table in certificate(report)["tables"] if table["table"] == "UserValue"]
        assert (table["rows"], table["quarantined"], table["ofDeletedAccounts"]) == (3, 1, 2), command
        assert certificate(report)["quarantine"]["rows"] == 1
        assert await target.value("SELECT count(*) FROM legacy.quarantine") == 1
    await target.execute("DELETE FROM legacy.quarantine")
    assert (await target.run("verify", file)).returncode == 1, "the one that names nobody is still missed"
