"""Audio that stays behind: files that no session plays. They are named and counted, not brought along.

Chunks and silences are what the prototype kept so as not to speak a line twice. A session plays its merged file alone;
one whose merged file is not there is rendered anew, and media keeps spoken lines of its own. A merged file is left when
no session refers to it any more. The rows themselves are in the archive like all others.
"""

from typing import Any

from migration.audio_files import AudioFolder
from migration.findings import DELETED, JUDGED, Findings
from migration.proving import MOST_LISTED
from migration.source import Source

KINDS = ("affirmationMerged", "affirmationChunk", "silence", "background", "binaural")


def left_behind(source: Source, findings: Findings, folder: AudioFolder | None) -> dict[str, Any]:
    """By kind, how many assets no session plays, and which; with a folder also how many of their files are in it."""
    assets = source.tables.get("AudioAsset")
    if assets is None or not {"kind", "url", "hash"} <= set(assets.columns):
        return {}
    unused = "1"
    if "SessionAudio" in source.tables:
        unused = "t.id NOT IN (SELECT mergedAudioAssetId FROM SessionAudio WHERE mergedAudioAssetId IS NOT NULL)"
    theirs = JUDGED.format(table=assets.name, row="t").replace(")", f" AND f.reason = '{DELETED}')")
    left = f"FROM AudioAsset t WHERE {unused} AND NOT {theirs}"
    kind = f"CASE WHEN t.kind IN {KINDS} THEN t.kind ELSE 'other' END"
    counted = source.connection.execute(f"SELECT {kind} AS kind, count(*) {left} GROUP BY 1 ORDER BY 1").fetchall()
    found = {name: {"rows": rows, **_which(source, f"{left} AND {kind} = '{name}'")} for name, rows in counted}
    if folder is not None:
        for name, part in found.items():
            clean = f"{left} AND {kind} = '{name}' AND {findings.where_clean(assets)}"
            named = source.connection.execute(f"SELECT t.url, t.hash {clean}")
            part["filesFound"] = sum(folder.find(url, content_hash) is not None for url, content_hash in named)
    return found


def _which(source: Source, left: str) -> dict[str, Any]:
    rows = source.connection.execute(f"SELECT t.rowid {left} ORDER BY t.rowid LIMIT {MOST_LISTED}")
    return {"rowids": [row[0] for row in rows]}
