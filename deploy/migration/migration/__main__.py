"""``python -m migration inspect | run | verify | rollback | forget``."""

import argparse
import asyncio
import gc
import json
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg

from common.db.driver import LOST
from common.errors import Unavailable
from common.progress import Progress
from migration import commands
from migration.accounts import BadMapping, ClerkUnusable
from migration.certificate import page
from migration.commands import NotReady, Options
from migration.postgres import AlreadyRunning
from migration.runs import NoSuchRun
from migration.snapshot import NotADatabase
from migration.source import BrokenFile

COMPLETE, INCOMPLETE, USAGE = 0, 1, 2
OBJECTS_BETWEEN_COLLECTIONS = 200_000
"""More than a batch is made of: its rows hold no cycles, and looking for some took a tenth of the time."""
EPILOG = """
Databases are named by DATABASE_URL, or by IDENTITY_, BILLING_, MEDIA_ and LEGACY_DATABASE_URL, each signing in as the
role of its schema; the store by media's settings (AWS_S3_BUCKET_NAME and others). Exit status: 0 when every row is
accounted for, 1 when not, with a list in the report, 2 when the command cannot be carried out as it was given.
"""


def main() -> int:
    arguments = _parser().parse_args()
    progress = Progress()
    try:
        return _carry_out(arguments, progress)
    except (NotADatabase, BrokenFile, BadMapping, ClerkUnusable, NotReady, NoSuchRun) as error:
        return _refuse(error)
    except AlreadyRunning:
        return _refuse("another migration is running on this database")
    except sqlite3.DatabaseError as error:
        return _refuse(f"{arguments.file.name} cannot be read as a SQLite database: {type(error).__name__}")
    except Unavailable:
        progress.say("cut off: the audio store could not be reached; run the same command again to go on")
        return INCOMPLETE
    except LOST as error:  # its words may quote a row
        code = f" {error.sqlstate}" if isinstance(error, asyncpg.PostgresError) else ""
        progress.say(f"cut off: {type(error).__name__}{code}; run the same command again to go on")
        return INCOMPLETE


def _carry_out(arguments: argparse.Namespace, progress: Progress) -> int:
    if arguments.command == "rollback":
        return _report(arguments, asyncio.run(commands.rollback(arguments.run, progress)))
    if arguments.command == "forget":
        return _report(arguments, asyncio.run(commands.forget(progress)))
    options = Options(
        file=arguments.file,
        storage=getattr(arguments, "storage", None),
        users=getattr(arguments, "users", None),
        issuer=getattr(arguments, "issuer", None),
        match_addresses=getattr(arguments, "match_addresses", False),
        dry=getattr(arguments, "dry_run", False),
        keep_existing=getattr(arguments, "keep_existing", False),
    )
    if options.users is not None and not options.users.is_file():
        return _refuse(f"there is no file {options.users.name}")
    if options.storage is not None and not options.storage.is_dir():
        return _refuse(f"there is no folder {options.storage.name}")
    if arguments.command == "inspect":
        return _report(arguments, commands.inspect(options, progress))
    work = commands.verify if arguments.command == "verify" else commands.run
    return _report(arguments, asyncio.run(work(options, progress)))


def _report(arguments: argparse.Namespace, report: Mapping[str, Any]) -> int:
    """Writes the report beside its page, or to standard output; the exit status."""
    text = json.dumps(report, indent=2)
    if arguments.report is None:
        print(text)
    else:
        arguments.report.write_text(text + "\n")
        if "certificate" in report:
            arguments.report.with_suffix(".html").write_text(page(report))
    if report.get("complete", True):
        return COMPLETE
    print(_advice(report), file=sys.stderr)
    return INCOMPLETE


def _advice(report: Mapping[str, Any]) -> str:
    """What is not as it should be, in a line; the report has the lists."""
    if report["command"] == "rollback":
        return f"{sum(report['keptBecauseChanged'].values())} rows were changed since and stay: see the report"
    if report["command"] == "run --dry-run":
        return f"in the place of {report['conflicts']} rows others stand already: they would stay"
    taken = {part["table"]: part["conflicts"]["count"] for part in report["services"] if part["conflicts"]["count"]}
    parts = [f"{count} of {table} found others in their place" for table, count in taken.items()]
    parts += [f"{part['table']} is not as it was moved" for part in report["tables"] if not part["proved"]]
    parts += [] if report["audio"]["intact"] else ["audio files are lost or altered"]
    return f"not every row is accounted for: {'; '.join(parts)}. What to do is in deploy/migration/README.md"


def _refuse(reason: object) -> int:
    print(f"migration: {reason}", file=sys.stderr)
    return USAGE


def _parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m migration",
        description="Moves the prototype's SQLite file into the services' schemas, proving that nothing is lost.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands_ = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("inspect", "say what the file holds and what of it cannot be moved as it is; needs no database"),
        ("run", "move the file; adds what is missing and changes nothing that is there, however often it is run"),
        ("verify", "compare the file with what the databases hold now, value for value; changes nothing"),
    ):
        command = commands_.add_parser(name, help=text, description=text)
        command.add_argument("file", type=Path, metavar="FILE", help="the prototype's database; only read")
        _add_report(command)
        if name == "run":
            _add_run_options(command)
    text = "take back what a run added, but for what was changed since"
    back = commands_.add_parser("rollback", help=text, description=text)
    back.add_argument("run", type=int, metavar="RUN", help="the run's number, as its certificate says it")
    _add_report(back)
    text = "take users whose accounts were deleted since out of the archive; run it daily for as long as there is one"
    _add_report(commands_.add_parser("forget", help=text, description=text))
    return root


def _add_report(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--report", type=Path, metavar="PATH", help="write the report there as JSON, and a page beside it as .html"
    )


def _add_run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--storage", type=Path, metavar="DIR", help="folder of the prototype's audio files")
    command.add_argument(
        "--users",
        type=Path,
        metavar="CSV",
        help="lines of `old id,account id or address`; an empty old id for ownerless sessions",
    )
    command.add_argument(
        "--match-addresses",
        action="store_true",
        help="give every other user without an account's id the account at Clerk that has verified their address",
    )
    command.add_argument(
        "--issuer", metavar="URL", help="the identity provider of the accounts (default: as the gateway's settings say)"
    )
    command.add_argument(
        "--keep-existing",
        action="store_true",
        help="rows that stood where the file's belong are to stay; the file's are in the archive, and count as moved",
    )
    command.add_argument("--dry-run", action="store_true", help="say what would be moved; write nothing")


if __name__ == "__main__":
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    sys.exit(main())
