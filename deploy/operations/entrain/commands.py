"""The operators' command line."""

import argparse
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from common.db.engine import REACHING_FAILED as DATABASE_FAILED
from common.errors import DomainError
from common.messaging.parking import add_parked
from common.messaging.rabbit_consumption import REACHING_FAILED as BROKER_FAILED
from entrain import jobs, outboxes, parked, report, users
from entrain.checks import CHECKS
from entrain.checks.health import PROCESSES
from entrain.deployment import Deployment, NotConfigured, read_deployment
from entrain.examination import Patience, chosen, examine, unknown
from entrain.findings import Check, said
from entrain.telling import tell

MOST_SHOWN = 20

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run: TypeAlias = Callable[[Deployment, argparse.Namespace], Awaitable[int]]


def add_commands(commands: Subparsers) -> None:
    """Adds the commands; parsed arguments go to ``run_command``."""
    _add_doctor(commands)
    add_parked(commands).set_defaults(run=parked.parked)
    _add(commands, "outbox", "show what is committed and not yet published, and who publishes it", _outbox)
    text = "show render jobs by state, or have one tried again or ended"
    working = _add(commands, "jobs", text, _jobs)
    working.add_argument("action", nargs="?", choices=("list", "retry", "cancel"), default="list")
    working.add_argument("id", nargs="?", metavar="ID", help="the job to retry or cancel")
    working.add_argument("--status", choices=jobs.STATUSES, help="only such jobs; otherwise those open or failed")
    working.set_defaults(complain=working.error)
    text = "show everything known of a user: who, which plan and why, sessions, jobs, quota, links, deletions, events"
    _add(commands, "user", text, _user).add_argument("user", metavar="USER", help="a user id, or an e-mail address")


async def run_command(arguments: argparse.Namespace) -> int:
    """The exit code: 1 when it could not be done; problems go to standard error with what to do."""
    deployment = read_deployment()
    run: Run = arguments.run
    try:
        return await run(deployment, arguments)
    except NotConfigured as error:
        problem = f"{error}; `python -m entrain doctor --only settings` names what is missing"
    except DomainError as refusal:
        problem = refusal.message
    except (*DATABASE_FAILED, *BROKER_FAILED) as error:
        problem = f"{said(error)}; `python -m entrain doctor` says what is wrong"
    print(deployment.without_secrets(problem), file=sys.stderr)
    return 1


def _add(commands: Subparsers, name: str, text: str, run: Run) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.set_defaults(run=run)
    return command


def _add_doctor(commands: Subparsers) -> None:
    text = "look at everything a deployment needs, from outside and inside, and say what to do"
    doctor = _add(commands, "doctor", text, _doctor)
    doctor.epilog = "exit code: 0 all is well, 1 something is to be looked at, 2 something failed"
    doctor.add_argument("--only", action="append", default=[], metavar="NAME", help="a check, or a group: database")
    doctor.add_argument("--skip", action="append", default=[], metavar="NAME", help="leave a check or a group out")
    doctor.add_argument("--write", action="store_true", help="also write, read and delete an object in the bucket")
    doctor.add_argument("--each", type=float, default=10.0, metavar="SECONDS", help="for one check (default: 10)")
    doctor.add_argument("--within", type=float, default=45.0, metavar="SECONDS", help="for all of them (default: 45)")
    doctor.add_argument(
        "--health", action="append", default=[], metavar="PROCESS=URL", help="where a process's health is asked for"
    )
    doctor.add_argument("--list", action="store_true", help="name the checks")
    doctor.set_defaults(complain=doctor.error)


async def _doctor(deployment: Deployment, arguments: argparse.Namespace) -> int:
    if arguments.list:
        print("\n".join(check.name for check in CHECKS))
        return report.HEALTHY
    checks = _checks(arguments)
    deployment = read_deployment(_addresses(arguments))
    started = time.monotonic()
    print(f"{len(checks)} checks …", file=sys.stderr)
    findings = await examine(deployment, checks, Patience(arguments.each, arguments.within), _progress)
    if arguments.json:
        print(report.document(findings))
    else:
        print("\n".join(report.lines(findings, time.monotonic() - started)))
    return report.exit_code(findings)


def _checks(arguments: argparse.Namespace) -> list[Check]:
    """Those asked for; ends the process when a name is of none, since what is not looked at is not well."""
    if strange := unknown(CHECKS, [*arguments.only, *arguments.skip]):
        arguments.complain(f"there is no check {', '.join(strange)}: --list names them")
    checks = chosen(CHECKS, arguments.only, arguments.skip, write=arguments.write)
    if not checks:
        arguments.complain("no check is left: one that writes needs --write, and --skip outdoes --only")
    return checks


def _addresses(arguments: argparse.Namespace) -> dict[str, str]:
    """Where health is asked for, by process; ends the process when that cannot be understood."""
    pairs = [entry.partition("=") for entry in arguments.health]
    if any(process not in PROCESSES or not url for process, _, url in pairs):
        arguments.complain(f"--health takes PROCESS=URL, PROCESS one of {', '.join(PROCESSES)}")
    return {process: url.rstrip("/") for process, _, url in pairs}


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _outbox(deployment: Deployment, arguments: argparse.Namespace) -> int:
    tell(await outboxes.waiting(deployment, MOST_SHOWN), as_json=arguments.json)
    return 0


async def _jobs(deployment: Deployment, arguments: argparse.Namespace) -> int:
    if (arguments.action == "list") == (arguments.id is not None):
        arguments.complain(f"jobs {arguments.action} takes {'no' if arguments.id else 'the'} ID of a job")
    found: dict[str, Any]
    if arguments.action == "retry":
        found = await jobs.tried_again(deployment, arguments.id)
    elif arguments.action == "cancel":
        found = await jobs.ended(deployment, arguments.id)
    else:
        statuses = (arguments.status,) if arguments.status else jobs.LOOKED_AT
        found = await jobs.listed(deployment, statuses, MOST_SHOWN)
    tell(found, as_json=arguments.json)
    return 0


async def _user(deployment: Deployment, arguments: argparse.Namespace) -> int:
    ids = await users.ids_of(deployment, arguments.user)
    known = [await users.known_of(deployment, user_id) for user_id in ids]
    for each in known:
        tell(each, as_json=arguments.json)
    if not known:
        print("nobody has this address; it comes from Clerk, and an id finds everybody", file=sys.stderr)
    return 0 if known else 1
