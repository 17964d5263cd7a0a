"""Who signs in, or is deleted, before a migration or while it runs."""

from pathlib import Path

import pytest

from identity.models import CLERK_UNNAMED
from migration import commands
from migration.commands import Options
from tests.support.legacy_files import insert, make
from tests.support.migration import Meanwhile, Target, certificate

SIGNING_IN = """
    INSERT INTO identity."user" (id, issuer, version, created_at, updated_at)
    VALUES ('user_one', 'https://clerk.test', 1, now(), now())
"""


async def test_a_row_that_stood_there_before_is_kept_and_the_run_is_not_complete(
    target: Target, file: Path, report: Path
) -> None:
    make(file)
    insert(file, "User", id="user_one", struggle="old")
    await target.execute(SIGNING_IN)

    for command in ("run", "run", "verify"):
        ended = await target.run(command, file, "--report", report)
        assert ended.returncode == 1, command
        (home,) = [home for home in certificate(report)["services"] if home["table"] == "identity.user"]
        assert home["conflicts"] == {"count": 1, "rowids": [1]}
    assert await target.value('SELECT issuer FROM identity."user"') == "https://clerk.test"
    assert await target.value('SELECT struggle FROM legacy."User"') == "old"
    for run in (2, 1):
        ended = await target.run("rollback", run, "--report", report)
        assert (ended.returncode, sum(certificate(report)["keptBecauseChanged"].values())) == (0, 0)
    assert await target.value('SELECT issuer FROM identity."user"') == "https://clerk.test", "nothing was moved there"
    assert (await target.run("run", file)).returncode == 1


@pytest.mark.parametrize("step", ["moving User", "moving EntitlementState"])
async def test_who_signs_in_while_the_migration_runs_is_left_as_they_are_and_listed(
    step: str, target: Target, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(file)
    for user in ("user_one", "user_two"):
        insert(file, "User", id=user, struggle="old")
        insert(file, "UserValue", userId=user)
    for name, url in target.environment.items():
        monkeypatch.setenv(name, url)
    shown = await commands.run(Options(file), Meanwhile(target, step, SIGNING_IN))

    (home,) = [home for home in shown["services"] if home["table"] == "identity.user"]
    assert home["conflicts"] == {"count": 1, "rowids": [1]}
    assert not shown["complete"]
    users = await target.rows('SELECT id, issuer, struggle FROM identity."user" ORDER BY id')
    assert users == [
        {"id": "user_one", "issuer": "https://clerk.test", "struggle": None},
        {"id": "user_two", "issuer": CLERK_UNNAMED, "struggle": "old"},
    ]
    assert await target.value("SELECT count(*) FROM identity.user_value") == 2


async def test_an_account_deleted_while_the_migration_runs_gets_no_session(
    target: Target, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(file)
    for user in ("user_gone", "user_here"):
        insert(file, "User", id=user)
        insert(file, "Session", id=f"of {user}", ownerUserId=user)
        insert(file, "SessionAffirmation", sessionId=f"of {user}", idx=0)
    for name, url in target.environment.items():
        monkeypatch.setenv(name, url)
    deletion = "INSERT INTO media.erased_user VALUES ('user_gone', NULL, now())"

    await commands.run(Options(file), Meanwhile(target, "moving Session", deletion))

    assert [row["id"] for row in await target.rows("SELECT id FROM media.session")] == ["of user_here"]
    assert await target.value("SELECT count(*) FROM media.session_line") == 1
    assert await target.value("SELECT count(*) FROM media.job") == 1
