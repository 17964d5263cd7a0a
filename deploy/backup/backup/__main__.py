"""``python -m backup create | restore | verify``."""

import argparse
import asyncio
import errno
import math
import signal
import sys
from datetime import timedelta
from pathlib import Path

import asyncpg

from backup.bucket import BucketUnavailable
from backup.creating import CannotBackUp, age_of_newest, create
from backup.manifest import Manifest, NotABackup
from backup.postgres_client import NoClient, ProgramFailed
from backup.restoring import CannotRestore, Outcome, restore, whole
from backup.settings import BackupSettings, RestoreSettings
from common.db.driver import LOST
from common.progress import Progress

WHOLE, NOT_WHOLE, REFUSED = 0, 1, 2
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""What a full or failing disk says, without a file's name where it is said of a write."""
EPILOG = """
`create` reads BACKUP_DATABASE_URL: the direct address of a role that may read every schema. `restore` reads
RESTORE_DATABASE_URL: the owner of an empty database; the passwords its roles get (IDENTITY_, BILLING_, MEDIA_ and
LEGACY_DATABASE_PASSWORD); and media's settings of the bucket (AWS_S3_BUCKET_NAME and others). PostgreSQL's programs are
looked for in PG_BIN, or else where the system keeps them. Exit status: 0 when all is done and proved, 1 when it was cut
off or something is not as it was, 2 when nothing was begun.
"""


def main() -> int:
    arguments = _parser().parse_args()
    progress = Progress()
    try:
        return _carry_out(arguments, progress)
    except KeyboardInterrupt:
        progress.say("stopped: a backup half made is removed, a database half restored is to be dropped")
    except (CannotBackUp, CannotRestore, NotABackup, NoClient) as error:
        print(f"backup: {error}", file=sys.stderr)
        return REFUSED
    except (ProgramFailed, BucketUnavailable) as error:
        print(f"backup: cut off: {error}", file=sys.stderr)
    except LOST as error:  # its words may quote a row
        if isinstance(error, OSError) and (error.filename or error.errno in DISK):
            print(
                f"backup: cut off: {error.strerror}: {error.filename or 'the folder of the backups'}", file=sys.stderr
            )
            return NOT_WHOLE
        code = f" {error.sqlstate}" if isinstance(error, asyncpg.PostgresError) else ""
        reason = f"{type(error).__name__}{code}"
        print(f"backup: cut off: {reason}; does the database answer, and may the role read it?", file=sys.stderr)
    return NOT_WHOLE


def _carry_out(arguments: argparse.Namespace, progress: Progress) -> int:
    if arguments.command == "verify":
        _tell(whole(arguments.folder, progress))
        return WHOLE
    if arguments.command == "create":
        asyncio.run(_create(BackupSettings.load(), arguments, progress))
        return WHOLE
    settings, look = RestoreSettings.load(), not arguments.without_objects
    return _report(asyncio.run(restore(settings, arguments.folder, progress, look_for_objects=look)))


async def _create(settings: BackupSettings, arguments: argparse.Namespace, progress: Progress) -> None:
    """One backup now, or one whenever the newest is old enough, until something goes wrong or a signal comes."""
    while True:
        if arguments.every is not None:
            await _until_due(arguments.place, timedelta(hours=arguments.every), progress)
        folder = await create(settings, arguments.place, progress, keep=arguments.keep)
        print(folder, flush=True)
        if arguments.every is None:
            return


async def _until_due(place: Path, every: timedelta, progress: Progress) -> None:
    age = age_of_newest(place)
    if age is not None and age < every:
        progress.say(f"the next backup is due in {(every - age).total_seconds() / 3600:.1f} h")
        await asyncio.sleep((every - age).total_seconds())


def _tell(manifest: Manifest) -> None:
    rows = sum(table.rows for schema in manifest.schemas.values() for table in schema.tables.values())
    where = f"{len(manifest.schemas)} schemas of PostgreSQL {manifest.server}"
    print(f"taken at {manifest.taken_at}: {rows:,} rows in {where}")
    for name, schema in manifest.schemas.items():
        waiting = f", {schema.outbox.unpublished} events to publish" if schema.outbox else ""
        print(f"  {name}: {len(schema.tables)} tables at revision {schema.revision}{waiting}")
    named = manifest.objects
    print(f"  {named.count:,} objects of {named.bytes:,} bytes are named; they stay in the bucket")


def _report(outcome: Outcome) -> int:
    _tell(outcome.manifest)
    for line in [*outcome.differences, *(outcome.absent or ())]:
        print(line)
    if outcome.absent is None:
        print("the bucket was not looked at")
    elif outcome.absent:
        print(f"{len(outcome.absent)} objects: bring their versions back, or `python -m media audit-storage --repair`")
    verdict = "every row is as it was" if not outcome.differences else "NOT as it was: use another backup"
    print(f"{outcome.rows:,} rows restored; {verdict}")
    return WHOLE if outcome.agrees else NOT_WHOLE


def _parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m backup",
        description="Backs the services' schemas up as of one instant, and restores them with proof.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    text = "write a backup: a dump of each schema and a manifest, all as of one instant; the database may be in use"
    making = commands.add_parser("create", help=text, description=text)
    making.add_argument("place", type=Path, nargs="?", default=Path("backups"), metavar="FOLDER",
                        help="each backup gets a folder there, named by its time (default: %(default)s)")  # fmt: skip
    making.add_argument("--keep", type=_count, metavar="N", help="then remove all but the N newest")
    making.add_argument("--every", type=_hours, metavar="HOURS", help="go on: a new one when the newest is that old")
    text = "restore a backup into an empty database and compare every table with what was backed up"
    back = commands.add_parser("restore", help=text, description=text)
    back.add_argument("--without-objects", action="store_true", help="do not look whether the audio is in the bucket")
    text = "say what a backup holds and whether its files are what they were; needs no database"
    looking = commands.add_parser("verify", help=text, description=text)
    for command in (back, looking):
        command.add_argument("folder", type=Path, metavar="BACKUP", help="the folder of one backup")
    return root


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("keep at least 1")
    return number


def _hours(text: str) -> float:
    hours = float(text)
    if not 0 < hours < math.inf:
        raise argparse.ArgumentTypeError("hours are above 0")
    return hours


if __name__ == "__main__":
    # a container ends with SIGTERM; it shall end as with Ctrl-C
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(main())
