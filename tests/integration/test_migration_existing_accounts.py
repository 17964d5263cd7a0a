"""Who was in the new product before the move: nothing of theirs is touched, nothing of the file is lost."""

from pathlib import Path

import pytest

from tests.support.docker_files import REPOSITORY
from tests.support.legacy_files import insert, make
from tests.support.migration import Target, certificate, prepare

TAKEN, FREE = "11111111-0000-4000-8000-000000000000", "22222222-0000-4000-8000-000000000000"
THERE_ALREADY = (
    """INSERT INTO identity."user" (id, issuer, email, version, created_at, updated_at)
       VALUES ('user_one', 'https://clerk.test', 'new@mail.test', 3, now(), now())""",
    """INSERT INTO identity.preferences (user_id, schema_version, document, created_at, updated_at)
       VALUES ('user_one', 3, '{"new":1}', now(), now())""",
    """INSERT INTO identity.user_value (id, user_id, value_id, value_text, position, created_at, updated_at)
       VALUES ('new value', 'user_one', 'joy', 'Joy', 1, now(), now())""",
    """INSERT INTO billing.refresh (user_id, due_at, version, attempts, readings_again, cause_kind, cause)
       VALUES ('user_one', now(), 7, 0, 0, 'webhook', 'theirs')""",
    f"""INSERT INTO media.session
            (id, owner_user_id, source, title, voice_id, lines_hash, version, created_at, updated_at)
        VALUES ('{TAKEN}', 'user_one', 'user', 'new', 'nova', 'x', 4, now(), now())""",
    f"INSERT INTO media.session_line (session_id, position, text) VALUES ('{TAKEN}', 0, 'A new line.')",
)
THEIRS = (
    'SELECT * FROM identity."user"',
    "SELECT * FROM identity.preferences",
    "SELECT * FROM identity.user_value WHERE id = 'new value'",
    "SELECT * FROM billing.refresh",
    f"SELECT * FROM media.session WHERE id = '{TAKEN}'",
    f"SELECT * FROM media.session_line WHERE session_id = '{TAKEN}'",
    f"SELECT * FROM media.job WHERE session_id = '{TAKEN}'",
    f"SELECT * FROM media.outbox WHERE subject = '{TAKEN}'",
)


@pytest.fixture
async def target(database_url: str) -> Target:
    found = await prepare(database_url)
    for statement in THERE_ALREADY:
        await found.execute(statement)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = make(tmp_path / "dev.db")
    insert(file, "User", id="user_one", email="old@mail.test", struggle="sleep")
    insert(file, "Preferences", userId="user_one", json='{"old":1}')
    insert(file, "UserValue", id="old value", userId="user_one")
    insert(file, "EntitlementState", userId="user_one", plan="pro", status="active")
    for session_id in (TAKEN, FREE):
        insert(file, "Session", id=session_id, ownerUserId="user_one", title="old")
        for idx in (0, 1):
            insert(file, "SessionAffirmation", sessionId=session_id, idx=idx, text=f"Old line {idx}.")
    return file


async def test_who_signed_up_before_keeps_what_they_have_and_the_file_is_whole_in_the_archive(
    target: Target, file: Path, tmp_path: Path
) -> None:
    before = [await target.rows(query) for query in THEIRS]
    report = tmp_path / "certificate.json"

    ended = await target.run("run", file, "--report", report)

    assert (ended.returncode, "1 of identity.user found others in their place" in ended.stderr) == (1, True)
    assert [await target.rows(query) for query in THEIRS] == before
    conflicts = {home["table"]: home["conflicts"]["count"] for home in certificate(report)["services"]}
    assert {table: count for table, count in conflicts.items() if count} == {
        "identity.user": 1, "identity.preferences": 1, "media.session": 1, "media.session_line": 2,
    }  # fmt: skip
    assert await target.value('SELECT struggle FROM legacy."User"') == "sleep"
    assert await target.value('SELECT json FROM legacy."Preferences"') == '{"old":1}'
    assert await target.value('SELECT count(*) FROM legacy."SessionAffirmation"') == 4
    assert await target.value("SELECT count(*) FROM identity.user_value") == 2, "values are added to theirs"
    assert await target.value(f"SELECT count(*) FROM media.session_line WHERE session_id = '{FREE}'") == 2
    assert await target.value(f"SELECT count(*) FROM media.job WHERE session_id = '{FREE}'") == 1
    assert (await target.run("verify", file)).returncode == 1


async def test_the_way_out_that_is_written_down_ends_with_everything_accounted_for(
    target: Target, file: Path, tmp_path: Path
) -> None:
    report = tmp_path / "certificate.json"
    assert (await target.run("run", file)).returncode == 1
    paper = (REPOSITORY / "deploy" / "migration" / "README.md").read_text()
    _, _, rest = paper.partition("```sql\n")
    statement, _, _ = rest.partition("```")

    await target.execute(statement)

    assert await target.value('SELECT struggle FROM identity."user"') == "sleep"
    ended = await target.run("run", file, "--keep-existing", "--report", report)
    assert ended.returncode == 0, ended.stderr
    accepted = {home["table"]: home["acceptedConflicts"]["count"] for home in certificate(report)["services"]}
    assert accepted["identity.user"] == 1
    assert (await target.run("verify", file)).returncode == 0
    insert(file, "User", id="user_two")
    await target.execute(THERE_ALREADY[0].replace("user_one", "user_two"))
    assert (await target.run("run", file)).returncode == 1, "what comes later has to be looked at again"


async def test_what_stood_there_before_survives_a_rollback(target: Target, file: Path) -> None:
    before = [await target.rows(query) for query in THEIRS]
    assert (await target.run("run", file)).returncode == 1

    assert (await target.run("rollback", 1)).returncode == 0

    assert [await target.rows(query) for query in THEIRS] == before
    assert await target.value("SELECT count(*) FROM identity.user_value") == 1
    assert await target.value("SELECT count(*) FROM media.session") == 1
