"""Whose the prototype's users become: mapped by id or by address, and what is left where two become one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedded.clerk import ClerkStandIn
from identity.models import CLERK_UNNAMED
from migration.accounts import UNOWNED
from tests.support.legacy_files import execute, insert, make
from tests.support.migration import Target, certificate


async def test_ids_are_mapped_to_accounts_and_ownerless_sessions_are_nobodys(
    target: Target, file: Path, tmp_path: Path
) -> None:
    make(file)
    insert(file, "User", id="default-user-id", email="jo@mail.test")
    insert(file, "Session", id="s-mapped", ownerUserId="default-user-id")
    insert(file, "Session", id="s-ownerless", source="user")
    insert(file, "Session", id="s-catalogue", source="catalog")
    mapping = tmp_path / "users.csv"
    mapping.write_text("old id,account id\ndefault-user-id,user_jo\n")

    ended = await target.run("run", file, "--users", mapping, "--issuer", "https://clerk.example.test")

    assert ended.returncode == 0, ended.stderr
    owners = {row["id"]: row["owner_user_id"] for row in await target.rows("SELECT * FROM media.session")}
    assert owners == {"s-mapped": "user_jo", "s-ownerless": UNOWNED, "s-catalogue": None}
    (user,) = await target.rows('SELECT id, issuer, email FROM identity."user"')
    assert user == {"id": "user_jo", "issuer": "https://clerk.example.test", "email": "jo@mail.test"}
    assert (await target.run("verify", file)).returncode == 0, "verify knows the mapping of the run"


@pytest.fixture
async def clerk() -> AsyncIterator[ClerkStandIn]:
    async with ClerkStandIn() as running:
        running.sign_up("user_jo", "jo@mail.test")
        yield running


def at(clerk: ClerkStandIn) -> dict[str, str]:
    return {"CLERK_API_URL": clerk.url, "CLERK_SECRET_KEY": clerk.secret_key}


async def test_addresses_become_the_accounts_that_have_verified_them(
    target: Target, file: Path, tmp_path: Path, report: Path, clerk: ClerkStandIn
) -> None:
    make(file)
    for old_id, email in (
        ("default-user-id", "default-user-id@example.com"),
        ("old-ann", "Ann@mail.test"),
        ("old-claimed", "claimed@mail.test"),
        ("old-nobody", "nobody@mail.test"),
    ):
        insert(file, "User", id=old_id, email=email)
    clerk.sign_up("user_ann", "ann@mail.test")
    claiming = clerk.sign_up("user_claiming", "claimed@mail.test")
    claiming["email_addresses"][0]["verification"] = {"status": "unverified", "strategy": "email_code"}
    mapping = tmp_path / "users.csv"
    mapping.write_text("default-user-id,jo@mail.test\n")
    clerk.faults.fail_next("rate_limited", retry_after=0)

    ended = await target.run("run", file, "--users", mapping, "--match-addresses", "--report", report, **at(clerk))

    assert ended.returncode == 0, ended.stderr
    ids = [row["id"] for row in await target.rows('SELECT id FROM identity."user" ORDER BY id')]
    assert ids == ["old-claimed", "old-nobody", "user_ann", "user_jo"]
    assert certificate(report)["accounts"]["mapped"] == 2
    assert certificate(report)["accounts"]["rowsWhoseAddressIsNoAccount"] == [3, 4]
    assert "mail.test" not in ended.stdout + ended.stderr + report.read_text()
    assert (await target.run("verify", file)).returncode == 0


async def test_who_signs_the_accounts_tokens_is_what_the_gateway_is_told_or_left_to_the_first_token(
    target: Target, file: Path
) -> None:
    make(file)
    accounts = {"": CLERK_UNNAMED, "https://clerk.example.test": "https://clerk.example.test"}
    for number, (told, issuer) in enumerate(accounts.items()):
        insert(file, "User", id=f"user_{number}")
        insert(file, "User", id=f"made-up-{number}")
        assert (await target.run("run", file, GATEWAY_CLERK_ISSUERS=told)).returncode == 0
        names = 'SELECT issuer FROM identity."user" WHERE id = $1'
        assert await target.value(names, f"user_{number}") == issuer
        assert await target.value(names, f"made-up-{number}") == "legacy"


async def test_addresses_that_cannot_be_read_are_asked_of_nobody(
    target: Target, file: Path, report: Path, clerk: ClerkStandIn
) -> None:
    make(file)
    row = insert(file, "User", id="old-jo", email="jo@mail.test")
    execute(file, "UPDATE User SET email = CAST(X'6aff' AS TEXT)")
    await target.execute("INSERT INTO identity.tombstone VALUES ('somebody', now())")

    ended = await target.run("run", file, "--match-addresses", "--report", report, **at(clerk))

    assert ended.returncode == 0, ended.stderr
    shown = certificate(report)
    assert shown["quarantine"]["listed"] == [
        {"table": "User", "rowid": row, "column": "email", "reason": "text that is no UTF-8"}
    ]
    assert shown["accounts"]["mapped"] == 0


async def test_nothing_is_moved_while_an_address_leads_nowhere(
    target: Target, file: Path, tmp_path: Path, clerk: ClerkStandIn
) -> None:
    make(file)
    insert(file, "User", id="default-user-id")
    mapping = tmp_path / "users.csv"
    mapping.write_text("default-user-id,typo@mail.test\n")

    for variables, reason in (
        (at(clerk), "verified by no account"),
        (at(clerk) | {"CLERK_SECRET_KEY": "sk_test_wrong"}, "check CLERK_SECRET_KEY"),
        (at(clerk) | {"CLERK_API_URL": "http://127.0.0.1:9"}, "could not be asked"),
        ({}, "set CLERK_SECRET_KEY"),
    ):
        ended = await target.run("run", file, "--users", mapping, **variables)
        assert (ended.returncode, reason in ended.stderr) == (2, True), ended.stderr
    assert await target.value('SELECT count(*) FROM identity."user"') == 0


async def test_users_that_become_one_account_keep_what_only_one_can_have_in_the_archive(
    target: Target, file: Path, tmp_path: Path
) -> None:
    make(file)
    for user in ("user_jo", "default-user-id"):
        insert(file, "User", id=user)
        insert(file, "Preferences", userId=user, json=f"{{of {user}}}")
        insert(file, "UserValue", userId=user, valueId=user)
    mapping = tmp_path / "users.csv"
    mapping.write_text("default-user-id,user_jo\n")

    assert (await target.run("run", file, "--users", mapping)).returncode == 0

    assert [row["document"] for row in await target.rows("SELECT document FROM identity.preferences")] == [
        "{of user_jo}"
    ]
    values = await target.rows("SELECT value_id FROM identity.user_value WHERE user_id = 'user_jo' ORDER BY 1")
    assert [row["value_id"] for row in values] == ["default-user-id", "user_jo"]
    assert await target.value('SELECT count(*) FROM legacy."Preferences"') == 2
