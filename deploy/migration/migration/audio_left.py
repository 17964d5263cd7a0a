"""Audio that stays behind: files that no session plays. They are named and counted, not brought along.

Chunks and silences are what the prototype kept so as not to speak a line twice. A session plays its merged file alone;
one whose merged file is not there is rendered anew, and media keeps spoken lines of its own. A merged file is left when
no session refers to it any more. The rows themselves are in the archive like all others.
"""

from typing import Any

from common.progress import Progress
from migration.audio_files import AudioFolder
from migration.findings import DELETED, JUDGED, Findings
from migration.proving import MOST_LISTED
from migration.source import Source

KINDS = ("affirmationMerged", "affirmationChunk", "silence", "background", "binaural")
_PLAYED = "t.id IN (SELECT mergedAudioAssetId FROM SessionAudio WHERE mergedAudioAssetId IS NOT NULL)"


def left_behind(source: Source, findings: Findings, folder: AudioFolder | None, progress: Progress) -> dict[str, Any]:
    """By kind, how many assets no session plays, and which; with a folder also how many of their files are in it."""
    assets = source.tables.get("AudioAsset")
    if assets is None or not {"kind", "url", "hash"} <= set(assets.columns):
        return {}
    left = f"NOT {_PLAYED}" if "SessionAudio" in source.tables else "1"
    if findings.deleted(assets):
        left += " AND NOT " + JUDGED.format(table=assets.name, row="t").replace(")", f" AND f.reason = '{DELETED}')")
    found: dict[str, dict[str, Any]] = {}
    with progress.step("proving which audio stays behind"), source.every_byte():
        for kind, rowid in source.connection.execute(f"SELECT t.kind, t.rowid FROM AudioAsset t WHERE {left}"):
            part = found.setdefault(kind if kind in KINDS else "other", {"rows": 0, "rowids": []})
            part["rows"] += 1
            if len(part["rowids"]) < MOST_LISTED:
                part["rowids"].append(rowid)
        if folder is not None:
            for part in found.values():
                part["filesFound"] = 0
            named = f"SELECT t.kind, t.url, t.hash FROM AudioAsset t WHERE {left} AND {findings.where_clean(assets)}"
            for kind, url, content_hash in source.connection.execute(named):
                there = folder.find(url, content_hash) is not None
                found[kind if kind in KINDS else "other"]["filesFound"] += there
    return dict(sorted(found.items()))
