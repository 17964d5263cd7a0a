"""How the doctor examines: within its time, whatever a check does, and without telling a secret."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from billing.settings import BillingSettings
from entrain import report
from entrain.__main__ import EXIT_USAGE, parser
from entrain.checks import CHECKS
from entrain.commands import run_command
from entrain.deployment import Deployment, NotConfigured, is_inside
from entrain.examination import Patience, chosen, examine
from entrain.findings import Check, Finding, Outcome, fail, ok, skip, warn

PASSWORD = "correct horse"
PATIENT = Patience()
BILLING = BillingSettings(
    database_url=SecretStr("postgresql://billing:correct%20horse@localhost/entrain"),
    gateway_jwks_url="http://gateway/keys",
    revenuecat_api_key=SecretStr("sk_a_secret_key"),
    revenuecat_webhook_secrets=(SecretStr("whsec_of_the_webhook"),),
)
DEPLOYMENT = Deployment({"billing": BILLING}, {"media": ["AWS_S3_BUCKET_NAME: Field required"]})


async def found(*checks: Check, patience: Patience = PATIENT) -> list[Finding]:
    return await examine(DEPLOYMENT, checks, patience, lambda _: None)


async def hangs(_: Deployment) -> Outcome:
    await asyncio.Event().wait()
    return ok("never")


async def is_well(_: Deployment) -> Outcome:
    return ok("well")


async def breaks(_: Deployment) -> Outcome:
    raise RuntimeError(f"refused sk_a_secret_key and {PASSWORD} and whsec_of_the_webhook")


async def needs_media(deployment: Deployment) -> Outcome:
    return ok(deployment.media.aws_region)


async def test_a_check_that_hangs_fails_and_holds_up_nobody() -> None:
    one, other = await found(Check("a", hangs), Check("b", is_well), patience=Patience(each=0.05, all=30))

    assert (one.outcome.verdict, other.outcome) == ("fail", ok("well"))
    assert one.outcome.advice


async def test_all_of_them_end_in_time() -> None:
    findings = await found(*(Check(str(number), hangs) for number in range(40)), patience=Patience(each=30, all=0.05))

    assert {finding.outcome.verdict for finding in findings} == {"fail"}
    assert "not examined" in findings[-1].outcome.seen


async def test_a_check_that_breaks_is_a_finding_without_secrets() -> None:
    (finding,) = await found(Check("a", breaks))

    assert finding.outcome.seen == "could not be examined: RuntimeError: refused … and … and …"


async def test_what_needs_settings_that_are_not_valid_is_left_out() -> None:
    (finding,) = await found(Check("a", needs_media))

    assert finding.outcome == skip("waits for settings.media")
    with pytest.raises(NotConfigured):
        DEPLOYMENT.broker_url("gateway")


@pytest.mark.parametrize(
    "url,inside",
    [
        ("postgresql://media:x@postgres:5432/entrain", True),
        ("amqp://media:x@127.0.0.1/", True),
        ("postgresql://media:x@db.example.com/entrain", False),
        ("amqp://media:x@10.0.0.7/", False),
        ("amqp://media:x@[2001:db8::7]/", False),
    ],
)
def test_a_way_is_inside_where_no_name_of_the_world_leads(url: str, *, inside: bool) -> None:
    assert is_inside(url) is inside


def test_groups_are_chosen_and_left_out_by_name() -> None:
    def names(only: Sequence[str] = (), without: Sequence[str] = (), *, write: bool = False) -> set[str]:
        return {check.name for check in chosen(CHECKS, only, without, write=write)}

    assert names(["database"]) == {"database.identity", "database.billing", "database.media"}
    assert names(["database", "unrouted"], ["database.media"]) == {"database.identity", "database.billing", "unrouted"}
    assert "storage.round-trip" not in names()
    assert names(write=True) - names() == {"storage.round-trip"}
    assert len({check.name for check in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize(
    "words,complaint",
    [
        (["--only", "settings", "--only", "databse"], "there is no check databse"),
        (["--skip", "public.tlss"], "there is no check public.tlss"),
        (["--only", "storage.round-trip"], "needs --write"),
        (["--health", "media-workers=http://10.0.0.7:8803"], "PROCESS one of gateway, identity-api"),
        (["--health", "media-worker"], "--health takes PROCESS=URL"),
        (["--loud"], "unrecognized arguments"),
    ],
)
async def test_what_cannot_be_understood_is_no_finding(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check that is misspelt would not be looked at, and 0 or 2 would speak of the others."""
    with pytest.raises(SystemExit) as ended:
        await run_command(parser().parse_args(["doctor", *words]))

    assert ended.value.code == EXIT_USAGE
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    "outcomes,code",
    [([ok("a"), skip("b")], 0), ([ok("a"), warn("b", "do")], 1), ([warn("a", "do"), fail("b", "do")], 2)],
    ids=["healthy", "warned", "failed"],
)
def test_the_exit_code_is_that_of_the_worst(outcomes: Sequence[Outcome], code: int) -> None:
    findings = [Finding(str(number), outcome) for number, outcome in enumerate(outcomes)]

    assert report.exit_code(findings) == code
    assert json.loads(report.document(findings))["ok"] is (code == 0)


def test_the_report_says_what_to_do_and_sums_up() -> None:
    told = list(report.lines([Finding("a", fail("down", "start it")), Finding("b", skip("no broker"))], 1.0))

    assert told == [
        "FAIL  a  down",
        "         → start it",
        "-     no broker: b",
        "2 checks in 1.0 s: 0 ok, 0 to look at, 1 failed, 1 not applicable",
    ]
