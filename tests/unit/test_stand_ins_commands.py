"""The command line that plays users, the store and bad days, against a running control API."""

import argparse
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from jose import jwt

from embedded.clerk import ClerkStandIn
from embedded.commands import STORE_ACTIONS, add_commands, run_command
from embedded.control import ControlServer
from embedded.local_server import LocalServer
from embedded.revenuecat import RevenueCatStandIn
from embedded.running_product import Run, find_run, forget_run, record_run
from embedded.store_acts import store_acts
from tests.support.webhook_receiver import WebhookReceiver

PORT = 18787
SVIX_SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"


class Product:
    """The stand-ins of a product on ``PORT`` that keeps its data in ``data``."""

    def __init__(self, clerk: ClerkStandIn, store: RevenueCatStandIn, receiver: WebhookReceiver, data: Path) -> None:
        self.clerk, self.store, self.receiver, self.data = clerk, store, receiver, data


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the notes about running products apart from those of the machine."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))


@pytest.fixture
async def product(tmp_path: Path, notes: None) -> AsyncIterator[Product]:
    data = tmp_path / "data"
    async with (
        WebhookReceiver() as receiver,
        ClerkStandIn(webhook_url=receiver.address, webhook_secret=SVIX_SECRET, background=True) as clerk,
        RevenueCatStandIn(webhook_url=receiver.address, webhook_secret="s", background=True) as store,
        ControlServer(clerk, store, "secret of this run") as control,
    ):
        record_run(data, Run(PORT, control.port, control.secret))
        yield Product(clerk, store, receiver, data)
        forget_run(data, PORT)


async def command(*words: str, port: int = PORT) -> int:
    parser = argparse.ArgumentParser(prog="embedded")
    add_commands(parser.add_subparsers(required=True))
    return await run_command(parser.parse_args([*words, "--port", str(port)]))


async def test_token_prints_a_token_alone_and_signs_new_people_up(
    product: Product, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command("token", "ada", "--seconds", "5") == 0
    claims = jwt.get_unverified_claims(capsys.readouterr().out.strip())
    assert (claims["sub"], claims["exp"] - claims["iat"], claims["iss"]) == ("user_ada", 5, product.clerk.url)
    assert product.clerk.users.get("user_ada") is not None


async def test_a_deleted_account_is_not_made_again_by_a_token(
    product: Product, capsys: pytest.CaptureFixture[str]
) -> None:
    product.clerk.sign_up("user_ada")
    product.clerk.delete_user("user_ada")
    assert await command("token", "ada") == 0
    assert jwt.get_unverified_claims(capsys.readouterr().out.strip())["sub"] == "user_ada"
    assert product.clerk.users.get("user_ada") is None


async def test_token_of_the_second_issuer(product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    user_id = "6f1c2a54-3c0e-4a55-9a6b-0f6f7a7b1c01"
    assert await command("token", user_id, "--issuer", "supabase") == 0
    claims = jwt.get_unverified_claims(capsys.readouterr().out.strip())
    assert (claims["sub"], claims["iss"]) == (user_id, f"{product.clerk.url}/auth/v1")


async def test_clerk_changes_users_and_tells_how_each_webhook_was_received(
    product: Product, capsys: pytest.CaptureFixture[str]
) -> None:
    product.receiver.statuses = [200, 503]
    assert await command("clerk", "sign-up", "ada") == 0
    assert await command("clerk", "change-email", "ada", "lovelace@example.com") == 0
    created, updated = capsys.readouterr().out.splitlines()
    assert created.startswith("user.created ")
    assert created.endswith(": 200")
    assert ": 503, next attempt at " in updated
    await command("token", "ada")
    capsys.readouterr()
    assert await command("clerk", "sign-out", "ada") == 0
    assert capsys.readouterr().out.startswith("session.ended ")
    assert await command("clerk", "delete", "ada") == 0
    assert capsys.readouterr().out.startswith("user.deleted ")
    assert product.clerk.users.get("user_ada") is None


async def test_what_clerk_cannot_do_is_refused_with_the_reason(
    product: Product, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command("clerk", "delete", "nobody") == 1
    assert "user_nobody has not signed up" in capsys.readouterr().err
    await command("clerk", "sign-up", "ada")
    await command("clerk", "delete", "ada")
    assert await command("clerk", "sign-up", "ada") == 1
    assert "no id is given twice" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        await command("clerk", "change-email", "ada")


async def test_an_id_that_cannot_be_is_refused_with_the_reason(
    product: Product, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command("token", "org_2abc") == 1
    assert "not a Clerk user id" in capsys.readouterr().err


async def test_store_changes_purchases_and_tells_how_each_webhook_was_received(
    product: Product, capsys: pytest.CaptureFixture[str]
) -> None:
    product.receiver.statuses = [200, 503]
    assert await command("store", "purchase", "ada", "--product", "entrain_annual", "--sandbox") == 0
    assert await command("store", "transfer", "ada", "user_bob") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("INITIAL_PURCHASE ")
    assert first.endswith(": 200")
    assert second.startswith("TRANSFER ")
    assert ": 503, next attempt at " in second
    bought = product.receiver.received[0].event
    assert (bought["app_user_id"], bought["product_id"], bought["environment"]) == (
        "user_ada",
        "entrain_annual",
        "SANDBOX",
    )
    assert product.receiver.received[1].event["transferred_to"] == ["user_bob"]
    assert await command("store", "retry") == 0
    assert capsys.readouterr().out.strip().endswith(": 200")


ANONYMOUS = "$RCAnonymousID:" + "a" * 32
PLAY = "entrain_pro:monthly"
BUYS = ("purchase", "ada")
ACTS: tuple[tuple[tuple[str, ...], tuple[str, ...], list[str]], ...] = (
    ((), BUYS, ["INITIAL_PURCHASE"]),
    (BUYS, ("renew", "ada"), ["RENEWAL"]),
    (BUYS, ("cancel", "ada"), ["CANCELLATION"]),
    (BUYS, ("refund", "ada"), ["CANCELLATION", "EXPIRATION"]),
    (BUYS, ("expire", "ada"), ["EXPIRATION"]),
    (BUYS, ("billing-issue", "ada"), ["BILLING_ISSUE", "CANCELLATION"]),
    (BUYS, ("decline", "ada", "--days", "3"), []),
    (BUYS, ("change-product", "ada", "--product", "entrain_annual"), ["PRODUCT_CHANGE", "RENEWAL"]),
    (BUYS, ("change-product", "ada", "--product", "entrain_annual", "--deferred"), ["PRODUCT_CHANGE"]),
    ((*BUYS, "--product", PLAY), ("pause", "ada", "--days", "90"), ["SUBSCRIPTION_PAUSED"]),
    (BUYS, ("extend", "ada", "--days", "5"), ["SUBSCRIPTION_EXTENDED"]),
    ((), ("grant", "ada", "--days", "2"), ["NON_RENEWING_PURCHASE"]),
    (("grant", "ada"), ("revoke-grants", "ada"), ["CANCELLATION", "EXPIRATION"]),
    ((), ("grant-unconfirmed", "ada"), ["TEMPORARY_ENTITLEMENT_GRANT"]),
    (("grant-unconfirmed", "ada"), ("confirm", "ada"), ["INITIAL_PURCHASE"]),
    (("purchase", ANONYMOUS), ("log-in", ANONYMOUS, "ada"), []),
    (BUYS, ("transfer", "ada", "bob"), ["TRANSFER"]),
    (BUYS, ("pass-time", "ada"), []),
)


@pytest.mark.parametrize("before, act, told", ACTS, ids=[act[0] for _, act, _ in ACTS])
async def test_what_an_act_of_the_store_tells(
    product: Product, before: tuple[str, ...], act: tuple[str, ...], told: list[str]
) -> None:
    if before:
        assert await command("store", *before) == 0
    heard = len(product.receiver.received)
    assert await command("store", *act) == 0
    assert [one.event["type"] for one in product.receiver.received[heard:]] == told


async def test_an_act_that_undoes_another_is_done_after_it(product: Product) -> None:
    for action in ("purchase", "cancel", "uncancel", "refund", "reverse-refund"):
        assert await command("store", action, "ada") == 0
    kinds = [one.event["type"] for one in product.receiver.received]
    assert kinds == [
        "INITIAL_PURCHASE",
        "CANCELLATION",
        "UNCANCELLATION",
        "CANCELLATION",
        "EXPIRATION",
        "REFUND_REVERSED",
    ]


async def test_the_length_of_an_act_is_what_was_asked_for(product: Product) -> None:
    await command("store", "purchase", "ada", "--family-share")
    await command("store", "billing-issue", "ada", "--days", "0")
    await command("store", "grant", "bob", "--days", "2")
    (bought, failed, _, granted) = [one.event for one in product.receiver.received]
    assert bought["is_family_share"] is True
    assert failed["grace_period_expiration_at_ms"] is None
    assert granted["expiration_at_ms"] - granted["purchased_at_ms"] == pytest.approx(2 * 86_400_000, abs=1000)


def test_the_command_line_offers_every_act_and_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert {*STORE_ACTIONS} == {*store_acts(RevenueCatStandIn()), "retry"}
    parser = argparse.ArgumentParser(prog="embedded")
    add_commands(parser.add_subparsers(required=True))
    with pytest.raises(SystemExit):
        parser.parse_args(["store", "--help"])
    shown = capsys.readouterr().out
    assert [action for action in STORE_ACTIONS if f"  {action} " not in shown] == []


async def test_what_the_store_refuses_is_told_in_one_line(product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    assert await command("store", "cancel", "ada") == 1
    assert capsys.readouterr().err.strip().splitlines() == ["user_ada has no subscription for which this can be done"]


@pytest.mark.parametrize(
    "words",
    [("purchase",), ("transfer", "ada"), ("log-in", "ada"), ("change-product", "ada"), ("refund", "ada", "bob")],
)
async def test_store_names_what_is_missing(product: Product, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        await command("store", *words)
    assert ended.value.code == 2


async def test_webhook_sends_a_file_as_it_is(
    product: Product, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product.receiver.statuses = [200, 401]
    file = tmp_path / "body.json"
    file.write_bytes(b'{ "event" : \xff }')
    assert await command("webhook", str(file)) == 0
    assert await command("webhook", str(file)) == 1
    assert [one.body for one in product.receiver.received] == [file.read_bytes()] * 2
    assert capsys.readouterr().out.splitlines()[1].endswith(": 401")
    assert await command("webhook", str(tmp_path / "none.json")) == 1


async def test_faults_can_be_set_from_outside(product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    assert await command("fault", "clerk", "unavailable", "--times", "-1", "--where", "jwks") == 0
    assert [(fault.kind, fault.left, fault.where) for fault in product.clerk.faults.waiting] == [
        ("unavailable", -1, "jwks")
    ]
    assert await command("fault", "clerk", "clear") == 0
    assert product.clerk.faults.waiting == []
    assert await command("fault", "webhooks", "lose") == 0
    await command("store", "purchase", "ada")
    assert product.receiver.received == []
    assert await command("fault", "store", "bogus") == 1
    assert "bogus" in capsys.readouterr().err


async def test_the_control_api_wants_the_secret_of_this_run(product: Product) -> None:
    run = find_run(product.data, PORT)
    url = f"http://127.0.0.1:{run.control_port}/token"
    async with aiohttp.ClientSession() as http:
        for secret, status in (("another", 401), (run.secret, 200)):
            headers = {"Authorization": f"Bearer {secret}"}
            async with http.post(url, json={"userId": "user_ada"}, headers=headers) as answer:
                assert answer.status == status
        async with http.post(url, data=b"{", headers={"Authorization": f"Bearer {run.secret}"}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "VALIDATION_ERROR")


async def test_a_product_is_found_by_its_port_from_any_folder_or_by_its_data_folder(
    product: Product, tmp_path: Path
) -> None:
    assert find_run(tmp_path / "elsewhere", PORT) == find_run(product.data, PORT)
    assert (product.data / "run.json").stat().st_mode & 0o777 == 0o600


async def test_notes_that_another_user_could_have_written_are_not_believed(product: Product, tmp_path: Path) -> None:
    (folder,) = (tmp_path / "tmp").iterdir()
    folder.chmod(0o777)
    assert await command("token", "ada") == 1


@pytest.mark.parametrize("port,hint", [(8787, "`make run`"), (9191, '`make run ARGS="--port 9191"`')])
async def test_when_nothing_runs_there_the_way_out_is_named(
    notes: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    port: int,
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert await command("token", "ada", port=port) == 1
    assert f"nothing is running on port {port}: start it with {hint}" in capsys.readouterr().err


async def test_a_record_left_by_a_crash_does_not_mislead(
    notes: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Closed() as closed:
        gone = closed.port
    record_run(tmp_path / "data", Run(PORT, gone, "secret"))
    assert await command("token", "ada") == 1
    assert "nothing is running on port" in capsys.readouterr().err


class Closed(LocalServer):
    """Takes a free port, to give it back."""

    def application(self) -> web.Application:
        return web.Application()
