"""What a run or a later look at both ends has shown: as JSON for machines, as a page for people.

Numbers, hashes, names of tables and columns, row numbers and session ids. Never a value.
"""

from collections.abc import Mapping
from datetime import datetime
from html import escape
from importlib.metadata import version
from typing import Any

from migration.accounts import CLERK_IDS, Accounts
from migration.findings import DELETED, Findings
from migration.proving import MOST_LISTED, HomeProof, Listed, Proof, TableProof
from migration.snapshot import Snapshot
from migration.source import Source

TOOL_VERSION = version("entrain-migration")


def describe_source(shot: Snapshot, source: Source) -> dict[str, Any]:
    """The file: its hashes, and how its tables differ from those the newest version had."""
    return {
        "name": shot.name,
        "sha256": shot.file_sha256,
        "snapshotSha256": shot.sha256,
        "bytes": shot.size,
        "journalMode": shot.journal_mode,
        "recoveredAfterCrash": shot.recovered,
        "migrationsApplied": source.migrations_applied(),
        "missingTables": source.missing,
        "missingColumns": {table.name: list(table.missing) for table in source.in_order if table.missing},
        "unknownTables": source.unknown,
        "unknownColumns": {table.name: list(table.extra) for table in source.in_order if table.extra},
    }


def describe_quarantine(findings: Findings) -> dict[str, Any]:
    by_reason = {reason: count for reason, count in findings.by_reason().items() if reason != DELETED}
    listed = findings.listed(MOST_LISTED)
    return {
        "rows": sum(by_reason.values()),
        "byReason": by_reason,
        "listed": [
            {"table": one.table, "rowid": one.rowid, "column": one.column, "reason": one.reason}
            for one in listed
            if one.reason != DELETED
        ],
    }


def describe_accounts(accounts: Accounts, source: Source) -> dict[str, Any]:
    """How many user ids were mapped, and how many are no accounts and stay as they were."""
    users = source.tables.get("User")
    left = 0
    if users is not None:
        query = "SELECT count(*) FROM User WHERE id NOT LIKE ? ESCAPE '!'"
        (left,) = source.connection.execute(query, (CLERK_IDS.replace("_", "!_") + "%",)).fetchone()
    return {
        "mapped": len(accounts.mapping),
        "idsThatAreNoAccounts": left,
        "issuer": accounts.issuer,
        "rowsWhoseAddressIsNoAccount": list(accounts.unmatched),
    }


def certify(
    what: str,
    times: Mapping[str, datetime],
    parts: Mapping[str, Any],
    proof: Proof,
) -> dict[str, Any]:
    return {
        "certificate": "entrain-migration",
        "version": 2,
        "tool": {"name": "entrain-migration", "version": TOOL_VERSION},
        "command": what,
        "run": None,
        "complete": proof.complete and parts["audio"]["intact"],
        "rows": sum(table.rows for table in proof.tables) + sum(table.rows for table in proof.unknown.values()),
        **{name: moment.isoformat() for name, moment in times.items()},
        **parts,
        "tables": [_table(table) for table in proof.tables],
        "services": [_home(home) for home in proof.homes],
        "unknownTables": {
            name: {"rows": table.rows, "kept": table.kept, "ofDeletedAccounts": table.deleted}
            for name, table in proof.unknown.items()
        },
    }


def _table(proof: TableProof) -> dict[str, Any]:
    return {
        "table": proof.table,
        "rows": proof.rows,
        "archived": proof.archived,
        "quarantined": proof.quarantined,
        "ofDeletedAccounts": proof.deleted,
        "proved": proof.proved,
        "fileDigest": proof.in_file.hex(),
        "archiveDigest": proof.in_archive.hex(),
        "quarantineFileDigest": proof.quarantine_in_file.hex(),
        "quarantineKeptDigest": proof.quarantine_kept.hex(),
        "missing": _listed(proof.missing),
        "different": _listed(proof.different),
    }


def _home(proof: HomeProof) -> dict[str, Any]:
    return {
        "table": proof.table,
        "from": proof.source,
        "rows": proof.expected.rows,
        "found": proof.found.rows,
        "proved": proof.proved,
        "expectedDigest": proof.expected.hex(),
        "foundDigest": proof.found.hex(),
        "changedSince": _listed(proof.changed),
        "removedSince": _listed(proof.removed),
        "conflicts": _listed(proof.conflicts),
        "acceptedConflicts": _listed(proof.accepted),
    }


def _listed(listed: Listed) -> dict[str, Any]:
    return {"count": listed.count, "rowids": listed.rows}


def page(certificate: Mapping[str, Any]) -> str:
    """The certificate for a browser, without anything from outside."""
    source = certificate["source"]
    verdict = "Every row is accounted for" if certificate["complete"] else "Rows are not accounted for"
    facts = {
        "Verdict": verdict,
        "Command": certificate["command"],
        "Run": certificate["run"],
        "Rows": f"{certificate['rows']:,}",
        "In quarantine": f"{certificate['quarantine']['rows']:,}",
        "File": source["name"],
        "SHA-256 of the file": source["sha256"],
        "SHA-256 of the snapshot": source["snapshotSha256"],
        "Begun": certificate["startedAt"],
        "Ended": certificate["finishedAt"],
        "Tool": f"{certificate['tool']['name']} {certificate['tool']['version']}",
    }
    sections = [
        "<h1>Certificate of migration</h1>",
        _rows_of_facts(facts),
        "<h2>The file and its archive</h2>",
        _grid(
            ("table", "rows", "archived", "in quarantine", "digest of the file", "digest of the archive", ""),
            [
                (t["table"], t["rows"], t["archived"], t["quarantined"], t["fileDigest"], t["archiveDigest"], _mark(t))
                for t in certificate["tables"]
            ],
        ),
        "<h2>What the services hold</h2>",
        _grid(
            (
                "table",
                "rows",
                "changed since",
                "removed since",
                "in conflict",
                "accepted",
                "digest expected",
                "digest found",
                "",
            ),
            [
                (
                    h["table"],
                    h["rows"],
                    h["changedSince"]["count"],
                    h["removedSince"]["count"],
                    h["conflicts"]["count"],
                    h["acceptedConflicts"]["count"],
                    h["expectedDigest"],
                    h["foundDigest"],
                    _mark(h),
                )
                for h in certificate["services"]
            ],
        ),
        "<h2>Quarantine</h2>",
        _rows_of_facts(certificate["quarantine"]["byReason"] or {"empty": 0}),
        _grid(
            ("table", "row", "column", "reason"),
            [(q["table"], q["rowid"], q["column"], q["reason"]) for q in certificate["quarantine"]["listed"]],
        ),
        "<h2>Audio</h2>",
        _rows_of_facts(certificate["audio"]["counts"]),
        "<h2>Audio that stays behind, as no session plays it</h2>",
        _grid(
            ("kind", "rows", "files found"),
            [
                (kind, left["rows"], left.get("filesFound", "not looked for"))
                for kind, left in certificate["audio"]["leftBehind"].items()
            ],
        ),
        "<h2>The file's shape</h2>",
        _rows_of_facts({name: source[name] for name in source if name not in ("name", "sha256", "snapshotSha256")}),
    ]
    return _FRAME.format(body="\n".join(sections))


_FRAME = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Certificate of migration</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 0 0 1.5rem }}
td, th {{ border: 1px solid #bbb; padding: .2rem .6rem; text-align: left; vertical-align: top }}
td, th {{ overflow-wrap: anywhere }}
td.hash {{ font: 12px monospace }}
</style>
{body}
</html>
"""


def _mark(part: Mapping[str, Any]) -> str:
    return "✓" if part["proved"] else "✗ see the lists in the JSON"


def _rows_of_facts(facts: Mapping[str, Any]) -> str:
    return _grid((), [(name, value) for name, value in facts.items()])


def _grid(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = ["<table>"]
    if head:
        lines.append("<tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>")
    for row in rows:
        cells = "".join(f"<td{' class=hash' if len(str(cell)) == 64 else ''}>{escape(str(cell))}</td>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</table>"])
