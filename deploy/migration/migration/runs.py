"""The book of runs: which file was moved when, by what rules, and what was certified."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from migration.accounts import Accounts
from migration.certificate import TOOL_VERSION
from migration.moving import Run
from migration.postgres import Connection

_UNFINISHED = """
    SELECT id, started_at FROM legacy.run
    WHERE state = 'running' AND source_sha256 = $1 AND mapping = $2 AND issuer = $3
    ORDER BY id DESC LIMIT 1
"""
_BEGIN = """
    INSERT INTO legacy.run (tool_version, source_sha256, mapping, issuer) VALUES ($1, $2, $3, $4)
    RETURNING id, started_at
"""


class NoSuchRun(Exception):
    """No run of this number, or nothing of it is left to undo."""


async def begin(legacy: Connection, source_sha256: str, accounts: Accounts) -> Run:
    """A new run, or the one that was cut off while it did the same."""
    mapping = json.dumps(dict(accounts.mapping))
    found = await legacy.fetchrow(_UNFINISHED, source_sha256, mapping, accounts.issuer)
    if found is None:
        found = await legacy.fetchrow(_BEGIN, TOOL_VERSION, source_sha256, mapping, accounts.issuer)
    return Run(found["id"], found["started_at"])


async def finish(legacy: Connection, run: Run, certificate: Mapping[str, Any]) -> None:
    await legacy.execute(
        "UPDATE legacy.run SET state = 'finished', finished_at = $2, certificate = $3 WHERE id = $1",
        run.id,
        datetime.fromisoformat(certificate["finishedAt"]),
        json.dumps(certificate),
    )


async def latest_rules(legacy: Connection) -> tuple[dict[str, str], str] | None:
    """Mapping and issuer of the newest run, to look again by the same rules."""
    found = await legacy.fetchrow(
        "SELECT mapping, issuer FROM legacy.run WHERE state <> 'rolled back' ORDER BY id DESC LIMIT 1"
    )
    return (json.loads(found["mapping"]), found["issuer"]) if found else None
