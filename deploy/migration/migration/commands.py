"""The four commands: what each reads, does and certifies."""

import base64
import binascii
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.clock import utc_now
from common.progress import Progress
from migration import archive, postgres, runs
from migration.accounts import CLERK_IDS, CLERK_UNNAMED, Accounts, BadMapping, leading_ids, read_mapping
from migration.audio_files import AudioFolder
from migration.audio_left import left_behind
from migration.audio_proof import prove_files
from migration.certificate import certify, describe_accounts, describe_quarantine, describe_source
from migration.discarded import being_removed
from migration.findings import Findings, judge
from migration.forgetting import Forgetting
from migration.homes import HOMES, Context, is_placeholder
from migration.integrity import looked_through
from migration.moving import Mover, Run
from migration.postgres import Schemas
from migration.proving import Prover
from migration.quarantine import leave_out_deleted
from migration.rollback import undo
from migration.settings import Databases, bucket_settings
from migration.snapshot import Snapshot, snapshot
from migration.source import Source, opened
from migration.values import BrokenText

if TYPE_CHECKING:
    from migration.audio import AudioMover

_ACCEPT = "UPDATE legacy.conflict SET accepted = true WHERE NOT accepted"
_BROUGHT = "SELECT EXISTS (SELECT FROM legacy.audio_file WHERE run = $1 AND outcome = 'stored')"


class NotReady(Exception):
    """Something has to be done first; the message says what."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    file: Path
    storage: Path | None = None
    users: Path | None = None
    issuer: str | None = None
    match_addresses: bool = False
    dry: bool = False
    keep_existing: bool = False
    """Rows that stood where the file's belong are to stay."""


def inspect(options: Options, progress: Progress) -> dict[str, Any]:
    """What the file holds and what would go to the quarantine. Touches no database."""
    started_at = utc_now()
    with (
        snapshot(options.file, progress) as shot,
        opened(shot.path) as source,
        looked_through(shot.path, thorough=True) as require_whole,
    ):
        with progress.step("checking the file's integrity"):
            require_whole()
        findings = judge(source, progress)
        return {
            "command": "inspect",
            "startedAt": started_at.isoformat(),
            "finishedAt": utc_now().isoformat(),
            "source": describe_source(shot, source),
            "tables": [
                {"table": table.name, "rows": table.rows, "quarantined": findings.count(table)}
                for table in source.in_order
            ],
            "quarantine": describe_quarantine(findings),
        }


async def run(options: Options, progress: Progress) -> dict[str, Any]:
    """Moves the file, looks at both ends, and certifies what it saw."""
    with (
        snapshot(options.file, progress) as shot,
        opened(shot.path) as source,
        looked_through(shot.path) as require_whole,
    ):
        accounts = await _accounts(options, source, progress)
        async with postgres.opened(Databases()) as schemas:
            await _require_tables(schemas)
            await _require_no_removals(schemas, source, dry=options.dry)
            findings = await _judge(source, schemas, accounts, progress)
            require_whole()
            if options.dry:
                return await _rehearse(options, shot, source, findings, schemas, accounts, progress)
            await archive.make_tables(schemas.legacy)
            this = await runs.begin(schemas.legacy, shot.sha256, accounts)
            context = Context(accounts, this.started_at)
            async with _audio(options, source, findings, schemas, this, progress) as audio:
                if audio:
                    await audio.move_all()
                renew = audio.renew if audio else None
                await Mover(source, findings, schemas, context, this, progress, renew=renew).move_all()
            if options.keep_existing:
                await schemas.legacy.execute(_ACCEPT)
            folder = AudioFolder(options.storage) if options.storage else None
            left = left_behind(source, findings, folder, progress)
            looked = await _certify("run", this.started_at, shot, source, findings, schemas, context, left, progress)
            certificate = looked | {"run": this.id}
            await runs.finish(schemas.legacy, this, certificate)
            return certificate


async def _rehearse(
    options: Options,
    shot: Snapshot,
    source: Source,
    findings: Findings,
    schemas: Schemas,
    accounts: Accounts,
    progress: Progress,
) -> dict[str, Any]:
    started_at = utc_now()
    mover = Mover(source, findings, schemas, Context(accounts, started_at), Run(0, started_at), progress, dry=True)
    would = await mover.move_all()
    return {
        "command": "run --dry-run",
        "complete": would.conflicts == 0 or options.keep_existing,
        "startedAt": started_at.isoformat(),
        "finishedAt": utc_now().isoformat(),
        "source": describe_source(shot, source),
        "quarantine": describe_quarantine(findings),
        "accounts": describe_accounts(accounts, source),
        "wouldMove": dict(would.by_table),
        "conflicts": would.conflicts,
    }


async def verify(options: Options, progress: Progress) -> dict[str, Any]:
    """Looks at both ends again, by the rules of the last run. Changes nothing."""
    started_at = utc_now()
    with (
        snapshot(options.file, progress) as shot,
        opened(shot.path) as source,
        looked_through(shot.path) as require_whole,
    ):
        async with postgres.opened(Databases()) as schemas:
            rules = await runs.latest_rules(schemas.legacy) if await archive.exists(schemas.legacy) else None
            if rules is None:
                raise NotReady("nothing has been moved here yet")
            context = Context(_by_rules(source, *rules), started_at)
            findings = await _judge(source, schemas, context.accounts, progress)
            require_whole()
            left = left_behind(source, findings, None, progress)
            return await _certify("verify", started_at, shot, source, findings, schemas, context, left, progress)


async def rollback(run_id: int, progress: Progress) -> dict[str, Any]:
    """Takes back what the run added, but for what was changed since."""
    async with postgres.opened(Databases()) as schemas:
        if not await archive.exists(schemas.legacy):
            raise NotReady("nothing has been moved here yet")
        return await undo(schemas, run_id, progress)


async def forget(progress: Progress) -> dict[str, Any]:
    """Takes users whose accounts were deleted out of the archive."""
    async with postgres.opened(Databases()) as schemas:
        rules = await runs.latest_rules(schemas.legacy) if await archive.exists(schemas.legacy) else None
        if rules is None:
            raise NotReady("nothing has been moved here yet")
        gone = await postgres.all_erased(schemas)
        removed = await Forgetting(schemas.legacy, Accounts(rules[0], rules[1]), gone, progress).forget()
        return {"command": "forget", "finishedAt": utc_now().isoformat(), "removed": removed}


async def _certify(
    what: str,
    started_at: datetime,
    shot: Snapshot,
    source: Source,
    findings: Findings,
    schemas: Schemas,
    context: Context,
    left: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    proof = await Prover(source, findings, schemas, context, progress).prove()
    parts = {
        "source": describe_source(shot, source),
        "accounts": describe_accounts(context.accounts, source),
        "quarantine": describe_quarantine(findings),
        "audio": await _prove_audio(schemas, progress) | {"leftBehind": left},
        "seconds": progress.seconds,
    }
    times = {"startedAt": started_at, "finishedAt": utc_now()}
    return certify(what, times, parts, proof)


@asynccontextmanager
async def _audio(
    options: Options, source: Source, findings: Findings, schemas: Schemas, run: Run, progress: Progress
) -> "AsyncIterator[AudioMover | None]":
    """Who brings the audio files; None where there is no bucket."""
    settings = bucket_settings()
    if settings is None:
        if options.storage:
            raise NotReady("--storage needs a bucket to bring the files to: set AWS_S3_BUCKET_NAME and its credentials")
        if await schemas.legacy.fetchval(_BROUGHT, run.id):
            raise NotReady(
                "this run was cut off after it had brought audio files: set AWS_S3_BUCKET_NAME and its credentials, as"
                " they may have to be stored again"
            )
        yield None
        return
    from migration.audio import AudioMover, Store  # what reads sound takes long to load

    folder = AudioFolder(options.storage) if options.storage else None
    async with Store(settings) as store:
        yield AudioMover(source, findings, schemas, store, folder, run, progress)


async def _prove_audio(schemas: Schemas, progress: Progress) -> dict[str, Any]:
    settings = bucket_settings()
    if settings is None:
        return await prove_files(schemas, None, progress)
    from migration.audio import Store

    async with Store(settings) as store:
        return await prove_files(schemas, store.ours.get, progress)


async def _accounts(options: Options, source: Source, progress: Progress) -> Accounts:
    mapping = read_mapping(options.users) if options.users else {}
    present = _user_ids(source, mapping)
    for old_id in mapping:
        if old_id and old_id not in present:
            raise BadMapping(f"{options.users and options.users.name}: one of the old ids is no user of this file")
    named = {old_id: account for old_id, account in mapping.items() if "@" in account}
    own = _own_addresses(source, mapping) if options.match_addresses else {}
    wanted = named | {old_id: address for old_id, (_, address) in own.items()}
    mapping |= (found := await _asked_of_clerk(wanted, progress)) if wanted else {}
    if missing := named.keys() - found.keys() if wanted else ():
        raise BadMapping(f"{len(missing)} of the addresses are verified by no account, or by more than one")
    unmatched = tuple(row for old_id, (row, _) in own.items() if old_id not in mapping)
    issuer = options.issuer or _issuer_of_environment()
    return Accounts(mapping, issuer, leading_ids(mapping, _user_ids(source, mapping)), unmatched)


async def _asked_of_clerk(addresses: Mapping[str, str], progress: Progress) -> dict[str, str]:
    from migration.clerk_accounts import accounts_of  # its HTTP client is needed for nothing else

    return await accounts_of(addresses, progress)


def _own_addresses(source: Source, mapping: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    """Row and address of each user whose id is no account's and is not mapped, by old id."""
    users = "SELECT rowid, id, email FROM User WHERE typeof(id) = 'text' AND typeof(email) = 'text' ORDER BY rowid"
    if "User" not in source.tables or "email" not in source.tables["User"].columns:
        return {}
    with source.every_byte():
        known = [row for row in source.connection.execute(users) if not any(isinstance(one, BrokenText) for one in row)]
    return {
        old_id: (row, email)
        for row, old_id, email in known
        if not (old_id.startswith(CLERK_IDS) or old_id in mapping or is_placeholder(email, old_id))
    }


async def _judge(source: Source, schemas: Schemas, accounts: Accounts, progress: Progress) -> Findings:
    """What is wrong with the file, and what of it is of accounts that were deleted since."""
    gone = await postgres.all_erased(schemas)
    deleted: list[str] = []
    if gone and "User" in source.tables:
        with source.every_byte():
            ids = source.connection.execute("SELECT id FROM User WHERE typeof(id) = 'text'").fetchall()
        deleted = [old_id for (old_id,) in ids if accounts.of(old_id) in gone]
    findings = judge(source, progress, deleted, gone)
    leave_out_deleted(source, findings)
    return findings


def _by_rules(source: Source, mapping: Mapping[str, str], issuer: str) -> Accounts:
    return Accounts(mapping, issuer, leading_ids(mapping, _user_ids(source, mapping)))


def _user_ids(source: Source, mapping: Mapping[str, str]) -> frozenset[str]:
    """Which of the ids the mapping names are users of this file."""
    if "User" not in source.tables:
        return frozenset()
    named = {*mapping, *mapping.values()}
    found = (source.connection.execute("SELECT id FROM User WHERE id = ?", (one,)).fetchone() for one in named)
    return frozenset(row[0] for row in found if row)


def _issuer_of_environment() -> str:
    """What the gateway takes for the issuer by the same variables."""
    issuers = os.environ.get("GATEWAY_CLERK_ISSUERS") or os.environ.get("CLERK_ISSUERS", "")
    listed = issuers.split(",")[0].strip()
    if listed:
        return listed
    key = os.environ.get("GATEWAY_CLERK_PUBLISHABLE_KEY") or os.environ.get("CLERK_PUBLISHABLE_KEY", "")
    try:
        host = base64.b64decode(key.rpartition("_")[2]).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise NotReady("CLERK_PUBLISHABLE_KEY cannot be read; name the issuer with --issuer") from error
    return f"https://{host.rstrip('$')}" if host else CLERK_UNNAMED


async def _require_tables(schemas: Schemas) -> None:
    for home in (home for homes in HOMES.values() for home in homes):
        table = home.table
        if await schemas.of(table).fetchval("SELECT to_regclass($1)", table.full_name) is None:
            raise NotReady(f"{table.shown_name} is not there: run `python -m {table.schema} migrate` first")


async def _require_no_removals(schemas: Schemas, source: Source, *, dry: bool) -> None:
    if removing := await being_removed(schemas.media, source, dry=dry):
        raise NotReady(
            f"the audio of {removing} of these sessions, which were taken back, is still being removed: let a worker of"
            " media do it, then run this again"
        )
